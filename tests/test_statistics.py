"""Intervals and tests against SciPy called directly, and against what must hold of any such figure."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import stats

from dola.statistics import mcnemar, mean_intervals, paired_differences

NUMBERS = random.Random(7)
VALUES = [NUMBERS.random() for _ in range(60)]
OTHERS = [value * 0.8 + 0.2 * NUMBERS.random() for value in VALUES]
RIGHT = [float(value > 0.5) for value in VALUES]
WRONG = [float(value > 0.6) for value in VALUES]


def test_an_interval_is_scipys_percentile_bootstrap() -> None:
    expected = stats.bootstrap(
        (np.array(VALUES),), np.mean, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = mean_intervals([VALUES], seed=3)[0]
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.mean == pytest.approx(sum(VALUES) / 60, abs=1e-12)


def test_a_row_has_the_same_interval_alone_and_among_others() -> None:
    alone = mean_intervals([OTHERS], seed=1)[0]
    among = mean_intervals([VALUES, OTHERS, RIGHT], seed=1)[1]
    assert (among.low, among.high) == pytest.approx((alone.low, alone.high), abs=1e-12)


def test_a_seed_fixes_everything() -> None:
    assert paired_differences([(VALUES, OTHERS)], seed=5) == paired_differences([(VALUES, OTHERS)], seed=5)


def test_a_p_value_is_scipys_sign_permutation_test() -> None:
    apart = np.array(VALUES[:8]) - np.array(OTHERS[:8])  # 2^8 sign patterns: exact in both
    expected = stats.permutation_test((apart,), np.sum, permutation_type="samples").pvalue
    found = paired_differences([(VALUES[:8], OTHERS[:8])], seed=0)[0]
    assert found.test == "permutation"
    assert found.p == pytest.approx(expected, abs=1e-12)


def test_accuracies_are_compared_by_mcnemar() -> None:
    found = paired_differences([(RIGHT, WRONG)], seed=0)[0]
    fixed = sum(ours > theirs for ours, theirs in zip(RIGHT, WRONG, strict=True))
    assert found.test == "McNemar"
    assert found.p == pytest.approx(2 * 0.5**fixed)  # all of them in one direction


def test_mcnemar_is_symmetric_and_certain_where_nothing_changed() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(9, 2) == pytest.approx(mcnemar(2, 9))
    assert mcnemar(5, 5) == pytest.approx(1.0)


def test_a_scorer_does_not_differ_from_itself() -> None:
    found = paired_differences([(VALUES, VALUES), (RIGHT, RIGHT)], seed=0)
    assert [each.p for each in found] == [1.0, 1.0]
    assert not any(each.distinguishable for each in found)
    assert found[0].interval.low == found[0].interval.high == 0.0


def test_a_constant_difference_is_beyond_chance() -> None:
    shifted = [value + 0.1 for value in VALUES]
    found = paired_differences([(shifted, VALUES)], seed=0)[0]
    assert found.distinguishable
    assert found.p < 0.001
    assert found.interval.low == pytest.approx(0.1)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_or_two_examples_crash_nothing(count: int) -> None:
    interval = mean_intervals([VALUES[:count]], seed=0)[0]
    difference = paired_differences(
        [(VALUES[:count], OTHERS[:count]), (RIGHT[:count], WRONG[:count])], seed=0
    )
    assert math.isnan(interval.mean) == (count == 0)
    assert (interval.low is None) == (count < 2)
    assert not any(each.distinguishable for each in difference)
    assert all(0.0 < each.p <= 1.0 for each in difference)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    source = np.random.default_rng(11)
    samples = source.random((200, 40))  # 200 experiments of 40 examples; the true mean is 0.5
    held = [each.low <= 0.5 <= each.high for each in mean_intervals(samples.tolist(), seed=0)]
    assert 0.88 <= sum(held) / len(held) <= 0.99


def test_rows_of_different_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="not the same examples"):
        paired_differences([(VALUES, OTHERS[:-1])], seed=0)


def test_of_many_examples_the_limit_of_the_resampling_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(3)
    count = 1_500
    monkeypatch.setattr("dola.statistics.MANY", count - 1)
    rows = [
        source.random(count).tolist(),
        (source.random(count) < 0.4).astype(float).tolist(),
        (source.random(count) < 0.016).astype(float).tolist(),  # two dozen of them: skewed
        [1.0] * count,
    ]
    other = [
        value + 0.01 * noise for value, noise in zip(rows[0], source.normal(1.7, 40, count), strict=True)
    ]
    limits, (p_limit,) = (
        mean_intervals(rows, seed=0),
        [each.p for each in paired_differences([(rows[0], other)], seed=0)],
    )
    monkeypatch.setattr("dola.statistics.MANY", count)
    resampled = mean_intervals(rows, seed=0)
    (difference,) = paired_differences([(rows[0], other)], seed=0)
    for values, limit, drawn in zip(rows, limits, resampled, strict=True):
        error = float(np.std(values)) / count**0.5
        assert limit.mean == drawn.mean
        # What 9,999 resamples themselves scatter by is 0.03 of a standard error, and two dozen come in steps.
        assert (limit.low, limit.high) == pytest.approx((drawn.low, drawn.high), abs=0.12 * error + 1e-12)
    assert 0.01 < difference.p < 0.5
    assert p_limit == pytest.approx(difference.p, abs=0.02)
    assert paired_differences([(rows[0], rows[0])], seed=0)[0].p == 1.0
