"""Rows of a batch never influence each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel

import dola
from dola import Attachment, DoLa, DoLaStatic, Strategy
from real_models import smollm2  # noqa: F401
from tiny_models import tiny_model

STEPS = 8
PROMPTS = [[5, 17, 42], [9, 5, 17, 42, 33, 5, 17, 8, 60], [71], [12, 13, 14, 15, 16]]


class Row(NamedTuple):
    tokens: list[int]
    scores: Tensor  # [STEPS, V]
    layers: list[int]


class Layers(LogitsProcessor):
    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        last = self.attachment.last
        assert last is not None
        assert last.premature is not None
        self.steps.append(last.premature[:, -1])
        return scores


def decode(
    model: PreTrainedModel, prompts: list[list[int]], strategy: Strategy, **settings: Any
) -> list[Row]:
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with dola.attach(model, strategy) as attachment:
        layers = Layers(attachment)
        output = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=STEPS,
            suppress_tokens=[2],
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            logits_processor=[layers],
            pad_token_id=0,
            **settings,
        )
    scores, chosen = torch.stack(output.scores, 1), torch.stack(layers.steps, 1)
    new = output.sequences[:, longest:]
    return [Row(new[row].tolist(), scores[row], chosen[row].tolist()) for row in range(len(prompts))]


def assert_same(found: Row, expected: Row) -> None:
    assert found.tokens == expected.tokens
    assert found.layers == expected.layers
    # Of ruled-out tokens, float32 holds no more than this of the order.
    torch.testing.assert_close(found.scores, expected.scores, rtol=2e-7, atol=1e-4)


STRATEGIES = pytest.mark.parametrize(
    "strategy", [DoLa((0, 1, 2, 3)), DoLa("high", divergence="js"), DoLaStatic(2, alpha=0.3)], ids=str
)


@STRATEGIES
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_row_alone_in_a_batch_and_in_another_order_is_the_same(strategy: Strategy, cache: str) -> None:
    model = tiny_model("llama")
    alone = [decode(model, [prompt], strategy)[0] for prompt in PROMPTS]
    together = decode(model, PROMPTS, strategy, cache_implementation=cache)
    backwards = decode(model, PROMPTS[::-1], strategy, cache_implementation=cache)[::-1]
    for expected, *others in zip(alone, together, backwards, strict=True):
        for found in others:
            assert_same(found, expected)


def test_each_row_has_a_layer_and_a_mask_of_its_own() -> None:
    rows = decode(tiny_model("llama"), PROMPTS, DoLa((0, 1, 2, 3)))
    assert any(len({row.layers[step] for row in rows}) > 1 for step in range(STEPS))
    masks = torch.stack([row.scores < -1e4 for row in rows])
    assert not (masks == masks[:1]).all()


def test_what_the_padding_holds_does_not_matter() -> None:
    model = tiny_model("llama")
    mask = torch.tensor([[0, 0, 1, 1, 1]])
    with torch.no_grad(), dola.attach(model, DoLa((0, 1, 2, 3))):
        first, second = (
            model(
                torch.tensor([[*pad, 5, 17, 42]]),
                attention_mask=mask,
                position_ids=torch.tensor([[0, 0, 0, 1, 2]]),
            )
            for pad in ((0, 0), (50, 61))
        )
    assert torch.equal(first.logits[:, 2:], second.logits[:, 2:])


@pytest.mark.weights
@pytest.mark.parametrize("spec", ["low", "16,18,20,22,24,26,28,30"])
def test_real_rows_do_not_influence_each_other(smollm2: dola.LanguageModel, spec: str) -> None:  # noqa: F811
    questions = [
        "Why is the sky blue?",
        "Name a fruit.",
        "What is the capital of Italy, and how old is the city?",
    ]
    prompts = [smollm2.tokenizer(f"Q: {question}\nA:")["input_ids"] for question in questions]
    strategy = dola.parse_strategy(spec)
    alone = [decode(smollm2.model, [prompt], strategy)[0] for prompt in prompts]
    together = decode(smollm2.model, prompts, strategy)
    backwards = decode(smollm2.model, prompts[::-1], strategy)[::-1]
    for expected, *others in zip(alone, together, backwards, strict=True):
        for found in others:
            assert found.tokens == expected.tokens
            assert found.layers == expected.layers
            # Scores of a hundred and more: 1e-4 of rounding in the states shows as much again in them.
            torch.testing.assert_close(found.scores, expected.scores, rtol=1e-5, atol=1e-4)
