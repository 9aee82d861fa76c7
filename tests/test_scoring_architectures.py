"""Scoring with shared prefixes gives what a full forward pass over every text gives, on every architecture."""

from __future__ import annotations

import random

import numpy as np
import oracle
import pytest
import torch
from tiny_models import TINY, tiny_model
from transformers import PreTrainedModel

from dola.head import ContrastiveHead
from dola.models.parts import take_apart
from dola.models.projection import projection_of
from dola.models.trunk import TappedTrunk
from dola.scoring.budget import Budget
from dola.scoring.prefix import can_share_prefixes
from dola.scoring.queries import QueryHeads
from dola.scoring.trie import TokenTrie
from dola.scoring.walk import walk_for
from dola.strategies import DoLa, Strategy, Vanilla

STRATEGIES: tuple[Strategy, ...] = (
    Vanilla(),
    DoLa((0, 2), alpha=0.0),
    DoLa((1, 3), alpha=0.1, filter_value=-50.0, post_softmax=True, early_exit_norm=True),
)


def texts(seed: int) -> list[tuple[list[int], int]]:
    """A trie with a long stem, two stems below it, branches, a repetition and a text inside another."""
    draw = random.Random(seed)
    tokens = lambda count: [draw.randrange(3, 96) for _ in range(count)]  # noqa: E731
    shots = tokens(20)
    made = []
    for _ in range(2):
        question = shots + tokens(9)
        answers = [tokens(count) for count in (1, 2, 7, 12, 3)]
        answers += [answers[2], answers[2][:4], [*answers[3][:5], *tokens(3)]]
        made += [(question + answer, len(question)) for answer in answers]
    return made


def scored(model: PreTrainedModel, made: list[tuple[list[int], int]], batch_tokens: int):
    parts = take_apart(model)
    strategies = [strategy.resolve(parts.depth) for strategy in STRATEGIES]
    heads = QueryHeads(
        ContrastiveHead(projection_of(parts), parts.vocab_size), strategies, parts.depth.num_layers
    )
    trie = TokenTrie()
    asked = [trie.add(ids, start) for ids, start in made]
    heads.begin(trie)
    with TappedTrunk(parts, heads.exits) as trunk:
        walk_for(model, trunk, Budget(batch_tokens), heads)(trie)
    answers = heads.finish()
    return [[[scores[query] for query in row] for row in asked] for scores in answers.scores]


def expected(model: PreTrainedModel, ids: list[int], start: int) -> list[list[float]]:
    """By strategy, the scores of the tokens from `start` on: one forward pass of the host, then float64."""
    with torch.inference_mode():
        output = model(
            input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True, return_dict=True
        )
    parts = take_apart(model)
    project = projection_of(parts)
    states = output.hidden_states
    if "mamba" in model.config.model_type and len(states) == len(parts.blocks) + 1:
        # These list what their blocks give, without the embeddings, and the normed states once more.
        embedded = model.get_input_embeddings()(torch.tensor([ids])).detach()
        states = (embedded, *states[:-2], states[-1])

    def exit_logits(layer: int, *, norm: bool) -> np.ndarray:
        with torch.inference_mode():
            state = parts.head_input(states[layer][0], norm=norm)
            return project(state).double().numpy()

    mature = output.logits[0].double().numpy()
    raw = {layer: exit_logits(layer, norm=False) for layer in (0, 2)}
    normed = {layer: exit_logits(layer, norm=True) for layer in (1, 3)}
    rows: list[list[float]] = [[], [], []]
    for at in range(start - 1, len(ids) - 1):
        token = ids[at + 1]
        rows[0].append(oracle.log_softmax(mature[at])[token])
        for number, exits, settings in (
            (1, raw, {"alpha": 0.0, "filter_value": -np.inf}),
            (2, normed, {"alpha": 0.1, "filter_value": -50.0, "post_softmax": True}),
        ):
            premature = max(
                exits.values(), key=lambda exit: oracle.divergence("released", mature[at], exit[at])
            )
            rows[number].append(oracle.contrast(mature[at], premature[at], **settings)[token])
    return rows


@pytest.mark.parametrize("name", sorted(TINY))
def test_shared_prefixes_change_no_score(name: str) -> None:
    model = tiny_model(name)
    made = texts(seed=5)
    ours = scored(model, made, batch_tokens=40)
    for number, (ids, start) in enumerate(made):
        for strategy, theirs in enumerate(expected(model, ids, start)):
            np.testing.assert_allclose(ours[strategy][number], theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("window", [3, 8, 24])
@pytest.mark.parametrize("name", ["gemma2", "gemma3_text", "mistral", "cohere2", "gpt_oss", "gpt_neo"])
def test_a_sliding_window_shorter_than_the_prompt_changes_no_score(name: str, window: int) -> None:
    key = "window_size" if name == "gpt_neo" else "sliding_window"
    model = tiny_model(name, **{key: window})
    made = texts(seed=6)
    ours = scored(model, made, batch_tokens=16)
    for number, (ids, start) in enumerate(made):
        for strategy, theirs in enumerate(expected(model, ids, start)):
            np.testing.assert_allclose(ours[strategy][number], theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["mamba", "recurrent_gemma", "jamba", "openai-gpt"])
def test_a_model_that_keeps_a_state_of_its_own_reads_every_text_from_its_beginning(name: str) -> None:
    model = tiny_model(name)
    assert not can_share_prefixes(model, take_apart(model))


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "gemma3_text", "mixtral"])
def test_a_transformer_shares_its_prefixes(name: str) -> None:
    model = tiny_model(name)
    assert can_share_prefixes(model, take_apart(model))


def test_frequencies_that_depend_on_the_length_are_not_shared() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = tiny_model("llama", rope_parameters=rope)
    assert not can_share_prefixes(model, take_apart(model))
