"""`dola judge tfqa --similarity`: BLEU and ROUGE against the reference answers, shown and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dola.cli.asking import written
from dola.runs.answers import Answers
from dola.runs.results import check_writable, write_result
from dola.runs.summary import percent

if TYPE_CHECKING:
    from dola.judges.chat_truth import References
    from dola.runs.summary import Summary
    from dola.statistics import Interval

_FIGURES = ("acc", "diff", "max")


def show_similarity(path: Path, answers: Answers, references: Mapping[str, References]) -> None:
    """Measure, write `PATH.similarity.json`, and show.

    Raises:
        MissingExtraError: rouge-score or sacrebleu is not installed.
    """
    from dola.runs.rating import seed_of
    from dola.runs.similarity import measure_similarity, similarity_json

    output = path.with_name(f"{path.name}.similarity.json")
    check_writable(output, inputs=[path])
    summary = measure_similarity(answers, references, seed=seed_of(answers))
    write_result(output, similarity_json(summary))
    _show(summary)
    written(output)


def _show(summary: Summary) -> None:
    from dola.judges.similarity import MEASURES

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("in %, 95% intervals", overflow="fold")
    for name in ("", *_FIGURES):
        table.add_column(name)
    for row in summary.rows:
        for measure in MEASURES:
            cells = [_cell(row.intervals[f"{measure}_{figure}"]) for figure in _FIGURES]
            table.add_row(Text(row.row.label if measure == MEASURES[0] else ""), measure, *cells)
    console = Console(emoji=False)
    console.print(table, "", sep="\n")
    for line in summary.findings:
        console.print(f"• {line}", highlight=False, markup=False)


def _cell(interval: Interval) -> Text:
    low, high = interval.low, interval.high
    spread = "" if low is None or high is None else f" ({percent(low)} to {percent(high)})"
    return Text.assemble((percent(interval.mean), "bold"), (spread, "dim"))
