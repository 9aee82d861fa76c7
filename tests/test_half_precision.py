"""Weights in half precision: the contrast is float32 all the same, and an early mature layer works in it."""

from functools import partial

import pytest
import torch
from transformers import PreTrainedModel

import dola
from contrasting import contrast_of
from dola.models.parts import take_apart
from dola.models.projection import projection_of
from dola.models.tap import LayerTap
from dola.strategies import OWN, Contrast, Exit, Strategy, resolve_strategy
from tiny_models import tiny_model

IDS = torch.tensor([[5, 17, 3, 42, 88, 17, 60, 9, 31], [70, 12, 12, 55, 23, 91, 8, 77, 4]])
HALF = [torch.float16, torch.bfloat16]


@torch.no_grad()
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "cohere", "granite", "opt", "phi"])
def test_half_precision_chooses_and_scores_as_a_float64_head_on_the_same_states(
    name: str,
    norm: bool,  # noqa: FBT001
    dtype: torch.dtype,
):
    torch.set_num_threads(1)
    model = tiny_model(name, dtype=dtype)
    with dola.attach(model, dola.DoLa((0, 1, 2), early_exit_norm=norm)) as attachment:
        scores = model(input_ids=IDS).logits
        contrast = attachment.last
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).any(-1).all()
    assert not torch.isnan(scores).any()
    assert torch.isfinite(contrast.details["divergence"]).all()

    parts = take_apart(model)
    hidden = states(model, [Exit(layer, norm) for layer in (0, 1, 2)])
    weight, bias = parts.head.weight.double(), parts.head.bias
    raw = hidden.double() @ weight.T + (0 if bias is None else bias.double())
    exact = raw * parts.scale
    if parts.softcap is not None:
        exact = torch.tanh(exact / parts.softcap) * parts.softcap
    right = contrasted(model, dola.DoLa((0, 1, 2), early_exit_norm=norm), exact.float())
    assert torch.equal(contrast.premature, right.premature)
    torch.testing.assert_close(scores, right.scores, rtol=1e-4, atol=1e-3)


def contrasted(model: PreTrainedModel, strategy: Strategy, logits: torch.Tensor) -> Contrast:
    return contrast_of(resolve_strategy(strategy, {OWN: take_apart(model).depth}), logits)


def states(model: PreTrainedModel, exits: list[Exit]) -> torch.Tensor:
    """What the head reads at the exits and at the last layer `[E, B, T, D]`, in the weights' type."""
    parts = take_apart(model)
    tap, read = LayerTap(parts, exits), []
    hook = parts.head.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    tap.start()
    model(input_ids=IDS)
    hidden = torch.stack([*tap.stack(exits, read[0]), read[0]])
    hook.remove()
    tap.remove()
    return hidden


@torch.no_grad()
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("vocabulary", [1, 1024, 2500])
@pytest.mark.parametrize("rows", [1, 5])
def test_a_plain_head_in_half_precision_is_multiplied_in_float32(
    rows: int, vocabulary: int, dtype: torch.dtype
):
    parts = take_apart(tiny_model("llama", vocab_size=max(vocabulary, 8), dtype=dtype))
    parts.head.bias = torch.nn.Parameter(torch.randn(parts.vocab_size).to(dtype))
    hidden = (300 * torch.randn(rows, 32)).to(dtype)
    found = projection_of(parts)(hidden)
    assert found.dtype == torch.float32
    exact = hidden.double() @ parts.head.weight.double().T + parts.head.bias.double()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-3)


def untouched(module: torch.nn.Module, args: tuple) -> None:
    """A hook that changes nothing."""


@torch.no_grad()
@pytest.mark.parametrize("kind", ["hooked", "of its own class", "with a forward of its own"])
def test_any_other_head_gives_its_logits_in_its_own_type(kind: str):
    model = tiny_model("llama", dtype=torch.bfloat16)
    head = model.lm_head
    if kind == "hooked":
        head.register_forward_pre_hook(untouched)
    elif kind == "of its own class":
        head.__class__ = type("Adapted", (torch.nn.Linear,), {})
    else:
        head.forward = partial(torch.nn.functional.linear, weight=head.weight)
    rows = torch.randn(3, 32).bfloat16()
    found = projection_of(take_apart(model))(rows)
    assert torch.equal(found, torch.nn.functional.linear(rows, head.weight).float())


@torch.no_grad()
@pytest.mark.parametrize("norm", [False, True])
def test_an_early_mature_layer_is_contrasted_without_the_last_one(norm: bool):  # noqa: FBT001
    model = tiny_model("gemma2")
    strategy = dola.DoLa((0, 1), mature_layer=3, early_exit_norm=norm)
    states = model(input_ids=IDS, output_hidden_states=True).hidden_states
    exits = torch.stack([states[layer] for layer in (0, 1, 3)])
    if norm:
        exits = model.model.norm(exits)
    logits = torch.tanh(model.lm_head(exits) / 3.0) * 3.0
    expected = contrasted(model, strategy, logits).scores
    with dola.attach(model, strategy):
        torch.testing.assert_close(model(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)
