"""Results as a file to look at: what `dola report` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args

from dola.reports.against import PaperView, against_paper
from dola.reports.page import page
from dola.reports.text import csv_table, markdown
from dola.result import KEY, Comparison, Result
from dola.result.files import check_writable, write_text
from dola.runs.across import across
from dola.runs.compare import Given, load_all
from dola.runs.merge import merge_shards

Format = Literal["html", "md", "csv", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)


def report(
    results: Given | Sequence[Given],
    path: str | Path,
    *,
    against: Literal["paper"] | None = None,
    paper_model: str | None = None,
) -> Path:
    """Write results as a page that opens without a network (`.html`), or as `.md`, `.csv` or `.json`.

        dola.report(result, "page.html")

    Shards of one run are joined, and several results on the same examples compared.

    Args:
        results: one or several: results, or their files.
        against: `paper`: put each beside the paper's figures, those of `paper_model`, or else of the run's
            own model, or else of LLaMA-7B.

    Raises:
        DataError: a file that is no result, or a task of which the paper has no figures.
        RunError: no place to write.
    """
    given = [results] if isinstance(results, str | Path | Result) else list(results)
    names = [Path(str(at)) if isinstance(each, Result) else Path(each) for at, each in enumerate(given, 1)]
    merged = merge_shards(dict(zip(names, load_all(given), strict=True)))
    papers = [against_paper(result, model=paper_model) for _, result in merged] if against else []
    text = rendered(format_of(Path(path)), [result for _, result in merged], across(merged), papers)
    check_writable(Path(path), inputs=[each for each, what in zip(names, given, strict=True) if what == each])
    write_text(Path(path), text)
    return Path(path)


def format_of(path: Path) -> Format:
    """By the ending; what has none that is known is a page."""
    ending = path.suffix.removeprefix(".").lower()
    named = {"htm": "html", "markdown": "md"}.get(ending, ending)
    return next((each for each in FORMATS if each == named), "html")


def rendered(
    kind: Format,
    results: Sequence[Result],
    comparisons: Sequence[Comparison],
    papers: Sequence[PaperView],
) -> str:
    """Results in this format."""
    if kind == "json":
        return _json(results, comparisons, papers)
    written = {"html": page, "csv": csv_table, "md": markdown}[kind]
    return written(results, comparisons=comparisons, papers=papers)


def _json(results: Sequence[Result], comparisons: Sequence[Comparison], papers: Sequence[PaperView]) -> str:
    """One result is a result file again; several are a list of them, the first with what compares them."""
    written = [result.to_json() for result in results]
    for each, paper in zip(written, papers, strict=False):
        each[KEY] = {**each[KEY], "paper": asdict(paper)}
    if comparisons:
        written[0][KEY] = {**written[0][KEY], "across": [each.to_json() for each in comparisons]}
    return json.dumps(written[0] if len(written) == 1 else written, ensure_ascii=False) + "\n"
