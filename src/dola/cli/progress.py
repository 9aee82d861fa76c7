"""How far a run is, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dola.runs.measured import scores_of
from dola.runs.plan import Plan
from dola.runs.records import Record, Records
from dola.runs.variants import Lineup

# Between two lines where there is no terminal.
_SECONDS = 30.0
# More strategies than this do not fit beside the bar.
_SHOWN = 3


class Running:
    """The examples done, the strategies' running means, and the time left."""

    def __init__(self, plan: Plan, lineup: Lineup, records: Records[Record]) -> None:
        self._plan = plan
        self._rows = lineup.asked[:_SHOWN]
        self._examples = {example.index: example for example in plan.examples}
        self._sums = [dict.fromkeys(plan.task.metrics, 0.0) for _ in self._rows]
        self._count = 0
        self._begun = self._told = time.monotonic()
        self._console = Console(stderr=True)
        self._progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        for record in records.done.values():
            self._add(record)
        self._resumed = self._count
        self._task = self._progress.add_task("", total=len(plan.examples), completed=self._count)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, record: Record) -> None:
        """One more example is done."""
        self._add(record)
        self._progress.update(self._task, completed=self._count, description=self._means())
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told > _SECONDS:
            self._told = now
            total = len(self._plan.examples)
            rate = (now - self._begun) / (self._count - self._resumed)
            left = rate * (total - self._count)
            self._console.print(
                f"{self._count}/{total}  {self._means()}  {left / 60:.0f} min left",
                soft_wrap=True,
                highlight=False,
            )

    def _add(self, record: Record) -> None:
        self._count += 1
        example = self._examples[record.index]
        for row, sums in zip(self._rows, self._sums, strict=True):
            measured = self._plan.task.measure(example, scores_of(row, record))
            for metric in sums:
                sums[metric] += measured[metric]

    def _means(self) -> str:
        names = "/".join(self._plan.task.metrics)
        means = (
            f"{row.label} " + "/".join(f"{100 * total / self._count:.1f}" for total in sums.values())
            for row, sums in zip(self._rows, self._sums, strict=True)
        )
        return f"{names} {' · '.join(means)}"
