"""Does our picture of a model reproduce the model's own logits? Asked once, of architectures not listed."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from dola.contrast import are_distributions, are_finite
from dola.errors import ModelError
from dola.models.numerics import refuse, tally
from dola.models.parts import ModelParts, input_device
from dola.models.projection import projection_of
from dola.models.tap import LayerTap
from dola.strategies import Exit

_NUM_TOKENS = 5


def probe(model: PreTrainedModel, parts: ModelParts) -> None:
    """Run a short prompt and compare: the shape of every block's input with that of what the head reads, the
    final norm of the last block's output with what the head reads, and the head's projection of that with
    the model's logits.

    The model is left as it was, whatever comes of it.

    Raises:
        ModelError: says which of them differs and by how much.
        NumericsError: they are no numbers.
    """
    name = f"{type(model).__name__} ({model.config.model_type})"
    exits = [Exit(layer, norm=False) for layer in range(parts.depth.num_layers)]
    tap = LayerTap(parts, exits)
    seen: dict[str, Tensor] = {}
    hooks = _watch(parts, seen)
    tap.start()
    try:
        with torch.no_grad():
            logits = _logits(name, model, parts)
            head_input = _head_input(name, seen)
            last = Exit(parts.depth.num_layers, norm=False)
            refuse(model, [last], tally(are_finite(head_input)[None], ~are_distributions(logits)[None]))
            _check_exits(name, tap, exits, head_input)
            normed = parts.head_input(seen["last block"], norm=True)
            _compare(name, "the final norm of the last block", normed, "the head's input", head_input)
            rows = head_input.reshape(-1, head_input.shape[-1])
            projected = projection_of(parts)(rows).view(*head_input.shape[:-1], -1)
            _compare(name, "the head's projection of the last layer", projected, "the model's logits", logits)
    finally:
        tap.remove()
        for hook in hooks:
            hook.remove()


def _watch(parts: ModelParts, seen: dict[str, Tensor]) -> list[RemovableHandle]:
    def keep_output(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        seen["last block"] = output if isinstance(output, Tensor) else output[0]

    def keep_input(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen["head input"] = args[0] if args else next(iter(kwargs.values()))

    return [
        parts.blocks[-1].register_forward_hook(keep_output),
        parts.head.register_forward_pre_hook(keep_input, with_kwargs=True),
    ]


def _logits(name: str, model: PreTrainedModel, parts: ModelParts) -> Tensor:
    """The model's own logits `[1, 5, V]` for ids of the lower half of the vocabulary: the ids of padding and
    of images are at its ends."""
    ids = torch.arange(1, _NUM_TOKENS + 1) * parts.vocab_size // (2 * _NUM_TOKENS)
    try:
        output = model(input_ids=ids[None].to(input_device(model)))
    except Exception as error:
        raise ModelError(
            f"{name} is not supported: it fails on {_NUM_TOKENS} input_ids: {error!r}"
        ) from error
    logits: Tensor = output[0]
    return logits


def _head_input(name: str, seen: dict[str, Tensor]) -> Tensor:
    if "head input" not in seen:
        raise ModelError(
            f"{name} is not supported: it makes its logits without calling its output embeddings"
        )
    return seen["head input"]


def _check_exits(name: str, tap: LayerTap, exits: list[Exit], head_input: Tensor) -> None:
    """Every block was called with hidden states, and of the shape that the head can read."""
    for layer in (exit.layer for exit in exits):
        if not tap.saw(layer):
            raise ModelError(
                f"{name} is not supported: block {layer} was not called with hidden states;"
                " add its layout to dola/models/layout.py"
            )
    try:
        torch.stack([*tap.stack(exits, head_input), head_input])
    except RuntimeError as error:
        raise ModelError(
            f"{name} is not supported: its head cannot read the input of its blocks: {error}"
        ) from error


def _compare(name: str, what: str, ours: Tensor, whose: str, theirs: Tensor) -> None:
    # The same modules on the same numbers: only a product's order of summation may differ.
    tolerance = max(1e-4, 2 * torch.finfo(theirs.dtype).eps)
    ours, theirs = ours.float(), theirs.float().to(ours.device)
    if ours.shape != theirs.shape:
        raise ModelError(
            f"{name} is not supported: {what} has shape {list(ours.shape)}, {whose} {list(theirs.shape)};"
            " add its layout to dola/models/layout.py"
        )
    gap = float((ours - theirs).abs().max())
    size = float(theirs.abs().max())
    if not gap <= tolerance * size:
        raise ModelError(
            f"{name} is not supported: {what} differs from {whose} by up to {gap:.3g} (of {size:.3g});"
            " a scale, a cap or another norm lies between: add its layout to dola/models/layout.py"
        )
