"""Sampling: a row's draws are its own, from exactly the host's distribution, and touch no other generator."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import GenerationConfig, LogitsProcessorList

from dola import DoLa, DoLaStatic, LanguageModel, Strategy, Vanilla
from dola.hosts.transformers.host_settings import read_settings
from dola.hosts.transformers.prompts import Prompt
from dola.hosts.transformers.sampling import RowSampler, gumbel, warpers
from dola.models.randomness import generators_seeded
from test_generate_many import tiny
from tiny_models import VOCAB_SIZE, tiny_model

DYNAMIC = DoLa((0, 1, 2))
PROMPTS = ["why", "a", "Who,then?", "a", "Several:1+2+3+4=", "a"]
SAMPLED: dict[str, Any] = {"do_sample": True, "max_new_tokens": 10}
WARPED = {
    "plain": {},
    "temperature": {"temperature": 1.7},
    "top-k": {"top_k": 5},
    "top-p": {"top_p": 0.8},
    "min-p": {"min_p": 0.1},
    "typical": {"typical_p": 0.6},
    "cutoffs": {"epsilon_cutoff": 0.02, "eta_cutoff": 0.1},
    "top-h": {"top_h": 0.5, "temperature": 1.4},
    "many": {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.01, "typical_p": 0.9},
    "all": {"temperature": 0.6, "top_k": 12, "top_p": 0.9},
}


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny()


def host_warped(scores: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    """The scores as the host itself would sample from them."""
    config = GenerationConfig(do_sample=True, **{"temperature": 1.0, "top_k": 0, "top_p": 1.0} | settings)
    processors = tiny_model("llama")._get_logits_processor(config, 1, logits_processor=LogitsProcessorList())
    return processors(torch.zeros(len(scores), 1, dtype=torch.long), scores)


def token_ids(lm: LanguageModel, prompts: list[str], strategy: Strategy, **settings: Any) -> list[Any]:
    found = dict(lm.iter_generate(prompts, strategy, **SAMPLED | settings))
    return [found[index].token_ids for index in range(len(prompts))]


def states() -> tuple[object, ...]:
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()


@pytest.mark.parametrize("settings", WARPED.values(), ids=WARPED)
def test_draws_are_from_the_hosts_own_distribution(settings: dict[str, Any]) -> None:
    rows, places = 250, 40
    draws = rows * places
    scores = 2 * torch.randn(1, 40, generator=torch.Generator().manual_seed(3))
    scores[0, 7] = -torch.inf
    scores[0, 8] = scores.max() - 1e4
    expected = torch.softmax(host_warped(scores, settings), -1)[0].double()
    wanted = read_settings({"do_sample": True} | settings, seed=5)
    sampler = RowSampler(wanted, [Prompt(row, row, "", (1,)) for row in range(rows)], start=1)
    ids = (torch.zeros(rows, 1 + place, dtype=torch.long) for place in range(places))
    drawn = torch.cat([sampler(each, scores.expand(rows, -1)).argmax(-1) for each in ids])
    seen = torch.bincount(drawn, minlength=40)
    assert set(seen.nonzero().flatten().tolist()) <= set(expected.nonzero().flatten().tolist())
    common = expected * draws >= 5
    rare = float(expected[~common].sum()) * draws
    assert int(seen[~common].sum()) <= rare + 5 * (rare**0.5 + 1)
    observed = seen[common].tolist()
    foreseen = (expected[common] / expected[common].sum() * sum(observed)).tolist()
    assert stats.chisquare(observed, foreseen).pvalue > 0.001


@pytest.mark.parametrize("settings", WARPED.values(), ids=WARPED)
def test_the_warpers_are_the_hosts_in_its_order(settings: dict[str, Any]) -> None:
    scores = 3 * torch.randn(16, VOCAB_SIZE, generator=torch.Generator().manual_seed(1))
    expected = host_warped(scores, settings)
    ids = torch.zeros(16, 1, dtype=torch.long)
    for warper in warpers(read_settings({"do_sample": True} | settings)):
        scores = warper(ids, scores)
    assert torch.equal(scores, expected)


def test_the_noise_is_standard_gumbel_and_independent_of_its_neighbours() -> None:
    device = torch.device("cpu")
    noise = gumbel(b"one", 200_000, device)
    assert stats.kstest(noise.numpy(), "gumbel_r").pvalue > 0.001
    assert torch.isfinite(noise).all()
    assert torch.equal(noise[:100], gumbel(b"one", 100, device))
    other = gumbel(b"another", 200_000, device)
    rows = torch.stack([noise[:-1], noise[1:], other[:-1]])
    assert (torch.corrcoef(rows) - torch.eye(3)).abs().max() < 0.01


@pytest.mark.parametrize("strategy", [Vanilla(), DoLaStatic(1), DYNAMIC], ids=str)
def test_a_prompt_is_drawn_the_same_text_alone_in_any_batch_and_in_any_order(
    lm: LanguageModel, strategy: Strategy
) -> None:
    settings = {"temperature": 0.8, "top_p": 0.95, "top_k": 30, "repetition_penalty": 1.2, "seed": 7}
    together = token_ids(lm, PROMPTS, strategy, batch_size=6, **settings)
    alone = [lm.generate(each, strategy, **SAMPLED | settings)[0].token_ids for each in PROMPTS[:3]]
    assert together[:3] == alone
    assert len({together[1], together[3], together[5]}) == 3  # the same prompt three times: three draws
    for size in (1, 2, 4):
        assert token_ids(lm, PROMPTS, strategy, batch_size=size, **settings) == together
    batch = [each.token_ids for each in lm.generate(PROMPTS, strategy, **SAMPLED | settings)]
    assert batch == together
    other_way = token_ids(lm, PROMPTS[::-1], strategy, batch_size=4, **settings)
    assert Counter(other_way) == Counter(together)
    assert other_way[::-1][0] == together[0]
    assert token_ids(lm, PROMPTS, strategy, **settings | {"seed": 8}) != together


def test_models_that_cannot_be_padded_draw_alike_too() -> None:
    rotation = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    lm = tiny(rope_parameters=rotation)
    together = [each.token_ids for each in lm.generate(PROMPTS, DYNAMIC, seed=1, **SAMPLED)]
    assert token_ids(lm, PROMPTS, DYNAMIC, seed=1, batch_size=3) == together
    assert lm.generate(PROMPTS[2], DYNAMIC, seed=1, **SAMPLED)[0].token_ids == together[2]


@pytest.mark.parametrize("strategy", [Vanilla(), DYNAMIC], ids=str)
def test_prompt_lookup_draws_what_is_drawn_without(lm: LanguageModel, strategy: Strategy) -> None:
    for seed in range(5):
        settings: dict[str, Any] = {"do_sample": True, "temperature": 0.3, "max_new_tokens": 24, "seed": seed}
        (plain,) = lm.generate("abcabcabcabcabc", strategy, **settings)
        (guessed,) = lm.generate("abcabcabcabcabc", strategy, prompt_lookup_num_tokens=3, **settings)
        assert guessed.token_ids == plain.token_ids
        assert guessed.scores == pytest.approx(plain.scores, abs=1e-4)


def test_recorded_scores_are_those_before_temperature_and_noise(lm: LanguageModel) -> None:
    (drawn,) = lm.generate("why", Vanilla(), seed=2, temperature=1.5, top_k=20, **SAMPLED)
    ids = lm.tokenizer("why")["input_ids"]
    with torch.no_grad():
        logits = lm.model(torch.tensor([[*ids, *drawn.token_ids]])).logits[0, len(ids) - 1 : -1]
    expected = logits.gather(1, torch.tensor(drawn.token_ids)[:, None])[:, 0].tolist()
    assert drawn.scores == pytest.approx(expected, abs=1e-4)


CALLS: dict[str, Callable[[LanguageModel], object]] = {
    "generate": lambda lm: lm.generate(PROMPTS, DYNAMIC, seed=3, **SAMPLED),
    "iter_generate": lambda lm: list(lm.iter_generate(PROMPTS, DYNAMIC, seed=3, batch_size=2, **SAMPLED)),
    "lookup": lambda lm: lm.generate("abcabc", seed=3, prompt_lookup_num_tokens=2, **SAMPLED),
    "beams": lambda lm: lm.generate(PROMPTS, DYNAMIC, seed=3, num_beams=3, **SAMPLED),
    "iter_beams": lambda lm: list(lm.iter_generate(PROMPTS[:2], seed=3, num_beams=2, **SAMPLED)),
    "greedy": lambda lm: lm.generate(PROMPTS, DYNAMIC, seed=3, max_new_tokens=4),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_seed_neither_changes_nor_depends_on_the_process_wide_generators(
    lm: LanguageModel, call: Callable[[LanguageModel], object]
) -> None:
    before = states()
    first = call(lm)
    assert states() == before
    torch.rand(3), random.random(), np.random.rand()
    assert call(lm) == first


def test_borrowed_generators_are_given_back_when_it_fails() -> None:
    before = states()
    with pytest.raises(ZeroDivisionError), generators_seeded(1):
        _ = [float(torch.rand(())), random.random(), np.random.rand(), 1 / 0]
    assert states() == before
    drawn = []
    for _ in range(2):
        with generators_seeded(1):
            drawn.append((float(torch.rand(())), random.random(), np.random.rand()))
    assert drawn[0] == drawn[1]
    assert states() == before


def test_without_a_seed_the_process_wide_generator_gives_one(lm: LanguageModel) -> None:
    def drawn() -> list[Any]:
        return [token_ids(lm, PROMPTS, DYNAMIC, batch_size=2) for _ in range(2)]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        first = drawn()
        assert first[0] != first[1]
        torch.manual_seed(4)
        assert drawn() == first


def test_beams_are_drawn_by_batch_alone(lm: LanguageModel) -> None:
    settings = SAMPLED | {"num_beams": 2, "seed": 5}
    (alone,) = lm.generate(PROMPTS[0], DYNAMIC, **settings)
    assert token_ids(lm, PROMPTS, DYNAMIC, batch_size=1, num_beams=2, seed=5)[0] == alone.token_ids
    assert lm.generate(PROMPTS[0], DYNAMIC, **settings | {"seed": 6})[0].token_ids != alone.token_ids


def test_one_token_left_is_always_drawn(lm: LanguageModel) -> None:
    (greedy,) = lm.generate("why", DYNAMIC, max_new_tokens=10)
    for seed in range(3):
        assert lm.generate("why", DYNAMIC, top_k=1, seed=seed, **SAMPLED)[0].token_ids == greedy.token_ids
