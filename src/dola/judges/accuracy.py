"""How often judges agree with people on held-out questions, and how sure that is.

The answers to one question are alike, so the sample is of questions, not of answers: an interval resamples
whole questions (a cluster bootstrap), and all judges go through the same resamples.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 9_999
CONFIDENCE = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval; None where there is none, as with a single question."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Agreement:
    """One judge against people.

    Attributes:
        accuracy: share of the answers that both judge alike.
        balanced: mean of that share among the answers that people said yes to, and no to.
        over_first: accuracy minus the first judge's, on the same answers.
        said_yes: how many answers the judge says yes to, of those that people said (yes, no) to.
    """

    name: str
    accuracy: Share
    balanced: Share
    over_first: Share
    said_yes: tuple[int, int]


def agreements(
    verdicts: Mapping[str, Sequence[bool]], people: Sequence[bool], questions: Sequence[str], *, seed: int
) -> list[Agreement]:
    """Every judge's agreement with people, the first one's being what the others are compared with.

    `people` and `questions` are one a held-out answer, as is each judge's verdict.
    """
    names = sorted(set(questions))
    place = {name: at for at, name in enumerate(names)}
    at = np.array([place[question] for question in questions])
    truth = np.array(people, dtype=bool)
    said = np.array(list(verdicts.values()), dtype=bool)  # [K, n]
    right = said == truth

    def counts(of: NDArray[np.bool_]) -> Values:
        """How many a question: `[K, Q]` of `[K, n]`."""
        rows = np.atleast_2d(of)
        return np.array([np.bincount(at, weights=row, minlength=len(names)) for row in rows])

    figures = _Figures(counts(right & truth), counts(right & ~truth), counts(truth)[0], counts(~truth)[0])
    values = figures.of(np.arange(len(names)))
    lows, highs = _interval(figures, len(names), seed)
    shares = [
        [Share(_known(v), _known(low), _known(high)) for v, low, high in zip(*of, strict=True)]
        for of in zip(values, lows, highs, strict=True)
    ]
    said_yes = [(int((row & truth).sum()), int((row & ~truth).sum())) for row in said]
    return [
        Agreement(name, accuracy, balanced, over_first, yes)
        for name, accuracy, balanced, over_first, yes in zip(verdicts, *shares, said_yes, strict=True)
    ]


@dataclass(frozen=True)
class _Figures:
    """Counts a question: what each judge got right of people's yes and no `[K, Q]`, and of how many `[Q]`."""

    right_yes: Values
    right_no: Values
    yes: Values
    no: Values

    def of(self, drawn: NDArray[np.int64], axis: int = -1) -> Values:  # noqa: ARG002 (SciPy passes it)
        """Accuracy, balanced accuracy, and accuracy over the first: `[3, K]`, or `[3, K, R]` of `[R, Q]`."""
        draws = np.atleast_2d(drawn)
        times = np.stack([np.bincount(row, minlength=len(self.yes)) for row in draws], axis=-1)  # [Q, R]
        right_yes, right_no = self.right_yes @ times, self.right_no @ times
        yes, no = self.yes @ times, self.no @ times
        with np.errstate(invalid="ignore"):  # a resample without any yes has no balanced accuracy
            accuracy = (right_yes + right_no) / (yes + no)
            balanced = (right_yes / yes + right_no / no) / 2
        made = np.stack([accuracy, balanced, accuracy - accuracy[:1]])
        return made[..., 0] if drawn.ndim == 1 else made


def _interval(figures: _Figures, count: int, seed: int) -> tuple[Values, Values]:
    if count < 2:
        nothing = np.full((3, len(figures.right_yes)), np.nan)
        return nothing, nothing
    with warnings.catch_warnings():
        # A figure that some resample does not have has no interval; SciPy complains of it.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (np.arange(count),),
            figures.of,
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            batch=1_000,
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    low, high = result.confidence_interval
    return np.asarray(low), np.asarray(high)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
