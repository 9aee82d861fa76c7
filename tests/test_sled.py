"""SLED's mathematics against the float64 oracle and the released formula, and the laws that it obeys."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

import oracle_sled
from dola.contrast import Evolution, blocks, evolve, keep_evolved, most_probable
from dola.contrast.sled import _cosines

FLOOR = -1000.0


@dataclass(frozen=True)
class Case:
    mature: Tensor  # [V]
    exits: Tensor  # [E, V]
    scale: int
    rate: float
    steps: int

    def evolve(self, mature: Tensor, exits: Tensor) -> Evolution:
        return evolve(mature, exits, scale=self.scale, rate=self.rate, steps=self.steps)


@st.composite
def cases(draw: st.DrawFn, scales: tuple[float, ...] = (0.05, 1.0, 3.0)) -> Case:
    """Logits in steps of a 64th, so that equals are common and a shift rounds nothing."""
    vocabulary, count = draw(st.integers(2, 30)), draw(st.integers(1, 4))
    size = draw(st.sampled_from(scales))
    rows = draw(hnp.arrays(np.int64, (count + 1, vocabulary), elements=st.integers(-64, 64)))
    logits = torch.from_numpy(np.round(rows * size) / 64).float()
    return Case(
        mature=logits[0],
        exits=logits[1:],
        scale=draw(st.integers(1, vocabulary + 2)),
        rate=draw(st.sampled_from([0.3, 1.0, 2.5])),
        steps=draw(st.sampled_from([1, 3, 10])),
    )


def the_oracles(case: Case) -> oracle_sled.Evolved:
    return oracle_sled.evolve(
        case.mature.double().numpy(),
        case.exits.double().numpy(),
        scale=case.scale,
        rate=case.rate,
        steps=case.steps,
        floor=FLOOR,
    )


def kept(evolution: Evolution, mature: torch.Tensor) -> torch.Tensor:
    return keep_evolved(evolution, torch.log_softmax(mature, -1), FLOOR)


@given(case=cases())
def test_the_evolution_is_the_formulas(case: Case) -> None:
    found, expected = case.evolve(case.mature, case.exits), the_oracles(case)
    assert found.tokens.tolist() == expected.tokens
    cosines = _cosines(case.exits, case.mature, found.tokens)
    np.testing.assert_allclose(cosines.numpy(), expected.cosines, rtol=2e-4, atol=2e-6)
    if 0.0 < np.square(np.maximum(expected.cosines, 0)).sum() < 1e-6:
        return  # what little the layers say is rounding, and the latent distribution is made of that
    np.testing.assert_allclose(found.latent.numpy(), expected.latent, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.layer_weights.numpy(), expected.layer_weights, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.logits.numpy(), expected.logits, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(kept(found, case.mature).numpy(), expected.scores, rtol=1e-4, atol=1e-3)


@given(case=cases(scales=(1.0, 100.0, 1e4, 1e6)))
def test_however_large_the_logits_the_weights_add_up_to_one_or_to_nothing(case: Case) -> None:
    found = case.evolve(case.mature, case.exits)
    for parts in (found.latent, found.layer_weights):
        assert bool((parts >= 0).all())
        assert float(parts.sum()) in (0.0, pytest.approx(1.0, abs=1e-5))
    assert bool(found.logits.isfinite().all())


@given(case=cases())
def test_rate_0_chooses_as_vanilla(case: Case) -> None:
    found = evolve(case.mature, case.exits, scale=case.scale, rate=0.0, steps=case.steps)
    scores = kept(found, case.mature)
    assert int(scores.argmax()) == int(case.mature.argmax())
    assert torch.equal(scores[found.tokens], case.mature[found.tokens])


@given(case=cases(), shift=st.integers(-640, 640))
def test_one_shift_of_all_layers_moves_the_logits_and_nothing_else(case: Case, shift: int) -> None:
    plain = case.evolve(case.mature, case.exits)
    moved = case.evolve(case.mature + shift / 64, case.exits + shift / 64)
    assert torch.equal(moved.tokens, plain.tokens)
    torch.testing.assert_close(moved.latent, plain.latent)
    torch.testing.assert_close(moved.layer_weights, plain.layer_weights)
    torch.testing.assert_close(moved.logits - shift / 64, plain.logits, rtol=0, atol=1e-4)


def test_a_shift_of_one_exit_changes_its_weight_and_no_vote_within_it() -> None:
    mature, *exits = torch.randn(3, 60, generator=torch.Generator().manual_seed(3)).unbind(0)
    settings = {"scale": 10, "rate": 2.0, "steps": 1}
    plain, moved = (evolve(mature, (exits[0] + shift)[None], **settings) for shift in (0.0, 5.0))
    torch.testing.assert_close(moved.latent, plain.latent)
    plain, moved = (
        evolve(mature, torch.stack([exits[0] + shift, exits[1]]), **settings) for shift in (0.0, 5.0)
    )
    assert float(plain.layer_weights[0]) > 4 * float(moved.layer_weights[0])


@given(case=cases(), data=st.data())
def test_an_exit_that_is_not_finite_has_no_vote(case: Case, data: st.DataObject) -> None:
    broken = case.exits[0].clone()
    broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.sampled_from([math.inf, math.nan]))
    place = data.draw(st.integers(0, len(case.exits)))
    exits = torch.cat([case.exits[:place], broken[None], case.exits[place:]])
    found, without = case.evolve(case.mature, exits), case.evolve(case.mature, case.exits)
    assert float(found.layer_weights[place]) == 0.0
    torch.testing.assert_close(found.latent, without.latent)
    torch.testing.assert_close(found.logits, without.logits)


@given(case=cases(), extra=st.integers(1, 5))
def test_tokens_ruled_out_everywhere_are_as_if_they_were_not_there(case: Case, extra: int) -> None:
    ruled_out = torch.full((extra,), -math.inf)
    exits = torch.cat([case.exits, ruled_out.expand(len(case.exits), -1)], -1)
    found = case.evolve(torch.cat([case.mature, ruled_out]), exits)
    without = case.evolve(case.mature, case.exits)
    torch.testing.assert_close(found.layer_weights, without.layer_weights)
    torch.testing.assert_close(found.logits[:-extra], without.logits)
    scores = kept(found, torch.cat([case.mature, ruled_out]))
    torch.testing.assert_close(scores[:-extra], kept(without, case.mature))
    assert bool((scores[-extra:] == FLOOR).all())


@pytest.mark.parametrize("where", ["mature", "exit"])
def test_a_token_ruled_out_on_one_side_makes_no_nan(where: str) -> None:
    mature, exit_ = torch.randn(2, 20, generator=torch.Generator().manual_seed(5)).unbind(0)
    (mature if where == "mature" else exit_)[3] = -math.inf
    found = evolve(mature, exit_[None], scale=20, rate=2.0, steps=2)
    assert float(found.latent.sum()) == pytest.approx(1.0)
    assert bool(kept(found, mature).isfinite().all())
    if where == "mature":
        assert float(found.latent[-1]) == 0.0, "it is the last of the tokens, and impossible"


def test_where_no_layer_has_a_vote_the_logits_lose_rate_times_softmax() -> None:
    mature = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    found = evolve(mature, mature.expand(3, -1, -1), scale=4, rate=2.0, steps=1)
    assert not found.latent.any()
    assert not found.layer_weights.any()
    torch.testing.assert_close(found.logits, mature - 2.0 * mature.softmax(-1))


def released_cosines(exit_: Tensor, mature: Tensor, tokens: Tensor) -> Tensor:
    """With the one-hot rows, as the released code has them."""
    one_hot = torch.nn.functional.one_hot(tokens, exit_.shape[-1])
    gradients = exit_.softmax(-1) - one_hot
    return torch.nn.functional.cosine_similarity(gradients, (exit_ - mature).expand_as(gradients), dim=-1)


@pytest.mark.parametrize("lead", [0.0, 4.0, 10.0, 14.0, 16.0, 18.0, 30.0, 60.0, 200.0])
def test_a_layer_that_is_sure_of_a_token_votes_as_in_the_released_code(lead: float) -> None:
    """Its probability is 1 to within a few roundings, and what it misses to 1 is all that the cosine sees."""
    generator = torch.Generator().manual_seed(0)
    mature, exit_ = (torch.randn(3000, generator=generator) * 3 for _ in range(2))
    tokens = most_probable(mature, 10)
    for sure_of in (int(tokens[0]), int(tokens[7]), int(mature.argmin())):
        exit_[sure_of] = exit_.max() + lead
        found = _cosines(exit_[None], mature, tokens)[0]
        torch.testing.assert_close(found, released_cosines(exit_, mature, tokens), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("elements", [1, 150, 400, 10_000])
def test_rows_and_blocks_have_no_part_in_each_other(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", elements)
    generator = torch.Generator().manual_seed(1)
    mature = torch.randn(2, 3, 50, generator=generator)
    exits = torch.randn(5, 2, 3, 50, generator=generator) * 2
    together = evolve(mature, exits, scale=7, rate=2.0, steps=2)
    for row in range(2):
        for place in range(3):
            alone = evolve(mature[row, place], exits[:, row, place], scale=7, rate=2.0, steps=2)
            assert torch.equal(alone.tokens, together.tokens[row, place])
            torch.testing.assert_close(alone.latent, together.latent[row, place])
            torch.testing.assert_close(alone.logits, together.logits[row, place])
            torch.testing.assert_close(alone.layer_weights, together.layer_weights[:, row, place])


def test_what_it_is_given_is_left_as_it_was() -> None:
    mature, exits = torch.randn(2, 40), torch.randn(3, 2, 40)
    before = mature.clone(), exits.clone()
    kept(evolve(mature, exits, scale=5, rate=2.0, steps=3), mature)
    assert torch.equal(mature, before[0])
    assert torch.equal(exits, before[1])


@given(
    rows=hnp.arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 300)), elements=st.integers(-9, 9)),
    count=st.integers(1, 40),
)
def test_the_most_probable_are_those_of_a_whole_sort_and_the_first_of_equals(
    rows: np.ndarray, count: int
) -> None:
    logits = torch.from_numpy(rows).float()
    everything = logits.sort(dim=-1, descending=True, stable=True).indices
    assert torch.equal(most_probable(logits, count), everything[..., :count])
