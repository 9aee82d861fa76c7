"""Both divergences against the float64 oracle, and the laws that they obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

import oracle
from dola.contrast import DIVERGENCES, js_divergence, released_divergence

BOTH = pytest.mark.parametrize("name", list(DIVERGENCES))
LN_2 = float(np.float32(math.log(2)))  # float32 has no nearer one


def log_probs(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, -1, dtype=torch.float32)


@st.composite
def logit_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two rows of logits over one vocabulary: near each other, far apart, flat, peaked, one-hot."""
    size = draw(st.integers(2, 40))
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]))
    rows = hnp.arrays(np.float32, size, elements=st.floats(-1, 1, width=32))
    first = draw(rows) * np.float32(scale)
    second = draw(st.sampled_from([rows.map(lambda r: r * np.float32(scale)), rows.map(lambda r: r + first)]))
    return first, draw(second)


@BOTH
@given(pair=logit_pairs())
def test_divergence_is_right_to_1e_5(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    found = float(DIVERGENCES[name](*map(log_probs, map(torch.from_numpy, pair))))
    expected = oracle.divergence(name, first.astype(np.float64), second.astype(np.float64))
    # A log-probability of size 2e4 is itself known to 1e-3 only in float32; the error it makes is relative.
    assert found == pytest.approx(expected, rel=1e-5, abs=2e-7)


@given(pair=logit_pairs())
def test_js_lies_between_0_and_ln_2_and_is_symmetric(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = (log_probs(torch.from_numpy(row)) for row in pair)
    assert 0.0 <= float(js_divergence(p, q)) <= LN_2
    assert torch.equal(js_divergence(p, q), js_divergence(q, p))


def test_rounding_never_carries_js_below_0_or_above_ln_2() -> None:
    generator = torch.Generator().manual_seed(0)
    p = 0.1 * torch.randn(500, 3, generator=generator)
    nearly = p + 1e-7 * torch.randn(500, 3, generator=generator)  # a bit of the mantissa apart, or none
    assert js_divergence(p, nearly).min() >= 0.0
    first, second = torch.randn(2, 200, 20, generator=generator)
    odd = torch.arange(20) % 2 == 1
    nothing_in_common = js_divergence(first.masked_fill(odd, -math.inf), second.masked_fill(~odd, -math.inf))
    assert nothing_in_common.max() <= LN_2
    torch.testing.assert_close(nothing_in_common, torch.full((200,), LN_2))


@given(pair=logit_pairs())
def test_released_is_symmetric_and_never_negative(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = (log_probs(torch.from_numpy(row)) for row in pair)
    assert float(released_divergence(p, q)) >= 0.0
    assert torch.equal(released_divergence(p, q), released_divergence(q, p))


@BOTH
@pytest.mark.parametrize("size", [1, 3, 16, 1001, 49152])
def test_equal_distributions_have_no_divergence_at_all(name: str, size: int) -> None:
    p = log_probs(torch.randn(5, size) * 10)
    assert torch.equal(DIVERGENCES[name](p, p.clone()), torch.zeros(5))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_logits_of_any_dtype_are_contrasted_in_float32(name: str, dtype: torch.dtype) -> None:
    logits = (torch.randn(2, 300, generator=torch.Generator().manual_seed(0)) * 8).to(dtype)
    found = DIVERGENCES[name](*log_probs(logits))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(oracle.divergence(name, *logits.double().numpy()), rel=1e-5)


EXTREMES = {
    "uniform": lambda v: torch.zeros(v),
    "one-hot": lambda v: torch.zeros(v).index_fill_(0, torch.tensor([3]), 1e4),
    "another one-hot": lambda v: torch.zeros(v).index_fill_(0, torch.tensor([5]), 1e4),
    "from -1e4 to 1e4": lambda v: torch.linspace(-1e4, 1e4, v),
    "from 1e4 to -1e4": lambda v: torch.linspace(1e4, -1e4, v),
    "half ruled out": lambda v: (
        torch.arange(v).remainder(2).mul(-math.inf).nan_to_num(nan=0.0, neginf=-math.inf)
    ),
    "normal": lambda v: torch.randn(v, generator=torch.Generator().manual_seed(v)) * 3,
}


@BOTH
@pytest.mark.parametrize("second", EXTREMES)
@pytest.mark.parametrize("first", EXTREMES)
def test_extreme_logits_give_finite_divergences(name: str, first: str, second: str) -> None:
    rows = [EXTREMES[kind](50) for kind in (first, second)]
    found = float(DIVERGENCES[name](*map(log_probs, rows)))
    expected = oracle.divergence(name, *(row.double().numpy() for row in rows))
    assert math.isfinite(found)
    if math.isinf(expected):
        assert found > 1e3, "a token possible on one side only: as far apart as can be, and still a number"
    else:
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


@BOTH
@pytest.mark.parametrize("kind", ["uniform", "one-hot", "normal", "from -1e4 to 1e4"])
def test_a_vocabulary_of_262144_loses_no_digits(name: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = [EXTREMES[kind](262144), torch.randn(262144, generator=generator) * 3]
    found = float(DIVERGENCES[name](*map(log_probs, rows)))
    expected = vectorised(name, *(row.double().numpy() for row in rows))
    # 5e-5, not 1e-5: PyTorch's own log_softmax adds up a long row in single precision.
    assert found == pytest.approx(expected, rel=5e-5)


def vectorised(name: str, first: np.ndarray, second: np.ndarray) -> float:
    """The oracle's formulas without its loop, for rows that are long."""
    log_p, log_q = oracle.log_softmax(first), oracle.log_softmax(second)
    log_m = np.logaddexp(log_p, log_q) - math.log(2)
    if name == "released":
        return float((np.exp(log_m) * (log_m - (log_p + log_q) / 2)).sum())
    return float((np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m)).sum() / 2)


def test_tokens_impossible_on_both_sides_do_not_count() -> None:
    logits = torch.randn(2, 20)
    padded = torch.cat([logits, torch.full((2, 7), -math.inf)], -1)
    for find in DIVERGENCES.values():
        torch.testing.assert_close(find(*log_probs(padded)), find(*log_probs(logits)))


@BOTH
@given(pair=logit_pairs(), shift=st.floats(-50, 50), data=st.data())
@settings(max_examples=60)
def test_neither_the_order_of_the_vocabulary_nor_a_constant_matters(
    name: str, pair: tuple[np.ndarray, np.ndarray], shift: float, data: st.DataObject
) -> None:
    p, q = map(torch.from_numpy, pair)
    order = torch.tensor(data.draw(st.permutations(range(len(p)))))
    plain = float(DIVERGENCES[name](log_probs(p), log_probs(q)))
    moved = float(DIVERGENCES[name](log_probs(p[order] + shift), log_probs(q[order])))
    # Adding the constant rounds the logits themselves: 1e4 + 50 keeps three decimals.
    assert moved == pytest.approx(plain, rel=2e-3, abs=1e-5)


def test_the_released_divergence_is_the_swapped_kl_div_of_the_released_code_times_v() -> None:
    p, q = (log_probs(torch.randn(3, 40)) for _ in range(2))
    mixture = (p.exp() + q.exp()) / 2
    swapped = sum(torch.nn.functional.kl_div(x, mixture, reduction="none").mean(-1) for x in (p, q)) / 2
    torch.testing.assert_close(released_divergence(p, q), swapped * 40)


def test_candidates_are_broadcast_against_one_mature_layer() -> None:
    mature, candidates = log_probs(torch.randn(2, 3, 11)), log_probs(torch.randn(4, 2, 3, 11))
    for find in DIVERGENCES.values():
        each = torch.stack([find(mature, candidate) for candidate in candidates])
        torch.testing.assert_close(find(mature, candidates), each)


@BOTH
def test_logits_and_their_log_probabilities_diverge_alike(name: str) -> None:
    p, q = (torch.randn(2, 3, 1001, generator=torch.Generator().manual_seed(0)) * 6).unbind(0)
    found = DIVERGENCES[name](p + 40, q - 3)
    torch.testing.assert_close(found, DIVERGENCES[name](log_probs(p), log_probs(q)), rtol=1e-5, atol=0)


@BOTH
@pytest.mark.parametrize("below", [-59.0, -61.0, -300.0, -torch.inf])
def test_what_both_sides_rule_out_adds_nothing_even_where_subnormal_numbers_are_flushed(
    name: str, below: float
) -> None:
    p, q = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0)).unbind(0)
    ruled_out = torch.full((8,), below)  # first: flushing is for the calling thread alone
    expected = oracle.divergence(name, p.double().numpy(), q.double().numpy())
    flushed = torch.set_flush_denormal(True)
    try:
        found = DIVERGENCES[name](torch.cat([ruled_out, p]), torch.cat([ruled_out - 1, q]))
    finally:
        torch.set_flush_denormal(False)
    assert flushed
    assert float(found) == pytest.approx(expected, rel=1e-5)
