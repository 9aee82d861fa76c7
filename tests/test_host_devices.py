"""Models that accelerate has placed: its hooks move weights and inputs, and the head goes through them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from transformers import AutoModelForCausalLM, PreTrainedModel

import dola
from dola import DoLa, Vanilla
from tiny_language_model import tiny_language_model
from tiny_models import tiny_model

IDS = torch.tensor([[5, 17, 42, 9]])
STRATEGY = DoLa((0, 1, 3))


@torch.no_grad()
def scores(model: PreTrainedModel, strategy: DoLa = STRATEGY) -> torch.Tensor:
    with dola.attach(model, strategy):
        return model(IDS).logits


@pytest.mark.parametrize("device_map", ["auto", "cpu"])
def test_a_device_map_changes_nothing(device_map: str, tmp_path: Path) -> None:
    model = tiny_model("llama")
    model.save_pretrained(tmp_path)
    placed = AutoModelForCausalLM.from_pretrained(tmp_path, device_map=device_map, dtype=torch.float32)
    torch.testing.assert_close(scores(placed), scores(model), rtol=1e-5, atol=1e-5)


def place(model: PreTrainedModel, how: str, folder: Path) -> None:
    if how == "dispatched":
        dispatch_model(model, {"": "cpu"}, force_hooks=True)
    elif how == "offloaded to memory":
        cpu_offload(model, torch.device("cpu"))
    else:
        disk_offload(model, folder, torch.device("cpu"))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("how", ["dispatched", "offloaded to memory", "offloaded to disk"])
def test_a_model_whose_weights_come_and_go_is_contrasted_all_the_same(
    *, how: str, norm: bool, tmp_path: Path
) -> None:
    strategy = DoLa((0, 1, 3), early_exit_norm=norm)
    expected = scores(tiny_model("llama"), strategy)
    model = tiny_model("llama", tie_word_embeddings=False)
    model.load_state_dict(tiny_model("llama").state_dict())
    place(model, how, tmp_path)
    with torch.no_grad():
        before = model(IDS).logits
    forwards = {name: vars(module).get("forward") for name, module in model.named_modules()}
    torch.testing.assert_close(scores(model, strategy), expected, rtol=1e-5, atol=1e-5)
    assert {name: vars(module).get("forward") for name, module in model.named_modules()} == forwards
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, before)
    if how.startswith("offloaded"):
        assert model.lm_head.weight.device.type == "meta"


@pytest.mark.parametrize("how", ["dispatched", "offloaded to memory", "offloaded to disk"])
def test_such_a_model_generates_scores_and_is_traced_all_the_same(how: str, tmp_path: Path) -> None:
    lm, placed = tiny_language_model(), tiny_language_model()
    place(placed.model, how, tmp_path)
    strategies = [Vanilla(), STRATEGY]
    requests = [("Q: one? A:", [" two.", " three."]), ("Q: one more? A:", [" two."])]
    for ours, theirs in zip(
        placed.loglikelihood(requests, strategies), lm.loglikelihood(requests, strategies), strict=True
    ):
        assert ours == theirs
    prompts = ["The sun", "The sun is"]
    texts = [each.text for each in placed.generate(prompts, STRATEGY, max_new_tokens=6)]
    assert texts == [each.text for each in lm.generate(prompts, STRATEGY, max_new_tokens=6)]
    trace, expected = (each.trace("The sun is hot", STRATEGY) for each in (placed, lm))
    assert trace.tokens == expected.tokens
