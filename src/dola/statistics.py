"""How sure a mean over examples is: bootstrap intervals and paired tests, all by SciPy.

The examples are the sample: an interval says how far the figure would move with other questions of the same
kind, not with another model or prompt. Everything takes a seed, and with it is deterministic.

All rows of a table go through one resampling, as `[K, n]`: K rows of the same n examples. It is what makes
two rows comparable, and it costs one resampling instead of K.

Of more than 10,000 examples nothing is resampled: 9,999 resamples of n examples cost 9,999 n draws, and their
limit, which is taken instead, is nearer to what all resamples would give than 9,999 of them are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9_999
# More examples than this are not resampled.
MANY = 10_000
# Resampled values that are held at once: all 9,999 resamples of 817 questions would be 65 MB.
_HELD = 1_000_000

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% interval. One example alone has no interval: `low` and `high` are None."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Difference:
    """One scorer's mean minus another's on the same examples.

    `p` is two-sided: exact McNemar where every example counts 0 or 1, else a sign-flip permutation test.
    """

    interval: Interval
    p: float
    test: str

    @property
    def distinguishable(self) -> bool:
        """Whether it is beyond chance by both: the 95% interval leaves zero out, and p is below 0.05. (With
        few examples the bootstrap's interval is too short.)"""
        low, high = self.interval.low, self.interval.high
        return low is not None and high is not None and not low <= 0.0 <= high and self.p < 1 - CONFIDENCE


def mean_intervals(rows: Sequence[Sequence[float]], *, seed: int) -> list[Interval]:
    """The mean of each row and its 95% percentile bootstrap interval over 9,999 resamples of the examples.

    The percentile method, because BCa is undefined where all examples agree, and for a mean of hundreds of
    examples the two do not differ in the digits that are shown. Beyond 10,000 examples: the limit of that
    interval (Edgeworth's, to the order of the skewness).
    """
    table = _table(rows)
    count = table.shape[1]
    means = [math.fsum(row) / count if count else math.nan for row in table]
    if count < 2:
        return [Interval(mean) for mean in means]
    if count > MANY:
        bounds = _bootstrap_limit(table)
        return [Interval(mean, *each) for mean, each in zip(means, bounds.tolist(), strict=True)]

    def resampled_means(drawn: NDArray[np.int64], axis: int = -1) -> Values:  # noqa: ARG001 (SciPy passes it)
        """`drawn` `[R, n]` says which examples are in each resample; the means are `[K, R]`."""
        draws = np.atleast_2d(drawn)
        offset = draws + np.arange(len(draws))[:, None] * count
        times = np.bincount(offset.ravel(), minlength=draws.size).reshape(draws.shape)
        resampled: Values = table @ (times.T / count)
        return resampled[:, 0] if drawn.ndim == 1 else resampled

    result = stats.bootstrap(
        (np.arange(count),),
        resampled_means,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=max(1, _HELD // count),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    lows, highs = (
        np.atleast_1d(result.confidence_interval.low),
        np.atleast_1d(result.confidence_interval.high),
    )
    return [Interval(*triple) for triple in zip(means, lows.tolist(), highs.tolist(), strict=True)]


def paired_differences(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], *, seed: int
) -> list[Difference]:
    """Of each pair of rows the first minus the second, example by example: a paired bootstrap interval and a
    p-value.

    Beyond 10,000 examples the permutation test is its normal limit.

    Raises:
        ValueError: not of one length: they are not the same examples.
    """
    ours, theirs = _table([one for one, _ in pairs]), _table([other for _, other in pairs])
    if ours.shape != theirs.shape:
        raise ValueError(f"not the same examples: {ours.shape[1]} against {theirs.shape[1]}")
    apart = ours - theirs
    intervals = mean_intervals(apart.tolist(), seed=seed)
    exact = [_binary(one) and _binary(other) for one, other in zip(ours, theirs, strict=True)]
    flipped = iter(_sign_flips(apart[[not each for each in exact]], seed=seed))
    return [
        Difference(interval, _mcnemar(row), "McNemar")
        if binary
        else Difference(interval, next(flipped), "permutation")
        for row, interval, binary in zip(apart, intervals, exact, strict=True)
    ]


def _bootstrap_limit(table: Values) -> Values:
    """`[K, 2]`: where the percentiles of the means of infinitely many resamples of `[K, n]` tend to.

    Those means have the rows' own mean, variance s²/n and skewness γ/√n, so a percentile lies at
    z + γ (z² - 1) / (6 √n) standard errors (Cornish and Fisher); what is left out is of the order of 1/n.
    """
    count, spread = table.shape[1], table.std(1)
    away = table - table.mean(1, keepdims=True)
    skewness = np.divide((away**3).mean(1), spread**3, out=np.zeros(len(table)), where=spread > 0)
    z = np.asarray(stats.norm.interval(CONFIDENCE))
    quantiles = z + skewness[:, None] * (z**2 - 1) / (6 * math.sqrt(count))
    bounds: Values = table.mean(1)[:, None] + quantiles * spread[:, None] / math.sqrt(count)
    return bounds


def mcnemar(fixed: int, broken: int) -> float:
    """Exact two-sided McNemar test: of the examples that changed, were as many fixed as broken?"""
    if fixed + broken == 0:
        return 1.0
    return float(stats.binomtest(fixed, fixed + broken, 0.5).pvalue)


def _mcnemar(apart: Values) -> float:
    return mcnemar(int((apart > 0).sum()), int((apart < 0).sum()))


def _sign_flips(apart: Values, *, seed: int) -> list[float]:
    """Two-sided p-values of mean differences `[K, n]`, if each example's sign could as well be the other."""
    if not len(apart):
        return []
    if apart.shape[1] < 2:
        return [1.0] * len(apart)  # one example: its sign and the other are all there is
    if apart.shape[1] > MANY:
        # Under the null hypothesis the sum of signs times |d| has the variance of the sum of d².
        spread = np.sqrt((apart**2).sum(1))
        away = np.divide(apart.sum(1), spread, out=np.zeros(len(apart)), where=spread > 0)
        return [float(p) for p in 2 * stats.norm.sf(np.abs(away))]

    def flipped_sums(signs: Values, axis: int = -1) -> Values:  # noqa: ARG001 (SciPy passes it)
        """`signs` `[R, n]`, each +1 or -1; the sums are `[R, K]`."""
        return signs @ apart.T

    result = stats.permutation_test(
        (np.ones(apart.shape[1]),),
        flipped_sums,
        permutation_type="samples",  # of one sample: SciPy flips signs
        n_resamples=RESAMPLES,
        batch=max(1, _HELD // apart.shape[1]),
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return [min(1.0, float(p)) for p in np.atleast_1d(result.pvalue)]


def _binary(values: Values) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _table(rows: Sequence[Sequence[float]]) -> Values:
    """`[K, n]`."""
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), len(rows[0]) if rows else 0)
