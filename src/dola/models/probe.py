"""Does our picture of a model reproduce the model's own logits? Asked once, of architectures not listed."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dola.errors import ModelError
from dola.models.parts import ModelParts
from dola.models.projection import projection_of
from dola.models.tap import LayerTap
from dola.strategies import Exit


def probe(model: PreTrainedModel, parts: ModelParts) -> None:
    """Run a short prompt and compare: the final norm of the last block's output with what the head reads,
    and the head's projection of that with the model's logits.

    Raises:
        ModelError: says which of the two differs and by how much.
    """
    depth, name = parts.depth.num_layers, f"{type(model).__name__} ({model.config.model_type})"
    ids = torch.arange(1, 6, device=model.get_input_embeddings().weight.device)[None] % parts.vocab_size
    seen: dict[str, Tensor] = {}
    hooks = [
        parts.blocks[-1].register_forward_hook(
            lambda module, args, output: seen.__setitem__(
                "last block", output if isinstance(output, Tensor) else output[0]
            )
        ),
        parts.head.register_forward_pre_hook(lambda module, args: seen.__setitem__("head input", args[0])),
    ]
    tap = LayerTap(parts, [Exit(layer, norm=False) for layer in range(depth)])
    tap.start()
    try:
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False).logits
        for layer in range(depth):
            if not tap.saw(layer):
                raise ModelError(f"{name}: block {layer} was not called with hidden states")
        with torch.inference_mode():
            normed = parts.head_input(seen["last block"], norm=True)
            _compare(name, "the final norm of the last block", normed, "the head's input", seen["head input"])
            width = seen["head input"].shape[-1]
            projected = projection_of(parts)(seen["head input"].reshape(-1, width)).view(logits.shape)
            _compare(name, "the head's projection of the last layer", projected, "the model's logits", logits)
    finally:
        tap.remove()
        for hook in hooks:
            hook.remove()


def _compare(name: str, what: str, ours: Tensor, whose: str, theirs: Tensor) -> None:
    tolerance = 1e-4 if theirs.dtype == torch.float32 else 5e-2
    ours, theirs = ours.float(), theirs.float().to(ours.device)
    if ours.shape != theirs.shape:
        raise ModelError(
            f"{name} is not supported: {what} has shape {list(ours.shape)}, {whose} {list(theirs.shape)};"
            " add its layout to dola/models/layout.py"
        )
    gap = float((ours - theirs).abs().max())
    size = float(theirs.abs().max())
    if not gap <= tolerance * max(1.0, size):
        raise ModelError(
            f"{name} is not supported: {what} differs from {whose} by up to {gap:.3g} (of {size:.3g});"
            " a scale, a cap or another norm lies between: add its layout to dola/models/layout.py"
        )
