"""A pairwise review on a terminal: a line for each category, and what it means in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dola.judges.pair_verdicts import OUTCOMES
from dola.reports.view import p_value
from dola.runs.summary import percent

if TYPE_CHECKING:
    from dola.runs.pairwise_summary import PairSummary, Scores, Tally
    from dola.statistics import Interval

_SHORT = {"inconsistent": "incons.", "malformed": "malf."}


def show(summary: PairSummary, findings: Sequence[str], labels: tuple[str, str]) -> None:
    """Everything that the command says at its end."""
    console = Console(emoji=False)
    console.print(Text(f"{labels[0]} against {labels[1]}", style="bold"), "", sep="\n")
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("category", overflow="fold")
    for outcome in OUTCOMES:
        table.add_column(_SHORT.get(outcome, outcome), justify="right")
    table.add_column("win rate, 95%", no_wrap=True)
    table.add_column("sign test", no_wrap=True)
    for name, tally in summary.categories.items():
        table.add_row(*_cells(name, tally))
    table.add_section()
    table.add_row(*_cells("all", summary.overall), style="bold")
    console.print(table, "", sep="\n")
    if summary.scores is not None:
        console.print(*_scores(summary.scores, labels), "", sep="\n", highlight=False, markup=False)
    for line in findings:
        console.print(f"• {line}", highlight=False, markup=False)


def _cells(name: str, tally: Tally) -> list[Text]:
    counts = [Text(str(tally.outcomes[outcome])) for outcome in OUTCOMES]
    if not tally.judged:
        return [Text(name), *counts, Text("no verdict"), Text("")]
    rate = Text.assemble(percent(tally.win_rate.mean), (_range(tally.win_rate), "dim"))
    return [Text(name), *counts, rate, Text(p_value(tally.p))]


def _range(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f" ({percent(interval.low)} to {percent(interval.high)})"


def _scores(scores: Scores, labels: tuple[str, str]) -> list[str]:
    lines = [
        f"mean score of {label}: {of.mean:.2f}"
        for label, of in zip(labels, (scores.a, scores.b), strict=True)
    ]
    if scores.relative is not None:
        lines.append(f"in all {percent(scores.relative)}% of {labels[1]}'s, {p_value(scores.difference.p)}")
    return lines
