"""The rows of a result's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from dola.result.figures import Measure, PairedDifference
from dola.result.form import named, optional, unknown

# What follows a label where the settings are its released code's.
_RELEASED = " (released)"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        kind: `strategy`, `static` (in a sweep over layers), `variant` or `control`.
        strategy: its place among those that were run; None for a control.
        per_token: an answer's score is the mean over its tokens, not the sum.
        measures: of each metric, the mean with its 95% interval.
        spread: of the random control, the standard deviation of each metric's mean from draw to draw.
        differences: from the first row, of each metric; None for the first row and the random control.
        fixed, broken: examples that the first row got wrong and this one right, and the other way round, by
            the first metric that is 0 or 1; None where there is no such metric.
        per_example: each metric's values, in the examples' order.
        tokens, timed_tokens, seconds, tokens_per_second: where it generated: how many, those of them whose
            time is known, and that time; None where it scored.
    """

    label: str
    kind: str
    strategy: int | None
    per_token: bool
    measures: Mapping[str, Measure]
    spread: Mapping[str, float] = field(default_factory=dict)
    differences: Mapping[str, PairedDifference] | None = named("difference", default=None)
    fixed: int | None = None
    broken: int | None = None
    per_example: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    tokens: int | None = optional()
    timed_tokens: int | None = optional()
    seconds: float | None = optional()
    tokens_per_second: float | None = optional()
    extra: Mapping[str, Any] = unknown()


class Rows(Sequence[Row]):
    """Rows in the table's order; by place, or by label: `rows["high"]` is the row `high (released)` too."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, which: int | str) -> Row: ...

    @overload
    def __getitem__(self, which: slice) -> Rows: ...

    def __getitem__(self, which: int | str | slice) -> Row | Rows:
        if isinstance(which, slice):
            return Rows(self._rows[which])
        if isinstance(which, int):
            return self._rows[which]
        for label in (which, which + _RELEASED):
            for row in self._rows:
                if row.label == label:
                    return row
        raise KeyError(f"no row {which!r}: the rows are {', '.join(row.label for row in self._rows)}")

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self._rows == other._rows

    def __hash__(self) -> int:
        return hash(tuple(row.label for row in self._rows))

    def __repr__(self) -> str:
        return f"Rows({', '.join(repr(row.label) for row in self._rows)})"

    def of_kind(self, kind: str) -> tuple[Row, ...]:
        """The rows of one kind; of `strategy`, those that were asked for."""
        return tuple(row for row in self._rows if row.kind == kind)
