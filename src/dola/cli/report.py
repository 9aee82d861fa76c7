"""`dola report`: results as a page or a table, alone, side by side, or beside the paper's figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from dola.report.against import PaperView, against_paper
from dola.report.page import page
from dola.report.paper import MODELS
from dola.report.text import csv_table, markdown
from dola.result import KEY, Comparison, Result
from dola.result.files import check_writable, write_text
from dola.runs.across import across
from dola.runs.merge import merge_shards

FORMATS = ("html", "md", "csv", "json")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT...")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="[default: by the ending of -o, else md on a terminal]",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The file to write; `-`: standard output."
)
@click.option("--against", type=click.Choice(["paper"]), help="Put each result beside the paper's figures.")
@click.option(
    "--paper-model",
    type=click.Choice(list(MODELS)),
    help="With --against: whose figures.  [default: the run's own model, or else llama-7b]",
)
def report(
    *,
    files: tuple[Path, ...],
    kind: str | None,
    output: Path | None,
    against: str | None,
    paper_model: str | None,
) -> None:
    """Show the results of `dola eval` and `dola tune`: one HTML page that opens offline, or a table.

    \b
    dola report out.json -o report.html
    dola report out.json --against paper                    beside the published figures
    dola report a.json b.json                               two models, or two prompts, on the same examples
    dola report out_0.json out_1.json ... -o whole.json     shards joined: the result of the whole run
    """
    if paper_model and not against:
        raise click.UsageError("--paper-model says whose figures to show: it needs --against paper")
    results = {path: Result.load(path) for path in dict.fromkeys(files)}
    merged = merge_shards(results)
    for path, result in merged:
        if len(merged) < len(results):
            click.echo(f"{path}: {len(result.examples)} examples", err=True)
    shown = [result for _, result in merged]
    papers = [against_paper(result, model=paper_model) for result in shown] if against else []
    text = _rendered(kind or _by_name(output), shown, across(merged), papers)
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
        return
    check_writable(output, inputs=files)
    write_text(output, text)
    click.echo(f"written: {output}", err=True)


def _by_name(output: Path | None) -> str:
    ending = output.suffix.removeprefix(".").lower() if output else ""
    named = {"htm": "html", "markdown": "md"}.get(ending, ending)
    if named in FORMATS:
        return named
    return "md" if output is None or str(output) == "-" else "html"


def _rendered(
    kind: str,
    results: Sequence[Result],
    comparisons: Sequence[Comparison],
    papers: Sequence[PaperView],
) -> str:
    if kind == "json":
        return _json(results, comparisons, papers)
    written = {"html": page, "csv": csv_table, "md": markdown}[kind]
    return written(results, comparisons=comparisons, papers=papers)


def _json(
    results: Sequence[Result],
    comparisons: Sequence[Comparison],
    papers: Sequence[PaperView],
) -> str:
    """One result is a result file again; several are a list of them, the first with what compares them."""
    written = [result.to_json() for result in results]
    for each, paper in zip(written, papers, strict=False):
        each[KEY] = {**each[KEY], "paper": asdict(paper)}
    if comparisons:
        written[0][KEY] = {**written[0][KEY], "across": [each.to_json() for each in comparisons]}
    return json.dumps(written[0] if len(written) == 1 else written, ensure_ascii=False) + "\n"
