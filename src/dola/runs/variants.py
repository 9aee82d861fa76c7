"""The rows of a table: each strategy as asked for, and what else the same pass over the data gives of it.

A sum of token scores that are not renormalised grows with the answer's length, so beside each strategy's own
sum stand its mean per token, and the strategy with `post_softmax` the other way round.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dola.strategies import Strategy

PER_TOKEN = "per token"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        label: as the user wrote the strategy, and what is different in a variant.
        strategy: its place among those that are scored.
        per_token: an answer's score is the mean over its tokens, not the sum.
        kind: `strategy` as asked for, `static` in a sweep over layers, or `variant`.
    """

    label: str
    strategy: int
    per_token: bool = False
    kind: str = "strategy"


@dataclass(frozen=True)
class Lineup:
    """What is scored and what is shown. The first rows are the strategies asked for, in their order."""

    scored: tuple[Strategy, ...]
    rows: tuple[Row, ...]

    @property
    def asked(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.kind == "strategy")


def line_up(
    strategies: Sequence[tuple[str, Strategy]], *, variants: bool = True, sweep: Collection[str] = ()
) -> Lineup:
    """The rows of these labelled strategies; one that is given twice counts once. `sweep` has the labels of
    those that are scored for a figure only, and neither compared in words nor shown example by example."""
    scored: list[Strategy] = []
    asked: dict[int, Row] = {}
    for label, strategy in strategies:
        place = _place(scored, strategy)
        asked.setdefault(place, Row(label, place, kind="static" if label in sweep else "strategy"))
    rows: list[Row] = []
    if variants:
        for row in asked.values():
            rows += _variants(row, scored)
    return Lineup(tuple(scored), (*asked.values(), *rows))


def _variants(row: Row, scored: list[Strategy]) -> list[Row]:
    made = [Row(f"{row.label} · {PER_TOKEN}", row.strategy, per_token=True, kind="variant")]
    own = scored[row.strategy]
    if "post_softmax" not in {field.name for field in fields(own)}:
        return made
    settings: Any = own
    renormalised = bool(settings.post_softmax)
    place = _place(scored, replace(settings, post_softmax=not renormalised))
    name = f"{row.label} · {'no ' if renormalised else ''}post_softmax"
    made.append(Row(name, place, kind="variant"))
    made.append(Row(f"{name}, {PER_TOKEN}", place, per_token=True, kind="variant"))
    return made


def _place(scored: list[Strategy], strategy: Strategy) -> int:
    """Where the strategy is among those scored; at the end if it was not yet."""
    if strategy not in scored:
        scored.append(strategy)
    return scored.index(strategy)
