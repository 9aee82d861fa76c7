"""DeLTa's mathematics against the float64 oracle, and the laws that it obeys."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracle_delta
from dola.contrast import extrapolated_scores, line_weights, weighted_sum

lines = st.tuples(st.integers(0, 60), st.integers(0, 40), st.floats(-5, 120)).map(
    lambda drawn: (drawn[0], drawn[0] + drawn[1], drawn[2])
)


@given(line=lines, seed=st.integers(0, 1000))
def test_the_weighted_sum_is_the_least_squares_line(line: tuple[int, int, float], seed: int) -> None:
    first, last, at = line
    values = np.random.default_rng(seed).normal(size=(last - first + 1, 5))
    expected = oracle_delta.read_line(np.arange(first, last + 1, dtype=np.float64), values, at)
    found = np.array(line_weights(first, last, at)) @ values
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(line=lines)
def test_the_weights_add_up_to_one_and_a_straight_line_is_read_as_it_is(
    line: tuple[int, int, float],
) -> None:
    first, last, at = line
    weights = line_weights(first, last, at)
    assert len(weights) == last - first + 1
    assert math.fsum(weights) == pytest.approx(1.0, abs=1e-12)
    if last > first:
        straight = [3.0 - 0.25 * layer for layer in range(first, last + 1)]
        assert math.fsum(w * y for w, y in zip(weights, straight, strict=True)) == pytest.approx(
            3.0 - 0.25 * at, abs=1e-9
        )


@given(layers=st.integers(1, 200))
def test_two_layers_read_at_the_last_are_the_last_exactly(layers: int) -> None:
    assert line_weights(layers - 1, layers, layers) == (0.0, 1.0)
    assert line_weights(layers, layers, layers + 3) == (1.0,)
    last = torch.randn(2, 7)
    assert torch.equal(weighted_sum([torch.full((2, 7), math.nan), last], (0.0, 1.0)), last)


def test_the_line_through_normed_states_is_the_line_through_logits() -> None:
    head = torch.nn.Linear(16, 40).double()
    states = torch.randn(7, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = line_weights(24, 30, 32.5)
    through_logits = weighted_sum(head(states), weights)
    torch.testing.assert_close(head(weighted_sum(states, weights).double()).float(), through_logits.float())
    assert through_logits.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_states_of_any_dtype_are_added_up_in_float32(dtype: torch.dtype) -> None:
    states = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = states.clone()
    weights = line_weights(3, 7, 9.0)
    expected = (torch.tensor(weights, dtype=torch.float64)[:, None, None] * states.double()).sum(0)
    found = weighted_sum(states, weights)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float())
    assert torch.equal(states, before)


@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
    alpha=st.sampled_from([0.1, 0.5, 1.0]),
    filter_value=st.sampled_from([-math.inf, -1000.0]),
)
def test_the_scores_are_the_formulas(seed: int, size: float, alpha: float, filter_value: float) -> None:
    logits = torch.randn(3, 25, generator=torch.Generator().manual_seed(seed)) * size
    found = extrapolated_scores(logits, alpha=alpha, filter_value=filter_value)
    for row, scores in zip(logits, found, strict=True):
        expected = oracle_delta.scores(row.double().numpy(), alpha, filter_value)
        np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5, atol=1e-4)
        assert int(scores.argmax()) == int(row.argmax())


def test_a_shift_of_all_logits_changes_no_score() -> None:
    layers = torch.randn(4, 30, generator=torch.Generator().manual_seed(2)).double()
    weights = line_weights(5, 8, 9.5)
    plain, moved = (
        extrapolated_scores(weighted_sum(layers + shift, weights), alpha=0.1, filter_value=-math.inf)
        for shift in (0.0, 40.0)
    )
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-4)
