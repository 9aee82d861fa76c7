"""What a result file holds, by the words that the other files here use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_generation(ours: Mapping[str, Any]) -> bool:
    """Whether the result is of completions; else it is of scored answers."""
    return bool(ours.get("kind") == "generation")


def reads_answers(ours: Mapping[str, Any]) -> bool:
    """Whether the task reads an answer out of each completion."""
    return "accuracy" in ours["metrics"]


def metrics_of(ours: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of a table: the task's own, then what judges have added to the rows since."""
    measured = (metric for row in ours["rows"] for metric in row["measures"])
    return tuple(dict.fromkeys((*ours["metrics"], *measured)))


def strategy_rows(ours: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the strategies that were asked for, without variants, sweeps and controls."""
    return [row for row in ours["rows"] if row["kind"] == "strategy"]


def changing_metric(ours: Mapping[str, Any]) -> str:
    """The metric by which an example is fixed or broken: the first that is 0 or 1 for every example; empty
    where there is none."""
    return str(ours["binary"][0]) if ours["binary"] else ""
