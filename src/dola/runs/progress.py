"""How far a run is, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dola.runs.completions import GenerationRecord
from dola.runs.generation_plan import GenerationPlan
from dola.runs.measured import scores_of
from dola.runs.plan import Plan
from dola.runs.records import Record
from dola.runs.variants import Lineup

R = TypeVar("R", contravariant=True)

# Between two lines where there is no terminal; the first one comes sooner, to say how long it will take.
_SECONDS = 30.0
_FIRST = 5.0
# More strategies than this do not fit beside the bar.
_SHOWN = 3


class Means(Protocol[R]):
    """What is shown beside the bar: running means of the records so far."""

    def add(self, record: R) -> None: ...

    def shown(self) -> str: ...


class ScoringMeans:
    """The first strategies' metrics over the examples that are scored."""

    def __init__(self, plan: Plan, lineup: Lineup) -> None:
        self._plan = plan
        self._rows = lineup.asked[:_SHOWN]
        self._examples = {example.index: example for example in plan.examples}
        self._sums = [dict.fromkeys(plan.task.metrics, 0.0) for _ in self._rows]
        self._count = 0

    def add(self, record: Record) -> None:
        self._count += 1
        example = self._examples[record.index]
        for row, sums in zip(self._rows, self._sums, strict=True):
            measured = self._plan.task.measure(example, scores_of(row, record))
            for metric in sums:
                sums[metric] += measured[metric]

    def shown(self) -> str:
        names = "/".join(self._plan.task.metrics)
        means = (
            f"{row.label} " + "/".join(f"{100 * total / self._count:.1f}" for total in sums.values())
            for row, sums in zip(self._rows, self._sums, strict=True)
        )
        return f"{names} {' · '.join(means)}"


class GenerationMeans:
    """The first metric of each of the first strategies, over what it has generated so far; or the tokens, for
    a task whose completions are judged later."""

    def __init__(self, plan: GenerationPlan, lineup: Lineup) -> None:
        self._task = plan.task
        self._rows = lineup.rows[:_SHOWN]
        self._examples = {example.index: example for example in plan.examples}
        self._sums = [0.0] * len(plan.config.strategies)
        self._counts = [0] * len(plan.config.strategies)

    def add(self, record: GenerationRecord) -> None:
        value = float(record.tokens)
        if self._task.metrics:
            judged = self._task.judge(self._examples[record.index], record.raw, record.text)
            value = 100 * judged.measures[self._task.metrics[0]]
        self._sums[record.strategy] += value
        self._counts[record.strategy] += 1

    def shown(self) -> str:
        name = self._task.metrics[0] if self._task.metrics else "tokens"
        means = (
            f"{row.label} {self._sums[row.strategy] / self._counts[row.strategy]:.1f}"
            for row in self._rows
            if self._counts[row.strategy]
        )
        return f"{name} {' · '.join(means)}"


def to_standard_error(line: str) -> None:
    """One line about what takes time."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def silent(line: str) -> None:
    """Nobody asked."""


class Silent(Generic[R]):
    """As `Running`, and shows nothing."""

    def __init__(self, total: int, done: Collection[R], means: Means[R]) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, record: R) -> None: ...


class Running(Generic[R]):
    """How many of the records are there, what they come to so far, and the time left."""

    def __init__(self, total: int, done: Collection[R], means: Means[R]) -> None:
        self._total = total
        self._means = means
        self._count = self._resumed = len(done)
        self._begun = time.monotonic()
        self._told = self._begun - _SECONDS + _FIRST
        self._console = Console(stderr=True, emoji=False)
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
        for record in done:
            means.add(record)
        self._task = self._progress.add_task("", total=total, completed=self._count)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, record: R) -> None:
        """One more is done."""
        self._count += 1
        self._means.add(record)
        self._progress.update(self._task, completed=self._count, description=self._means.shown())
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told > _SECONDS:
            self._told = now
            rate = (now - self._begun) / (self._count - self._resumed)
            left = rate * (self._total - self._count)
            self._console.print(
                f"{self._count}/{self._total}  {self._means.shown()}  {_duration(left)} left",
                soft_wrap=True,
                highlight=False,
            )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
