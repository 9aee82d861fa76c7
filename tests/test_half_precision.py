"""Weights in half precision: the contrast is float32 all the same, and an early mature layer works in it."""

import pytest
import torch

import dola
from dola.models.parts import take_apart
from dola.models.tap import LayerTap
from dola.strategies import Exit
from tiny_models import tiny_model

IDS = torch.tensor([[5, 17, 3, 42, 88, 17, 60, 9, 31], [70, 12, 12, 55, 23, 91, 8, 77, 4]])
HALF = [torch.float16, torch.bfloat16]


@torch.no_grad()
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "cohere", "granite", "opt", "phi"])
def test_half_precision_chooses_as_a_float32_head_on_the_same_states(
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
    assert torch.isfinite(contrast.divergence).all()

    parts = take_apart(model)
    exits = [Exit(layer, norm) for layer in (0, 1, 2)]
    tap, read = LayerTap(parts, exits), []
    hook = parts.head.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    tap.start()
    model(input_ids=IDS)
    hidden = torch.stack([*tap.stack(exits, read[0]), read[0]])
    hook.remove()
    tap.remove()
    weight, bias = parts.head.weight.float(), parts.head.bias
    raw = hidden.float() @ weight.T + (0 if bias is None else bias.float())
    upcast = dola.DoLa((0, 1, 2), early_exit_norm=norm).resolve(parts.depth).contrast(parts.head_output(raw))
    best, second = upcast.divergence.topk(2, dim=0).values
    clear = best - second > 8 * torch.finfo(dtype).eps * best
    assert clear.float().mean() > 0.5
    assert torch.equal(contrast.premature[clear], upcast.premature[clear])


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
    expected = strategy.resolve(take_apart(model).depth).contrast(logits).scores
    with dola.attach(model, strategy):
        torch.testing.assert_close(model(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)
