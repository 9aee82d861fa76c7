"""What the strategies make of early-exit logits, against the float64 oracle."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

import oracle
from contrasting import contrast_of, resolved
from dola import DoLa, DoLaStatic, StrategyError, Vanilla, parse_strategy
from dola.errors import LayerError
from dola.strategies import ExitLogits, Read, ResolvedStrategy

LAYERS = 8


def dynamic(candidates: int, **settings: object) -> ResolvedStrategy:
    return resolved(DoLa(tuple(range(candidates)), **settings), LAYERS)


def static(premature: int = 0, **settings: object) -> ResolvedStrategy:
    return resolved(DoLaStatic(premature, **settings), LAYERS)


@st.composite
def exits_of_logits(draw: st.DrawFn) -> np.ndarray:
    """Early-exit logits `[K+1, V]`, from flat to saturated, float32."""
    shape = (draw(st.integers(2, 5)), draw(st.integers(2, 30)))
    scale = draw(st.sampled_from([0.1, 3.0, 100.0, 1e4]))
    return draw(hnp.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32))) * np.float32(scale)


@given(logits=exits_of_logits(), name=st.sampled_from(["released", "js"]), post_softmax=st.booleans())
def test_dola_contrasts_with_the_layer_that_diverges_most(
    *, logits: np.ndarray, name: str, post_softmax: bool
) -> None:
    *premature, mature = logits.astype(np.float64)
    strategy = dynamic(len(premature), divergence=name, post_softmax=post_softmax)
    found = contrast_of(strategy, torch.from_numpy(logits))
    divergences = [oracle.divergence(name, mature, row) for row in premature]
    assert found.premature is not None
    assert found.details["divergence"].tolist() == pytest.approx(divergences, rel=1e-5, abs=2e-7)
    chosen = int(found.premature)
    assert chosen in oracle.first_of_the_largest(divergences, tie=2e-5) or divergences[chosen] < 1e-6
    assert_scores(found.scores, mature, premature[chosen], alpha=0.1, post_softmax=post_softmax)


def assert_scores(
    found: Tensor, mature: np.ndarray, premature: np.ndarray, *, alpha: float, post_softmax: bool = False
) -> None:
    expected = oracle.contrast(mature, premature, alpha=alpha, filter_value=None, post_softmax=post_softmax)
    margin = oracle.log_softmax(mature) - oracle.log_softmax(mature).max() - math.log(alpha or 1e-300)
    decided = np.abs(margin) > 1e-3  # a token on the very edge of the constraint may fall on either side
    # A float32 difference of log-probabilities is no finer than they are, however small it comes out.
    largest = max(np.ptp(mature), np.ptp(premature), 1.0)
    np.testing.assert_allclose(
        found.numpy()[decided], expected[decided], rtol=1e-5, atol=1e-4 + 2e-7 * largest
    )


@given(logits=exits_of_logits(), alpha=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
@settings(max_examples=60)
def test_static_is_dynamic_with_one_candidate(logits: np.ndarray, alpha: float) -> None:
    two = torch.from_numpy(logits[-2:])
    one = contrast_of(static(alpha=alpha), two)
    assert torch.equal(one.scores, contrast_of(dynamic(1, alpha=alpha), two).scores)
    assert_scores(one.scores, *logits[[-1, -2]].astype(np.float64), alpha=alpha)


@given(logits=exits_of_logits(), data=st.data())
@settings(max_examples=60)
def test_permuting_the_vocabulary_permutes_the_scores(logits: np.ndarray, data: st.DataObject) -> None:
    tensor = torch.from_numpy(logits)
    order = torch.tensor(data.draw(st.permutations(range(tensor.shape[1]))))
    plain = contrast_of(static(), tensor[-2:]).scores
    permuted = contrast_of(static(), tensor[-2:, order]).scores
    torch.testing.assert_close(permuted, plain[order], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("post_softmax", [False, True])
def test_adding_a_constant_to_a_layers_logits_changes_nothing(*, post_softmax: bool) -> None:
    logits = torch.randn(4, 6, 50) * 4
    strategy = dynamic(3, post_softmax=post_softmax)
    plain, moved = (
        contrast_of(strategy, logits),
        contrast_of(strategy, logits + torch.tensor([7.0, -3, 11, 20])[:, None, None]),
    )
    torch.testing.assert_close(moved.scores, plain.scores, rtol=1e-5, atol=1e-4)
    assert torch.equal(moved.premature, plain.premature)


def test_every_position_chooses_and_masks_for_itself() -> None:
    logits = torch.randn(4, 5, 3, 40) * torch.tensor([1.0, 5, 9, 4])[:, None, None, None]
    together = contrast_of(dynamic(3), logits)
    for row in range(5):
        for position in range(3):
            alone = contrast_of(dynamic(3), logits[:, row, position])
            assert together.premature[row, position] == alone.premature
            torch.testing.assert_close(together.scores[row, position], alone.scores)
    assert together.details["divergence"].shape == (3, 5, 3)


def test_post_softmax_normalises_before_the_constraint() -> None:
    logits = torch.randn(2, 60) * 3
    free = contrast_of(static(post_softmax=True, alpha=0.0), logits).scores
    kept = contrast_of(static(post_softmax=True, alpha=0.3), logits).scores
    assert float(free.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    plausible = kept > -5e3
    assert not plausible.all()
    assert torch.equal(kept[plausible], free[plausible])


def test_alpha_0_keeps_all_tokens_and_alpha_1_the_best_alone() -> None:
    logits = torch.randn(2, 60)
    assert (contrast_of(static(alpha=0.0), logits).scores > -5e3).all()
    only = (contrast_of(static(alpha=1.0), logits).scores > -5e3).nonzero()
    assert only.tolist() == [[int(logits[1].argmax())]]


def test_ruled_out_tokens_get_the_filter_value() -> None:
    logits = torch.randn(3, 60) * 3
    infinite = contrast_of(dynamic(2, filter_value=-math.inf), logits).scores
    released = contrast_of(dynamic(2, filter_value=-1000.0), logits).scores
    assert torch.equal(infinite.nan_to_num(neginf=-1000.0), released)
    assert (released == -1000.0).any()


@pytest.mark.parametrize("post_softmax", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_tokens_that_the_head_rules_out_itself_poison_nothing(*, post_softmax: bool, alpha: float) -> None:
    """Padded vocabularies and bad-word biases come as logits of -inf, in some layers or in all."""
    logits = torch.randn(3, 20)
    padded = torch.cat([logits, torch.full((3, 4), -math.inf)], -1)
    strategy = dynamic(2, post_softmax=post_softmax, alpha=alpha)
    found, plain = contrast_of(strategy, padded).scores, contrast_of(strategy, logits).scores
    assert not found.isnan().any()
    torch.testing.assert_close(found[:20], plain)
    assert (found[20:] == -math.inf).all()
    padded[0, 7] = padded[1, 7] = -math.inf  # possible in the mature layer alone
    scores = contrast_of(strategy, padded).scores
    assert not scores.isnan().any()
    assert not scores.isposinf().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("strategy", [resolved(Vanilla(), LAYERS), static(), dynamic(1)], ids=str)
def test_whatever_the_logits_are_the_scores_are_float32(
    strategy: ResolvedStrategy, dtype: torch.dtype
) -> None:
    logits = (torch.randn(len(strategy.reads), 30) * 4).to(dtype)
    scores = contrast_of(strategy, logits).scores
    assert scores.dtype == torch.float32
    assert torch.equal(scores, contrast_of(strategy, logits.float()).scores)


@pytest.mark.parametrize("mature", [1, 5, 8])
def test_any_layer_may_be_mature(mature: int) -> None:
    fixed, chosen = static(0, mature_layer=mature), resolved(DoLa((0,), mature_layer=mature), LAYERS)
    assert fixed.reads == chosen.reads == (Read.at(0), Read.at(mature))
    assert str(fixed) == f"0,{mature}"


def test_the_norm_of_early_exits_is_off_unless_asked_for() -> None:
    assert dynamic(3).reads == (*map(Read.at, (0, 1, 2)), Read.at(8))
    normed = tuple(Read.at(layer, norm=True) for layer in (0, 1, 2))
    assert dynamic(3, early_exit_norm=True).reads == (*normed, Read.at(8))  # which is normed already
    earlier = dynamic(3, early_exit_norm=True, mature_layer=7)
    assert earlier.reads == (*normed, Read.at(7, norm=True))
    assert static(1, early_exit_norm=True).reads == (Read.at(1, norm=True), Read.at(8))


def test_candidates_keep_their_order_and_the_mature_layer_comes_last() -> None:
    strategy = resolved(DoLa((0, 3, 5), mature_layer=7), LAYERS)
    assert strategy.reads == tuple(map(Read.at, (0, 3, 5, 7)))
    assert strategy.candidates == (0, 3, 5)


def test_the_premature_layer_is_told_by_its_number() -> None:
    logits = torch.randn(4, 40, 30) * torch.tensor([1.0, 5, 9, 4])[:, None, None]
    found = contrast_of(resolved(DoLa((1, 4, 6)), LAYERS), logits)
    chosen = found.details["divergence"].argmax(0)
    assert torch.equal(found.premature, torch.tensor([1, 4, 6])[chosen])
    assert contrast_of(static(5), logits[:2]).premature.tolist() == [5] * 40
    assert contrast_of(resolved(Vanilla(), LAYERS), logits[:1]).premature is None


def test_vanilla_is_the_last_layers_logits() -> None:
    logits = torch.randn(1, 4, 9)
    plain = resolved(Vanilla(), LAYERS)
    assert torch.equal(contrast_of(plain, logits).scores, logits[0])
    assert plain.reads == (Read.at(8),)
    assert plain.plain
    assert not plain.normalised


def test_what_dola_sums_needs_no_log_softmax_first() -> None:
    for strategy in (static(), dynamic(2), dynamic(2, post_softmax=True)):
        assert strategy.normalised
        assert not strategy.plain


@pytest.mark.parametrize("kind", [DoLa, DoLaStatic])
@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, math.inf])
def test_an_alpha_outside_0_to_1_is_refused(kind: type, alpha: float) -> None:
    with pytest.raises(StrategyError, match=r"alpha must be in \[0, 1\]"):
        kind((0,) if kind is DoLa else 0, alpha=alpha)


@pytest.mark.parametrize("value", [0.0, 3.0, math.nan])
def test_a_filter_value_that_would_not_rule_out_is_refused(value: float) -> None:
    with pytest.raises(StrategyError, match="filter_value"):
        DoLa("low", filter_value=value)


def test_an_unknown_divergence_or_bucket_is_refused() -> None:
    with pytest.raises(StrategyError, match="released, js"):
        DoLa("low", divergence="kl")
    with pytest.raises(LayerError, match="low, high, auto"):
        DoLa("middle")


def test_resolving_leaves_the_strategy_as_it_is_and_settles_every_number() -> None:
    strategy = DoLa("high", alpha=0.2)
    found = resolved(strategy, LAYERS)
    assert strategy == DoLa("high", alpha=0.2)
    assert found.strategy == DoLa((4, 6), mature_layer=8, alpha=0.2, early_exit_norm=True)
    assert found.text == str(found.strategy) == "4,6,8:alpha=0.2,early_exit_norm=true"
    assert resolved(found.strategy, LAYERS).strategy == found.strategy
    assert resolved(found.strategy, LAYERS).reads == found.reads
    assert replace(found.strategy, alpha=0.1) != found.strategy


@pytest.mark.parametrize("kind", ["2,4,6,8", "2,8"])
def test_strategies_that_work_together_contrast_as_each_does_alone(kind: str) -> None:
    divergences = ("released", "js") if kind.count(",") > 1 else (None,)
    texts = [
        f"{kind}:alpha={alpha},post_softmax={post}" + (f",divergence={divergence}" if divergence else "")
        for divergence in divergences
        for alpha in (0.0, 0.1)
        for post in ("true", "false")
    ]
    strategies = [resolved(parse_strategy(text), LAYERS) for text in texts]
    reads = strategies[0].reads
    logits = 4 * torch.randn(len(reads), 5, 33, generator=torch.Generator().manual_seed(0))
    tile = ExitLogits(logits, reads)
    for strategy in strategies:
        assert strategy.reads == reads
        found, alone = strategy.contrast(tile), contrast_of(strategy, logits)
        assert torch.equal(found.scores, alone.scores)
        assert torch.equal(found.premature, alone.premature)
        assert set(found.details) == set(alone.details)
        for name, detail in alone.details.items():
            assert torch.equal(found.details[name], detail)


RELEASED = {
    "tfqa-mc": {"alpha": 0.0, "filter_value": -1000.0, "post_softmax": False},
    "factor": {"alpha": 0.1, "filter_value": -1000.0, "post_softmax": True},
    "gsm8k": {"alpha": 0.1, "filter_value": -math.inf},
    "strqa": {"alpha": 0.1, "filter_value": -math.inf},
    "tfqa": {"alpha": 0.1, "filter_value": -math.inf},
    "vicuna": {"alpha": 0.1, "filter_value": -math.inf},
}


@pytest.mark.parametrize("strategy", [DoLa("high"), DoLa((0, 2)), DoLaStatic(2)], ids=str)
def test_the_released_settings_of_a_task_are_those_of_its_script(strategy: DoLa) -> None:
    found = {task: dict(strategy.released(task)) for task in RELEASED}
    assert found == {task: {**settings, "early_exit_norm": False} for task, settings in RELEASED.items()}
    assert strategy.released("a task of its own") == {}
    assert Vanilla().released("factor") == {}
