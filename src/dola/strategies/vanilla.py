"""The model's own head: nothing is contrasted."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from dola.errors import LayerError
from dola.strategies.base import Contrast, Depth, Exit, Strategy


@dataclass(frozen=True)
class Vanilla(Strategy):
    """Plain decoding, the baseline: the last layer's logits as they are.

    `mature_layer` may name the last layer, as in the released `--early-exit-layers 32`; another number is
    refused, where the released code ignores it.
    """

    mature_layer: int | None = None

    def __post_init__(self) -> None:
        if self.mature_layer == -1:
            object.__setattr__(self, "mature_layer", None)

    def resolve(self, depth: Depth) -> Self:
        if self.mature_layer not in (None, depth.num_layers):
            raise LayerError(
                f"a single layer must be the last one (vanilla decoding): expected -1 or {depth.num_layers},"
                f" found {self.mature_layer}; to contrast layer {self.mature_layer} with the last one,"
                f" give '{self.mature_layer},{depth.num_layers}'"
            )
        return replace(self, mature_layer=depth.num_layers)

    @property
    def exits(self) -> tuple[Exit, ...]:
        if self.mature_layer is None:
            raise LayerError("this strategy is not resolved yet: call resolve() with the model's depth")
        return (Exit(self.mature_layer, norm=False),)

    def contrast(self, logits: Tensor) -> Contrast:
        return Contrast(scores=logits[-1].float())

    def __str__(self) -> str:
        return str(-1 if self.mature_layer is None else self.mature_layer)
