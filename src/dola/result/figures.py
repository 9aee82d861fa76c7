"""The two figures of a table's cell: a mean, and a difference from the first row; each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dola.result.form import optional, unknown
from dola.statistics import CONFIDENCE, Difference, Interval


@dataclass(frozen=True)
class Measure(Interval):
    """A mean over examples with its 95% interval."""

    extra: Mapping[str, Any] = unknown()

    @classmethod
    def of(cls, interval: Interval) -> Measure:
        return cls(interval.mean, interval.low, interval.high)


@dataclass(frozen=True)
class PairedDifference(Interval):
    """A row's mean minus the first row's on the same examples, with its 95% interval, and the two-sided
    p-value of a paired test."""

    p: float = 1.0
    test: str | None = optional()
    extra: Mapping[str, Any] = unknown()

    @classmethod
    def of(cls, difference: Difference) -> PairedDifference:
        interval = difference.interval
        return cls(interval.mean, interval.low, interval.high, difference.p, difference.test)

    @property
    def distinguishable(self) -> bool:
        """Whether it is beyond chance by both: the interval leaves zero out, and p is below 0.05."""
        low, high = self.low, self.high
        return low is not None and high is not None and not low <= 0.0 <= high and self.p < 1 - CONFIDENCE
