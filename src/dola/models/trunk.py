"""The trunk alone: hidden states of chosen exits for the positions of a text, without the model's head."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from transformers import Cache

from dola.models.parts import ModelParts
from dola.models.tap import LayerTap
from dola.models.tree import TreeArguments
from dola.strategies import Exit


class TappedTrunk:
    """Forward passes of the trunk that bring back the hidden states of some exits.

    It puts hooks on the model's blocks, and takes them off at the end of its `with` block; it may be entered
    again.
    """

    _tap: LayerTap

    def __init__(self, parts: ModelParts, exits: Sequence[Exit]) -> None:
        self.parts = parts
        self.exits = tuple(exits)

    def __enter__(self) -> Self:
        self._tap = LayerTap(self.parts, self.exits)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tap.remove()

    def states(
        self,
        input_ids: Tensor,
        *,
        cache: Cache | None = None,
        keep: Tensor | None = None,
        tree: TreeArguments | None = None,
    ) -> Tensor:
        """The head's inputs at the places that `keep` names.

        Args:
            input_ids: `[B, T]`. Rows that are shorter may be padded on the right with any token: under a
                causal mask nothing looks there.
            cache: what came before, of batch size B or none; it takes the new tokens in.
            keep: index of positions `[T']`; None keeps all.
            tree: how the tokens of the one row follow one another (None: each the one to its left), for a
                trunk that reads them (`Capabilities`).

        Returns:
            `[E, B, T', D]`, in the order of `exits`, in the model's dtype.
        """
        self._tap.start(0 if keep is None else keep)
        try:
            with torch.inference_mode():
                final = self._forward(input_ids, cache, tree)
                return self._tap.stack(self.exits, final if keep is None else final[:, keep])
        finally:
            self._tap.stop()

    def extend(self, input_ids: Tensor, cache: Cache) -> None:
        """Take tokens `[B, T]` into a cache whose hidden states nobody reads."""
        with torch.inference_mode():
            self._forward(input_ids, cache)

    def _forward(self, input_ids: Tensor, cache: Cache | None, tree: TreeArguments | None = None) -> Tensor:
        # Some trunks (GPT-1) have never heard of a cache, not even by name.
        arguments: dict[str, Any] = {} if cache is None else {"past_key_values": cache}
        if tree is not None:
            arguments |= tree
        final: Tensor = self.parts.trunk(
            input_ids=input_ids, use_cache=cache is not None, **arguments
        ).last_hidden_state
        return final


def hidden_states(parts: ModelParts, input_ids: Tensor, exits: Sequence[Exit]) -> Tensor:
    """The head's inputs for every position.

    Args:
        input_ids: `[B, T]`, without padding.

    Returns:
        `[E, B, T, D]`, in the order of `exits`, in the model's dtype.
    """
    with TappedTrunk(parts, exits) as trunk:
        return trunk.states(input_ids)
