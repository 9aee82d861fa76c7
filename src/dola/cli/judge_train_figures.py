"""How a judge's split and figures are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from dola.cli.loading import tell
from dola.judges.comparison import split_figures

if TYPE_CHECKING:
    from dola.cli.judge_material import Material


def tell_split(material: Material) -> None:
    """What is trained on, and what is held out."""
    sides = split_figures(material.split, material.train, material.held_out)
    for name, side in (("trained on", sides["train"]), ("held out", sides["held_out"])):
        tell(
            f"{name}: {side['used_examples']:,} of {side['examples']:,} answers to"
            f" {side['used_questions']:,} of {side['questions']:,} questions"
        )


def show_figures(held_out: Mapping[str, Any]) -> None:
    """The judge beside what it must beat, and whether it does."""
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("in %, 95% intervals", "accuracy", "balanced accuracy"):
        table.add_column(title, no_wrap=True)
    for row in held_out["judges"]:
        table.add_row(row["name"], _percent(row["accuracy"]), _percent(row["balanced"]))
    console.print(table, "", sep="\n")
    examples = held_out["examples"]
    judge, *others = held_out["judges"]
    measured = (
        f"measured on {examples:,} answers to {held_out['questions']:,} questions that were not trained on;"
        " intervals resample whole questions"
    )
    # What a rating's %Truth or %Info would be here, and what it should be.
    leaning = (
        f"says yes to {sum(judge['said_yes']) / examples:.1%} of them, where people say yes to"
        f" {held_out['people_say_yes'] / examples:.1%}"
    )
    for line in (measured, leaning, *map(_beaten, others)):
        console.print(f"• {line}", highlight=False, markup=False, soft_wrap=True)


def _beaten(other: Mapping[str, Any]) -> str:
    """Whether the judge is better than this one. The share there is the other's minus the judge's."""
    over = other["over_first"]
    if over["low"] is None:
        return f"against {other['name']}: too few questions to say"
    # Adding 0 turns a negative zero into a plain one.
    value, low, high = (round(-100 * over[name], 1) + 0.0 for name in ("value", "high", "low"))
    points = f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"
    if over["high"] < 0:
        return f"more accurate than {other['name']}: {points}"
    if over["low"] > 0:
        return f"LESS accurate than {other['name']}: {points}"
    return f"not distinguishable from {other['name']} by accuracy: {points}"


def _percent(share: Mapping[str, float | None]) -> str:
    value, low, high = share["value"], share["low"], share["high"]
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ({100 * low:.1f}–{100 * high:.1f})"
