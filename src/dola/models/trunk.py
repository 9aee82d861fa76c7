"""The trunk alone: hidden states of chosen exits for every position of a text, without the model's head."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dola.models.parts import ModelParts
from dola.models.tap import LayerTap
from dola.strategies import Exit


def hidden_states(parts: ModelParts, input_ids: Tensor, exits: Sequence[Exit]) -> Tensor:
    """The head's inputs for every position.

    Args:
        input_ids: `[B, T]`, without padding.

    Returns:
        `[E, B, T, D]`, in the order of `exits`, in the model's dtype.
    """
    tap = LayerTap(parts, exits)
    tap.start()
    try:
        with torch.inference_mode():
            final = parts.trunk(input_ids=input_ids, use_cache=False).last_hidden_state
            return tap.stack(exits, final)
    finally:
        tap.remove()
