"""Decoding by Contrasting Layers: the premature layer chosen per token, or fixed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from dola.contrast import DIVERGENCES, Divergence, apply_plausibility, select_premature
from dola.errors import LayerError, StrategyError
from dola.strategies.base import Contrast, ResolvedStrategy, Strategy
from dola.strategies.exit_logits import ExitLogits
from dola.strategies.layers import (
    Bucket,
    candidate_layers,
    candidates_from,
    candidates_text,
    checked_candidates,
    layer_numbers,
)
from dola.strategies.reads import OWN, Depths, Read

# Stands in for the logarithm of a probability of zero on the premature side.
_LOWEST_LOG_PROB = -1e30

# Up to 40 layers the paper has two buckets, beyond one for every 20 layers (section 3.1).
_HALVED_UP_TO = 40
_BUCKET = 20
_STATIC_TRIED = 12

# What the released scripts set, by task; every one leaves the early exits un-normed. With an alpha of 0 the
# released generation contrasts logits in place of log-probabilities: of no effect but on a penalty.
_RELEASED: Mapping[str, Mapping[str, object]] = {
    "tfqa-mc": {"alpha": 0.0, "filter_value": -1000.0, "post_softmax": False},
    "factor": {"alpha": 0.1, "filter_value": -1000.0, "post_softmax": True},
    **{task: {"alpha": 0.1, "filter_value": -math.inf} for task in ("gsm8k", "strqa", "tfqa", "vicuna")},
}


@dataclass(frozen=True, kw_only=True)
class _Contrasted(Strategy):
    """What the static and the dynamic form share: the score, and its settings.

    Attributes:
        mature_layer: None (or -1) is the last layer N.
        alpha: the adaptive plausibility constraint, in [0, 1]; the released `relative_top`.
        early_exit_norm: apply the model's final norm to the early exits. None: for a bucket by name (`low`,
            `high`, `auto`, `all`) yes, the better default by measurement (`docs/defaults.md`); for layers
            given by number no, as in the released code.
        post_softmax: renormalise the contrast over the vocabulary before the constraint is applied.
        filter_value: the score of a token that is ruled out; the released scoring uses -1000. None: each
            below every plausible token, in the order of the mature layer's probabilities
            (`dola.contrast.apply_plausibility`).
    """

    mature_layer: int | None = None
    alpha: float = 0.1
    early_exit_norm: bool | None = None
    post_softmax: bool = False
    filter_value: float | None = None

    def __post_init__(self) -> None:
        if self.mature_layer == -1:
            object.__setattr__(self, "mature_layer", None)
        if not 0.0 <= self.alpha <= 1.0:
            raise StrategyError(f"alpha must be in [0, 1], found {self.alpha}")
        if self.filter_value is not None and not self.filter_value < 0.0:
            raise StrategyError(f"filter_value must be below 0, found {self.filter_value}")

    def released(self, task: str) -> Mapping[str, object]:
        return {**_RELEASED[task], "early_exit_norm": False} if task in _RELEASED else {}

    def _score(self, mature: Tensor, difference: Tensor) -> Tensor:
        """The contrast inside the plausible set (equation 5), `[..., V]`; `difference` is left as it is."""
        scores = torch.log_softmax(difference, dim=-1) if self.post_softmax else difference
        return apply_plausibility(scores, mature, self.alpha, self.filter_value)


@dataclass(frozen=True)
class DoLaStatic(_Contrasted):
    """One fixed premature layer (the paper's baseline of section 3.3; the released `P,N`)."""

    layer_fields: ClassVar[tuple[str, ...]] = ("premature_layer", "mature_layer")

    premature_layer: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.early_exit_norm is None:
            object.__setattr__(self, "early_exit_norm", False)

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        depth = depths[OWN]
        (layer,), last = candidate_layers((self.premature_layer,), self.mature_layer, depth)
        norm = bool(self.early_exit_norm)
        early, mature = depth.read(layer, norm=norm), depth.read(last, norm=norm)

        def contrast(tile: ExitLogits) -> Contrast:
            key = "difference", mature, early
            difference = tile.once(key, lambda: _difference(tile.log_probs(mature), tile.log_probs(early)))
            scores = self._score(tile.log_probs(mature), difference)
            return Contrast(scores, torch.full(scores.shape[:-1], layer, device=scores.device))

        return ResolvedStrategy(
            replace(self, mature_layer=last),
            reads=(early, mature),
            contrast=contrast,
            normalised=True,
            candidates=(layer,),
        )

    @classmethod
    def tuning_grid(cls, depths: Depths) -> list[Strategy]:
        """Every layer; of a deeper model some, evenly spread."""
        n = depths[OWN].num_layers
        return [cls(premature_layer=layer) for layer in range(0, n, math.ceil(n / _STATIC_TRIED))]

    @classmethod
    def from_layers(cls, layers: str) -> Mapping[str, object]:
        found = layer_numbers(layers)
        if len(found) != 2:
            raise LayerError(f"expected one premature and one mature layer, as in '14,-1', found {layers!r}")
        return dict(zip(cls.layer_fields, found, strict=True))

    def layers_text(self) -> str:
        return f"{self.premature_layer},{-1 if self.mature_layer is None else self.mature_layer}"


@dataclass(frozen=True)
class DoLa(_Contrasted):
    """The premature layer is, at every position, the candidate that diverges most from the mature layer.

    Attributes:
        candidate_premature_layers: `low`, `high`, `auto`, `all`, or layer numbers in rising order.
        divergence: `released`, as the published numbers were made, or `js`, as the paper's text has it.
    """

    layer_fields: ClassVar[tuple[str, ...]] = ("candidate_premature_layers", "mature_layer")

    candidate_premature_layers: Bucket | tuple[int, ...]
    divergence: Divergence = field(default="released", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            raise StrategyError(
                f"divergence must be one of {', '.join(DIVERGENCES)}, found {self.divergence!r}"
            )
        named = checked_candidates(self.candidate_premature_layers)
        object.__setattr__(self, "candidate_premature_layers", named)
        if not isinstance(named, str) and self.early_exit_norm is None:
            object.__setattr__(self, "early_exit_norm", False)

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        depth = depths[OWN]
        layers, last = candidate_layers(self.candidate_premature_layers, self.mature_layer, depth)
        norm = self.early_exit_norm is not False
        early = tuple(depth.read(layer, norm=norm) for layer in layers)
        mature = depth.read(last, norm=norm)
        numbered = replace(self, candidate_premature_layers=layers, mature_layer=last, early_exit_norm=norm)
        return ResolvedStrategy(
            numbered,
            reads=(*early, mature),
            contrast=lambda tile: self._contrast(tile, early, mature, layers),
            normalised=True,
            candidates=layers,
        )

    def _contrast(
        self, tile: ExitLogits, early: tuple[Read, ...], mature: Read, layers: tuple[int, ...]
    ) -> Contrast:
        # Strategies that differ in nothing but what comes after the choice share the choice.
        divergence, index, difference = tile.once(
            ("choice", self.divergence, mature, early), lambda: _choice(tile, self.divergence, mature, early)
        )
        premature = torch.tensor(layers, device=index.device)[index]
        details = {"divergence": divergence, "left_out": divergence.isnan().sum(0)}
        return Contrast(self._score(tile.log_probs(mature), difference), premature, details)

    @classmethod
    def tuning_grid(cls, depths: Depths) -> list[Strategy]:
        """The paper's buckets: `low` and `high`, or every second layer of each 20."""
        n = depths[OWN].num_layers
        if n <= _HALVED_UP_TO:
            return [cls("low"), cls("high")]
        starts = range(0, n, _BUCKET)
        buckets = [tuple(range(start, min(start + _BUCKET, n), 2)) for start in starts]
        return [cls(layers, mature_layer=n) for layers in buckets]

    @classmethod
    def from_layers(cls, layers: str) -> Mapping[str, object]:
        return dict(zip(cls.layer_fields, candidates_from(layers), strict=True))

    def layers_text(self) -> str:
        return candidates_text(self.candidate_premature_layers, self.mature_layer)


def _choice(
    tile: ExitLogits, kind: Divergence, mature: Read, early: tuple[Read, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """The divergences `[K, R]`, the index of the largest `[R]`, and the contrast with that layer `[R, V]`."""
    divergence = tile.divergences(kind, mature, early)
    index = select_premature(divergence)
    premature = torch.log_softmax(tile.chosen(early, index), dim=-1)
    return divergence, index, _difference(tile.log_probs(mature), premature)


def _difference(mature: Tensor, premature: Tensor) -> Tensor:
    """log p_mature - log p_premature (equation 4), `[..., V]`."""
    # Clamped: -inf - -inf is no number, and one such token would carry post_softmax away with it.
    return mature - premature.clamp(min=_LOWEST_LOG_PROB)
