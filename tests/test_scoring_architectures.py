"""Shared prefixes give the scores of a full forward pass over every text, on every architecture."""

from __future__ import annotations

import random

import numpy as np
import pytest
from transformers import PreTrainedModel

from dola.models.budget import Budget
from dola.models.capabilities import Capabilities
from dola.models.parts import take_apart
from dola.models.projection import head_of
from dola.models.trunk import TappedTrunk
from dola.scoring.queries import QueryHeads
from dola.scoring.trie import TokenTrie
from dola.scoring.walk import walk_for
from dola.strategies import OWN, resolve_all
from slow_scoring import STRATEGIES, expected
from tiny_models import TINY, tiny_model


def texts(seed: int) -> list[tuple[list[int], int]]:
    """A trie with a long stem, three stems of different lengths below it, branches, a repetition and a text
    inside another."""
    draw = random.Random(seed)
    tokens = lambda count: [draw.randrange(3, 96) for _ in range(count)]  # noqa: E731
    shots = tokens(20)
    made = []
    for length in (9, 5, 11):
        question = shots + tokens(length)
        answers = [tokens(count) for count in (1, 2, 7, 12, 3)]
        answers += [answers[2], answers[2][:4], [*answers[3][:5], *tokens(3)]]
        made += [(question + answer, len(question)) for answer in answers]
    return made


def scored(model: PreTrainedModel, made: list[tuple[list[int], int]], batch_tokens: int):
    parts = take_apart(model)
    heads = QueryHeads(model, head_of(parts), resolve_all(STRATEGIES, {OWN: parts.depth}))
    trie = TokenTrie()
    asked = [trie.add(ids, start) for ids, start in made]
    heads.begin(trie)
    with TappedTrunk(parts, heads.exits) as trunk:
        walk_for(model, trunk, Budget(batch_tokens), heads)(trie)
    answers = heads.finish()
    return [[[scores[query] for query in row] for row in asked] for scores in answers.scores]


@pytest.mark.parametrize("name", sorted(TINY))
def test_shared_prefixes_change_no_score(name: str) -> None:
    model = tiny_model(name)
    made = texts(seed=5)
    ours = scored(model, made, batch_tokens=40)
    for number, (ids, start) in enumerate(made):
        for strategy, theirs in enumerate(expected(model, ids, start)):
            np.testing.assert_allclose(ours[strategy][number], theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("batch_tokens", [16, 40])
@pytest.mark.parametrize("window", [3, 8, 24, 30, 31, 32])
@pytest.mark.parametrize("name", ["gemma2", "gemma3_text", "mistral", "cohere2", "gpt_oss", "gpt_neo"])
def test_a_sliding_window_shorter_than_the_prompt_changes_no_score(
    name: str, window: int, batch_tokens: int
) -> None:
    key = "window_size" if name == "gpt_neo" else "sliding_window"
    model = tiny_model(name, **{key: window})
    made = texts(seed=6)
    ours = scored(model, made, batch_tokens=batch_tokens)
    for number, (ids, start) in enumerate(made):
        for strategy, theirs in enumerate(expected(model, ids, start)):
            np.testing.assert_allclose(ours[strategy][number], theirs, atol=1e-4, rtol=1e-5)


def test_a_temperature_that_goes_by_columns_changes_no_score() -> None:
    model = tiny_model("llama4_text", floor_scale=20)
    made = texts(seed=7)
    ours = scored(model, made, batch_tokens=200)
    for number, (ids, start) in enumerate(made):
        for strategy, theirs in enumerate(expected(model, ids, start)):
            np.testing.assert_allclose(ours[strategy][number], theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["mamba", "recurrent_gemma", "jamba", "openai-gpt"])
def test_a_model_that_keeps_a_state_of_its_own_reads_every_text_from_its_beginning(name: str) -> None:
    model = tiny_model(name)
    assert not Capabilities.of(model).shares_prefixes


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "gemma3_text", "mixtral"])
def test_a_transformer_shares_its_prefixes(name: str) -> None:
    model = tiny_model(name)
    assert Capabilities.of(model).shares_prefixes


def test_frequencies_that_depend_on_the_length_are_not_shared() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = tiny_model("llama", rope_parameters=rope)
    assert not Capabilities.of(model).shares_prefixes
