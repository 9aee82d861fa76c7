"""The adaptive plausibility constraint keeps what the mature layer finds plausible, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dola.contrast import apply_plausibility


def constrained(
    probabilities: list[float], alpha: float, filter_value: float | None = -math.inf
) -> list[float]:
    mature = torch.tensor(probabilities).log()
    return apply_plausibility(torch.arange(len(probabilities)) + 1.0, mature, alpha, filter_value).tolist()


def test_tokens_below_alpha_times_the_best_are_ruled_out() -> None:
    assert constrained([0.5, 0.3, 0.06, 0.04, 0.1], 0.1) == [1.0, 2.0, 3.0, -math.inf, 5.0]


def test_a_ruled_out_token_gets_the_filter_value() -> None:
    assert constrained([0.9, 0.05, 0.05], 0.1, -1000.0) == [1.0, -1000.0, -1000.0]


def test_alpha_0_rules_out_nothing_but_the_impossible() -> None:
    assert constrained([1.0 - 1e-30, 1e-30, 0.0], 0.0) == [1.0, 2.0, -math.inf]


def test_alpha_1_keeps_the_best_tokens_alone() -> None:
    assert constrained([0.4, 0.4, 0.2], 1.0) == [1.0, 2.0, -math.inf]


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30),
    st.floats(0, 1),
    st.sampled_from([-math.inf, -1000.0]),
)
def test_the_best_token_always_keeps_its_score(
    logits: list[float], alpha: float, filter_value: float
) -> None:
    mature = torch.log_softmax(torch.tensor(logits), -1)
    scores = apply_plausibility(torch.zeros_like(mature), mature, alpha, filter_value)
    assert scores[mature.argmax()] == 0.0
    assert set(scores.tolist()) <= {0.0, filter_value}


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30),
    st.lists(st.floats(-2e4, 2e4, width=32), min_size=30, max_size=30),
    st.floats(0.01, 1),
)
def test_without_a_filter_value_the_ruled_out_lie_below_the_plausible_in_the_order_of_p(
    logits: list[float], contrasts: list[float], alpha: float
) -> None:
    mature = torch.log_softmax(torch.tensor(logits), -1)
    before = torch.tensor(contrasts[: len(logits)])
    scores = apply_plausibility(before, mature, alpha, None)
    ruled_out = mature < mature.max() + math.log(alpha)
    assert torch.equal(scores[~ruled_out], before[~ruled_out])
    assert scores.isfinite().all()
    below, lowest = scores[ruled_out], before[~ruled_out].min()
    assert (below < lowest - 9_999).all()
    # Further than a temperature of 90 and a penalty of 2 reach.
    assert (torch.softmax(scores / 90, -1)[ruled_out] == 0).all()
    assert (below < torch.where(lowest < 0, lowest * 2, lowest / 2)).all()
    order = torch.argsort(mature[ruled_out])
    assert (below[order].diff() >= 0).all()


def test_without_a_filter_value_a_token_of_probability_zero_stays_forbidden() -> None:
    for alpha in (0.0, 0.1):
        assert constrained([1.0 - 1e-30, 1e-30, 0.0], alpha, None)[2] == -math.inf


@pytest.mark.parametrize("alpha", [0.1, 0.9])
def test_the_mask_of_a_row_depends_on_that_row_alone(alpha: float) -> None:
    mature = torch.log_softmax(torch.randn(6, 50) * 3, -1)
    together = apply_plausibility(torch.zeros(6, 50), mature, alpha, -math.inf)
    alone = torch.stack([apply_plausibility(torch.zeros(50), row, alpha, -math.inf) for row in mature])
    assert torch.equal(together, alone)
    assert together.isinf().any(dim=1).all()


def test_the_lowest_finite_log_probability_is_not_yet_impossible() -> None:
    lowest = torch.finfo(torch.float32).min
    mature = torch.tensor([0.0, lowest, -math.inf])
    for alpha, found in ((0.0, [1.0, 1.0, -math.inf]), (0.1, [1.0, -2e4, -math.inf])):
        assert apply_plausibility(torch.ones(3), mature, alpha, None).tolist() == found
