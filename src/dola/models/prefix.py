"""The keys and values of a text that several others go on from."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from dola.models.parts import ModelParts, input_device


@dataclass(frozen=True, eq=False)
class Prefix:
    """A text in the cache, never changed: what goes on from it goes on from a copy (of the references)."""

    cache: DynamicCache
    length: int

    @classmethod
    def empty(cls, model: PreTrainedModel) -> Self:
        return cls(DynamicCache(config=model.config), 0)

    @classmethod
    def read(cls, model: PreTrainedModel, parts: ModelParts, ids: Sequence[int]) -> Self:
        """A text, read in one pass. All of it is kept, also where the model attends to a window only."""
        cache = DynamicCache(config=model.config)
        layers: list[Any] = cache.layers
        keep_all: Any = DynamicLayer
        cache.layers = [
            keep_all() if isinstance(layer, DynamicSlidingWindowLayer) else layer for layer in layers
        ]
        with torch.inference_mode():
            tokens = torch.tensor([list(ids)], device=input_device(model))
            parts.trunk(input_ids=tokens, past_key_values=cache, use_cache=True)
        return cls(cache, len(ids))

    def under_padding(self, model: PreTrainedModel, padding: Sequence[int]) -> DynamicCache:
        """A cache of the first `length` columns of rows that begin with this text, padded on the left.

        Row b has `padding[b]` columns of padding, so as many tokens of this text are left out at its end:
        the host reads them again with the rest of the row, in the place of the padding that it would read.
        Everything lies where it lies without a shared text, and masks, windows and positions are the host's.
        """
        columns = torch.arange(self.length)[None] - torch.tensor(list(padding))[:, None]  # [B, length]
        columns = columns.clamp(min=0)  # what padding holds is masked, and need only be finite
        rows = DynamicCache(config=model.config)
        layers: list[Any] = self.cache.layers
        for number, layer in enumerate(layers):
            if layer.is_initialized:
                index = columns.to(layer.keys.device)
                keys, values = (each[0][:, index].transpose(0, 1) for each in (layer.keys, layer.values))
                rows.update(keys, values, number)
        return rows

    def fork(self) -> DynamicCache:
        """A cache of one row that grows on its own."""
        fork = copy.copy(self.cache)
        fork.layers = [copy.copy(layer) for layer in self.cache.layers]
        return fork

    def rows(self, count: int) -> DynamicCache | None:
        """A cache for one pass over `count` rows that all go on from here; None where nothing came before."""
        if self.length == 0:
            return None
        rows = self.fork()
        rows.layers = [_for_rows(layer, count) for layer in self.cache.layers]
        return rows

    def within_windows(self, width: int) -> bool:
        """Whether of a text that is `width` tokens longer each still sees all before it: it fits into every
        sliding window."""
        layers: list[Any] = self.cache.layers
        return all(
            not isinstance(layer, DynamicSlidingWindowLayer) or self.length + width < layer.sliding_window
            for layer in layers
        )

    def cut(self, length: int) -> Self | None:
        """The first `length` tokens alone, or None where a sliding window has let go of some of them."""
        if length == self.length:
            return self
        if length == 0 or not all(_holds_all(layer, self.length) for layer in self.cache.layers):
            return None
        cut = self.fork()
        layers: list[Any] = cut.layers
        for layer in layers:
            # In memory of their own: a view would keep the longer text alive.
            layer.keys = layer.keys[:, :, :length].clone()
            layer.values = layer.values[:, :, :length].clone()
            if isinstance(layer, DynamicSlidingWindowLayer):
                layer.cumulative_length = length
        return type(self)(cut, length)


def _holds_all(layer: Any, length: int) -> bool:
    return bool(layer.keys.shape[-2] == length)


def _for_rows(layer: Any, count: int) -> Any:
    """A layer of the cache for one pass over rows with a common past.

    What the rows add is handed on, not kept: so the past is copied for one layer at a time, not for all.
    """
    rows = copy.copy(layer)
    rows.keys = layer.keys.expand(count, -1, -1, -1)
    rows.values = layer.values.expand(count, -1, -1, -1)
    vars(rows)["update"] = partial(_appended, rows.keys, rows.values)
    return rows


def _appended(
    keys: Tensor, values: Tensor, new_keys: Tensor, new_values: Tensor, *_: object, **__: object
) -> tuple[Tensor, Tensor]:
    return torch.cat([keys, new_keys], -2), torch.cat([values, new_values], -2)
