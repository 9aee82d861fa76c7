"""What `dola tune` chose, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dola.reports.view import metric_name, percent, view_of
from dola.result import Result


def show_choice(result: Result) -> None:
    """The table, how the halves chose, and the flag to paste."""
    console = Console(emoji=False)  # a text form holds colons: `mine:-1:power=2`
    view, tuning = view_of(result), result.tuning
    if tuning is None:
        raise ValueError("nothing was tuned")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("in %")
    for metric in view.metrics:
        table.add_column(metric_name(metric), no_wrap=True)
    for row in view.rows:
        cells = (f"{row.cells[metric].value} ({row.cells[metric].interval})" for metric in view.metrics)
        table.add_row(Text(row.label), *cells, style="bold cyan" if row.label == tuning.chosen else "")
    console.print(Text(view.title, style="bold"), "", table, "", sep="\n")
    for fold in tuning.folds:
        console.print(
            f"• one half chooses {fold.chosen} ({percent(fold.on_own)}); on the other half it reaches"
            f" {percent(fold.held_out)}",
            markup=False,
            highlight=False,
        )
    others = [row.label for row in view.rows if row.label != tuning.chosen]
    for line in (tuning.verdict, *_without(view.findings, others), *view.notes):
        console.print(f"• {line}", highlight=False, markup=False)
    console.print(f"\n{tuning.flag}", highlight=False, markup=False, soft_wrap=True)


def _without(findings: Sequence[str], labels: Sequence[str]) -> list[str]:
    """What is not said of one of these: of 30 static layers it would be too much."""
    return [line for line in findings if not line.startswith(tuple(f"{label}:" for label in labels))]
