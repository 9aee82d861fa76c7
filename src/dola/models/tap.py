"""The layer tap: keeps the hidden states that the exits need, while the host runs its own forward."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from dola.errors import ModelError
from dola.models.parts import ModelParts
from dola.models.replaced import OfModel, Replaced
from dola.strategies import Exit

Keep = int | Tensor
"""Which positions the head is asked for, as the host's `logits_to_keep`: the last n (0: all), an index `[T']`
of every row or `[B, T']` of each, or a mask `[B, T]`, of which `[n, D]` is left."""


def kept_positions(hidden: Tensor, keep: Keep) -> Tensor:
    """The positions of `[B, T, ...]` that `logits_to_keep` names, in memory of their own when few."""
    if isinstance(keep, Tensor):
        if keep.ndim < 2:
            return hidden[:, keep]
        if keep.dtype == torch.bool:
            return hidden[keep]
        return torch.take_along_dim(hidden, keep.reshape(*keep.shape, *[1] * (hidden.ndim - 2)), dim=1)
    if keep == 0 or hidden.shape[1] <= keep:
        return hidden
    # A view would keep the whole prompt's states alive until the head has run.
    return hidden[:, -keep:].clone()


class LayerTap(OfModel):
    """Records the inputs of chosen blocks during a forward pass. The input of block k is hidden state k.

    Off until `start`; a forward pass outside `start` ... `stop` is not touched.
    """

    def __init__(self, parts: ModelParts, exits: Iterable[Exit]) -> None:
        self._parts = parts
        self._states: dict[int, Tensor] = {}
        self._keep: Keep = 0
        self.recording = False
        depth = parts.depth.num_layers
        tapped = {
            layer: parts.blocks[layer] for layer in sorted({exit.layer for exit in exits}) if layer < depth
        }
        # No closures, which a copied or pickled model would share with the one that it was made from.
        self._handles: list[RemovableHandle] = [
            block.register_forward_pre_hook(partial(self._record, layer), with_kwargs=True)
            for layer, block in tapped.items()
        ]
        # A compiled graph looks for a replaced forward at every call, but not for new hooks.
        self._marks = [
            Replaced(block, "forward", block.forward)
            for block in tapped.values()
            if "forward" not in vars(block)
        ]

    @property
    def _of(self) -> torch.nn.Module:
        return self._parts.model

    def _idle(self, memo: dict[int, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {"recording": False}

    def _record(
        self, layer: int, _module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if self.recording:
            hidden = args[0] if args else kwargs["hidden_states"]
            self._states[layer] = kept_positions(hidden, self._keep)

    def start(self, keep: Keep = 0) -> None:
        """Record the next forward pass at the positions that `keep` names."""
        self._states = {}
        self._keep = keep
        self.recording = True

    def stop(self) -> None:
        """Forget what was recorded."""
        self._states = {}
        self.recording = False

    def stack(self, exits: Sequence[Exit], final: Tensor) -> Tensor:
        """The head's inputs of the exits `[E, ..., D]`; `final` `[..., D]` is the trunk's own output."""
        depth = self._parts.depth.num_layers
        return torch.stack(
            [
                final
                if exit.layer == depth
                else self._parts.head_input(self._state(exit.layer).to(final.device), norm=exit.norm)
                for exit in exits
            ]
        )

    def _state(self, layer: int) -> Tensor:
        if layer not in self._states:
            raise ModelError(
                f"block {layer} did not run in this forward pass, so layer {layer} cannot be contrasted"
                " (a trunk that is left early, or a compiled one that was traced with other hooks)"
            )
        return self._states[layer]

    def saw(self, layer: int) -> bool:
        """Whether a hidden state of this layer was recorded."""
        return isinstance(self._states.get(layer), Tensor)

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        for mark in self._marks:
            mark.put_back()
