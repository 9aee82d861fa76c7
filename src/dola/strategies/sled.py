"""SLED, Self Logits Evolution Decoding: the last layer's logits, moved to where the earlier layers point."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from dola.contrast import are_distributions, evolve, keep_evolved
from dola.errors import StrategyError
from dola.strategies.base import Contrast, ResolvedStrategy, Strategy
from dola.strategies.exit_logits import ExitLogits
from dola.strategies.layers import (
    Bucket,
    candidate_layers,
    candidates_from,
    candidates_text,
    checked_candidates,
    filled_buckets,
)
from dola.strategies.reads import OWN, Depths, Read

# The released scripts' settings by task; rate and scale are those of Llama-2-7B.
_RELEASED: Mapping[str, Mapping[str, object]] = {
    "tfqa-mc": {"rate": 2.5, "scale": 75, "steps": 10, "filter_value": -100.0, "post_softmax": False},
    "factor": {"rate": 2.0, "scale": 10, "steps": 1, "filter_value": -2500.0, "post_softmax": True},
    "gsm8k": {"rate": 2.0, "scale": 10, "steps": 1, "filter_value": -1000.0},
    "strqa": {"rate": 1.75, "scale": 5, "steps": 1, "filter_value": -1000.0},
}

# The rates and scales of those scripts.
_TRIED = ((1.75, 5), (2.0, 10), (2.5, 75))


@dataclass(frozen=True)
class SLED(Strategy):
    """The k most probable tokens' logits follow the gradient that the earlier layers agree on.

    Each earlier layer votes for those tokens whose cross-entropy the step from its logits to the last layer's
    went down (`dola.contrast.evolve` has the formula); the votes are the distribution P, and

        z <- z - rate (1 - t/steps) (softmax(z) - P)      for t = 0 .. steps-1, from the last layer's logits

    Source: arXiv 2411.02433; JayZhang42/SLED at 00067af6.

    Attributes:
        candidate_premature_layers: the earlier layers: `all`, `low`, `high`, `auto`, or numbers.
        mature_layer: None (or -1) is the last layer N.
        rate: how far a step goes; 0 chooses as vanilla.
        scale: how many tokens evolve, k.
        steps: how many steps, T.
        early_exit_norm: apply the model's final norm to the earlier layers; the released code does not.
        post_softmax: whether a log-likelihood sums log-probabilities, or the evolved logits as they are, as
            released for TruthfulQA. Of no effect on decoding.
        filter_value: the score of all other tokens (released: `evolution_lower_bound`). None: each below
            those that evolve, in the order of the last layer's probabilities.
    """

    layer_fields: ClassVar[tuple[str, ...]] = ("candidate_premature_layers", "mature_layer")

    candidate_premature_layers: Bucket | tuple[int, ...] = "all"
    mature_layer: int | None = None
    rate: float = 2.0
    scale: int = 10
    steps: int = 1
    early_exit_norm: bool = False
    post_softmax: bool = True
    filter_value: float | None = None

    def __post_init__(self) -> None:
        if self.mature_layer == -1:
            object.__setattr__(self, "mature_layer", None)
        named = checked_candidates(self.candidate_premature_layers)
        object.__setattr__(self, "candidate_premature_layers", named)
        for name, fine, expected in (
            ("rate", 0.0 <= self.rate < float("inf"), "at least 0"),
            ("scale", self.scale >= 1, "at least 1"),
            ("steps", self.steps >= 1, "at least 1"),
            ("filter_value", self.filter_value is None or self.filter_value < 0.0, "below 0"),
        ):
            if not fine:
                raise StrategyError(f"{name} must be {expected}, found {getattr(self, name)}")

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        depth = depths[OWN]
        layers, last = candidate_layers(self.candidate_premature_layers, self.mature_layer, depth)
        early = tuple(depth.read(layer, norm=self.early_exit_norm) for layer in layers)
        mature = depth.read(last, norm=self.early_exit_norm)
        return ResolvedStrategy(
            replace(self, candidate_premature_layers=layers, mature_layer=last),
            reads=(*early, mature),
            contrast=lambda tile: self._contrast(tile, early, mature, layers),
            normalised=not self.post_softmax,
            candidates=layers,
        )

    def _contrast(
        self, tile: ExitLogits, early: tuple[Read, ...], mature: Read, layers: tuple[int, ...]
    ) -> Contrast:
        logits, exits = tile.logits(mature), tile.stacked(early)
        evolution = evolve(logits, exits, scale=self.scale, rate=self.rate, steps=self.steps)
        scores = keep_evolved(evolution, tile.log_probs(mature), self.filter_value)
        weights = evolution.layer_weights
        heaviest = torch.tensor(layers, device=weights.device)[weights.argmax(0)]
        left_out = (~are_distributions(exits)).sum(0)
        return Contrast(scores, heaviest, {"layer_weights": weights, "left_out": left_out})

    def released(self, task: str) -> Mapping[str, object]:
        return {**_RELEASED[task], "early_exit_norm": False} if task in _RELEASED else {}

    @classmethod
    def tuning_grid(cls, depths: Depths) -> list[Strategy]:
        """`low`, `high` and `all`, each with every rate and scale that a released script has."""
        return [
            cls(layers, rate=rate, scale=scale)
            for layers in filled_buckets(depths[OWN])
            if layers != "auto"
            for rate, scale in _TRIED
        ]

    @classmethod
    def from_layers(cls, layers: str) -> Mapping[str, object]:
        return dict(zip(cls.layer_fields, candidates_from(layers), strict=True))

    def layers_text(self) -> str:
        return candidates_text(self.candidate_premature_layers, self.mature_layer)
