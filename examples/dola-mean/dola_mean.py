"""A strategy of a third party: `mean:low`, `mean:0,2,4,-1:share=0.2`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from dola import Contrast, ExitLogits, ResolvedStrategy, Strategy
from dola.strategies import OWN, Bucket, Depths, candidate_layers, candidates_from, candidates_text


@dataclass(frozen=True)
class Mean(Strategy):
    """(1 - share) z_N + share * the mean of the candidates' z_n, all of them normed."""

    layer_fields: ClassVar[tuple[str, ...]] = ("candidates", "mature_layer")

    candidates: Bucket | tuple[int, ...]
    mature_layer: int | None = None
    share: float = 0.5

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        depth = depths[OWN]
        layers, last = candidate_layers(self.candidates, self.mature_layer, depth)
        early, mature = [depth.read(layer, norm=True) for layer in layers], depth.read(last, norm=True)

        def contrast(tile: ExitLogits) -> Contrast:
            exits = tile.stacked(early)  # [K, R, V]
            scores = torch.lerp(tile.logits(mature), exits.mean(0), self.share)
            agree = exits.argmax(-1) == scores.argmax(-1)
            return Contrast(scores, details={"agrees": agree.float()})

        # A mean of logits is no log-probability: not normalised, so a log-likelihood log-softmaxes it first.
        numbered = replace(self, candidates=layers, mature_layer=last)
        return ResolvedStrategy(numbered, (*early, mature), contrast, normalised=False, candidates=layers)

    @classmethod
    def from_layers(cls, layers: str) -> Mapping[str, object]:
        return dict(zip(cls.layer_fields, candidates_from(layers), strict=True))

    def layers_text(self) -> str:
        return candidates_text(self.candidates, self.mature_layer)
