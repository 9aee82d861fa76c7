"""What a result holds, by the words that the other files here use."""

from __future__ import annotations

from typing import Protocol

from dola.result import Result, Row, Rows
from dola.result.result import all_metrics


class Tabled(Protocol):
    """What has a table: a result, or a comparison of several."""

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def binary(self) -> tuple[str, ...]: ...

    @property
    def rows(self) -> Rows: ...


def is_generation(result: Result) -> bool:
    """Whether the result is of completions; else it is of scored answers."""
    return result.kind == "generation"


def reads_answers(result: Result) -> bool:
    """Whether the task reads an answer out of each completion."""
    return "accuracy" in result.metrics


def metrics_of(table: Tabled) -> tuple[str, ...]:
    """The metrics of a table: the task's own, then what judges have added to the rows since."""
    return all_metrics(table.metrics, table.rows)


def strategy_rows(table: Tabled) -> tuple[Row, ...]:
    """The rows of the strategies that were asked for, without variants, sweeps and controls."""
    return table.rows.of_kind("strategy")


def place_of(row: Row) -> int:
    """The row's place among the strategies; a control has none."""
    if row.strategy is None:
        raise ValueError(f"{row.label} is no strategy's row")
    return row.strategy


def changing_metric(table: Tabled) -> str:
    """The metric by which an example is fixed or broken: the first that is 0 or 1 for every example; empty
    where there is none."""
    return table.binary[0] if table.binary else ""
