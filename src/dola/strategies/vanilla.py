"""The model's own head: nothing is contrasted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from dola.errors import LayerError
from dola.strategies.base import Contrast, ResolvedStrategy, Strategy
from dola.strategies.layers import layer_numbers
from dola.strategies.reads import OWN, Depths


@dataclass(frozen=True)
class Vanilla(Strategy):
    """Plain decoding, the baseline: the last layer's logits as they are.

    `mature_layer` may name the last layer, as in the released `--early-exit-layers 32`; another number is
    refused, where the released code ignores it.
    """

    layer_fields: ClassVar[tuple[str, ...]] = ("mature_layer",)

    mature_layer: int | None = None

    def __post_init__(self) -> None:
        if self.mature_layer == -1:
            object.__setattr__(self, "mature_layer", None)

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        depth = depths[OWN]
        if self.mature_layer not in (None, depth.num_layers):
            raise LayerError(
                f"a single layer must be the last one (vanilla decoding): expected -1 or {depth.num_layers},"
                f" found {self.mature_layer}; to contrast layer {self.mature_layer} with the last one,"
                f" give '{self.mature_layer},{depth.num_layers}'"
            )
        last = depth.last
        return ResolvedStrategy(
            replace(self, mature_layer=depth.num_layers),
            reads=(last,),
            contrast=lambda tile: Contrast(tile.logits(last)),
            normalised=False,
            plain=True,
        )

    @classmethod
    def from_layers(cls, layers: str) -> Mapping[str, object]:
        found = layer_numbers(layers)
        if len(found) > 1:
            raise LayerError(f"vanilla decoding reads the last layer alone, found {layers!r}")
        return {"mature_layer": found[0]}

    def layers_text(self) -> str:
        return str(-1 if self.mature_layer is None else self.mature_layer)
