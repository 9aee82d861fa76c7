"""Which bucket of candidate layers to take, or which other strategy: by two-fold validation, as in the paper.

Each half of the examples chooses one, and the other half says what that choice is worth. So the figure
that is reported was not made on the examples that chose, which a plain maximum over buckets is.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dola.runs.measured import Measured, MeasuredRow
from dola.runs.summary import percent, points
from dola.statistics import Difference, Interval, mean_intervals, paired_differences


@dataclass(frozen=True)
class Candidate:
    """A bucket, or another strategy, among those to choose from.

    Attributes:
        row: its place in the table.
        layers: its candidates; a strategy may have none.
        flag: what to paste to use it.
    """

    row: int
    layers: tuple[int, ...]
    flag: str


@dataclass(frozen=True)
class Fold:
    """One half chose this bucket; its mean there, and on the other half."""

    chosen: str
    on_own: float
    held_out: float


@dataclass(frozen=True)
class TwoFold:
    """The validation's outcome.

    Attributes:
        chosen: the bucket to take: the folds' common choice, else the best on all examples.
        held_out: the mean of all examples, each with the bucket that the other half chose.
        difference: of that from the first row, on the same examples.
    """

    metric: str
    chosen: Candidate
    folds: tuple[Fold, ...]
    held_out: Interval
    difference: Difference

    @property
    def agree(self) -> bool:
        return len({fold.chosen for fold in self.folds}) == 1


def two_fold(measured: Measured, candidates: Sequence[Candidate], metric: str, *, seed: int) -> TwoFold:
    """Choose among the candidates by `metric`; the halves are drawn at random, and `seed` fixes them."""
    rows = measured.rows
    places = list(range(len(measured.examples)))
    random.Random(seed).shuffle(places)
    halves = places[: len(places) // 2], places[len(places) // 2 :]
    held_out = [0.0] * len(places)
    folds, chosen = [], []
    for own, other in (halves, halves[::-1]):
        best = _best(rows, candidates, metric, own or other)
        values = rows[best.row].per_example[metric]
        for at in other:
            held_out[at] = values[at]
        chosen.append(best)
        folds.append(Fold(rows[best.row].label, _mean(values, own or other), _mean(values, other or own)))
    taken = chosen[0] if chosen[0] == chosen[1] else _best(rows, candidates, metric, places)
    difference = paired_differences([(held_out, rows[0].per_example[metric])], seed=seed)[0]
    return TwoFold(metric, taken, tuple(folds), mean_intervals([held_out], seed=seed)[0], difference)


def tuning_json(
    measured: Measured, found: TwoFold, candidates: Sequence[Candidate], static: dict[int, int]
) -> dict[str, Any]:
    """What a tune result adds to the result file, under `tuning`. `static`: each layer's row."""
    rows = measured.rows
    return {
        "metric": found.metric,
        "chosen": rows[found.chosen.row].label,
        "flag": f"--early-exit-layers {shlex.quote(found.chosen.flag)}",
        "agree": found.agree,
        "verdict": _verdict(found, rows[0].label),
        "folds": [asdict(fold) for fold in found.folds],
        "held_out": asdict(found.held_out),
        "difference": {**asdict(found.difference.interval), "p": found.difference.p},
        "buckets": [
            {"row": candidate.row, "layers": list(candidate.layers), "flag": candidate.flag}
            for candidate in candidates
        ],
        "static": {str(layer): row for layer, row in static.items()},
    }


def _verdict(found: TwoFold, first: str) -> str:
    folds = (
        "Both halves choose it"
        if found.agree
        else f"The halves disagree ({' and '.join(fold.chosen for fold in found.folds)}); best on all it is"
    )
    apart, interval = found.difference, ""
    low, high = apart.interval.low, apart.interval.high
    if low is not None and high is not None:
        interval = f" (95% interval {points(low)} to {points(high)})"
    return (
        f"{folds}. On held-out halves {found.metric} is {percent(found.held_out.mean)},"
        f" {points(apart.interval.mean)} points from {first}{interval},"
        f" {'beyond' if apart.distinguishable else 'not beyond'} chance."
    )


def _best(
    rows: Sequence[MeasuredRow], candidates: Sequence[Candidate], metric: str, places: Sequence[int]
) -> Candidate:
    """The candidate with the highest mean on these examples; the first of equals."""
    return max(
        candidates,
        key=lambda candidate: sum(rows[candidate.row].per_example[metric][at] for at in places),
    )


def _mean(values: Sequence[float], places: Sequence[int]) -> float:
    return sum(values[at] for at in places) / len(places)
