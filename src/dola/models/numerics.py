"""A state or logit that is no number, told with its layer, its type and the remedy."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dola.errors import NumericsError
from dola.models.parts import depth_of
from dola.strategies import Exit


def tally(finite: Tensor, unusable: Tensor, read: Tensor | None = None) -> Tensor:
    """How often each exit is to blame; added up over passes, and read when it suits.

    Args:
        finite: whether each exit's hidden state is, bool `[E, ...]`.
        unusable: `[E, ...]`, as `dola.head.unusable` says.
        read: `[...]` bool, the positions that are no padding; None: all.

    Returns:
        int64 `[3, E]`: positions where its state is to blame, where its logits alone are, and all.
    """
    finite, unusable = finite.flatten(1).to(unusable.device), unusable.flatten(1)
    every = torch.ones_like(unusable) if read is None else read.flatten().expand_as(unusable)
    return torch.stack([unusable & ~finite, unusable & finite, every]).sum(-1)


def refuse(model: PreTrainedModel, exits: Sequence[Exit], counts: Tensor) -> None:
    """Raise where a tally of these exits `[3, E]` holds a fault.

    Raises:
        NumericsError: names the layers, what is wrong with them, and what to do about it.
    """
    states, logits, read = counts.tolist()
    if not any(states) and not any(logits):
        return
    blamed = states if any(states) else logits  # a state that is no number explains logits that are none
    layers = _layers(model, [exit.layer for exit, count in zip(exits, blamed, strict=True) if count])
    wrong = (
        f"NaN or infinity in the hidden state of {layers}"
        if any(states)
        else f"NaN, +inf or nothing but -inf in the logits of {layers}, whose hidden state is finite,"
    )
    raise NumericsError(f"{wrong} at {max(blamed)} of {max(read)} positions: {_remedy(model)}")


def _layers(model: PreTrainedModel, layers: Sequence[int]) -> str:
    last = depth_of(model.config).num_layers
    named = [f"{layer} (the last)" if layer == last else str(layer) for layer in sorted(set(layers))]
    many = f"layers {', '.join(named[:-1])} and {named[-1]}"
    return f"{f'layer {named[0]}' if len(named) == 1 else many} of {type(model).__name__}"


def _remedy(model: PreTrainedModel) -> str:
    dtype = str(model.dtype).removeprefix("torch.")
    weight = _damaged_weight(model)
    found = f"{weight} itself holds NaN or infinity" if weight else ""
    if model.dtype == torch.float16:
        why = f"{found}, damaged or too large for float16" if found else "float16 overflows in this model"
        return f"{why}; load it with dtype='bfloat16' or 'float32' (--dtype bfloat16)"
    if found:
        return f"{found}: the weights are damaged, whatever the dtype ({dtype}); fetch or save them again"
    return (
        f"every weight is finite, and {dtype} does not overflow in a model that works:"
        " its weights are not those that its configuration is for, or something changed its states"
    )


def _damaged_weight(model: PreTrainedModel) -> str | None:
    """The name of the first weight that holds NaN or infinity; those that are elsewhere are not looked at."""
    for name, weight in model.named_parameters():
        plain = weight.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        if plain and weight.device.type != "meta" and not bool(torch.isfinite(weight).all()):
            return name
    return None
