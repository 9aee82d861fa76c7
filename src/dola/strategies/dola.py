"""Decoding by Contrasting Layers: the premature layer chosen per token, or fixed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Self

import torch
from torch import Tensor

from dola.contrast import DIVERGENCES, Divergence, apply_plausibility, divergences, select_premature
from dola.errors import LayerError, StrategyError
from dola.strategies.base import Contrast, Depth, Exit, Strategy
from dola.strategies.layers import BUCKETS, bucket, check_candidates, mature_layer

# Stands in for the logarithm of a probability of zero on the premature side.
_LOWEST_LOG_PROB = -1e30


def _layer_numbers(named: object) -> tuple[int, ...]:
    if not isinstance(named, Sequence) or not all(type(layer) is int for layer in named):
        example = f"({named},)" if isinstance(named, int) else "(2, 4)"
        raise LayerError(
            "candidates must be low, high, auto or a tuple of layer numbers,"
            f" as in {example}; found {named!r}"
        )
    return tuple(named)


def _difference(mature: Tensor, premature: Tensor) -> Tensor:
    """log p_mature - log p_premature (equation 4), `[..., V]`."""
    # Clamped: -inf - -inf is no number, and one such token would carry post_softmax away with it.
    return mature - premature.clamp(min=_LOWEST_LOG_PROB)


@dataclass(frozen=True, kw_only=True)
class _Contrasted(Strategy):
    """What the static and the dynamic form share: the score, and its settings.

    Attributes:
        mature_layer: None (or -1) is the last layer N.
        alpha: the adaptive plausibility constraint, in [0, 1]; the released `relative_top`.
        early_exit_norm: apply the model's final norm to the early exits. None: for a bucket named `low`,
            `high` or `auto` yes, the better default by measurement (`docs/defaults.md`); for layers given
            by number no, as in the released code.
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

    def _exits(self, premature: tuple[int, ...]) -> tuple[Exit, ...]:
        if self.mature_layer is None:
            raise LayerError("this strategy is not resolved yet: call resolve() with the model's depth")
        norm = bool(self.early_exit_norm)
        return tuple(Exit(layer, norm) for layer in (*premature, self.mature_layer))

    def _score(self, mature: Tensor, difference: Tensor) -> Tensor:
        """The contrast inside the plausible set (equation 5), `[..., V]`; `difference` is left as it is."""
        scores = torch.log_softmax(difference, dim=-1) if self.post_softmax else difference
        return apply_plausibility(scores, mature, self.alpha, self.filter_value)

    def _spec(self, layers: str) -> str:
        """The strategy as `parse_strategy` reads it: its layers, then the settings that are not defaults."""
        numbered = not layers.startswith(BUCKETS)
        changed = (
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if field.kw_only
            and field.name != "mature_layer"
            and getattr(self, field.name) != field.default
            and not (numbered and field.name == "early_exit_norm" and not self.early_exit_norm)
        )
        return ":".join(part for part in (layers, ",".join(changed)) if part)


@dataclass(frozen=True)
class DoLaStatic(_Contrasted):
    """One fixed premature layer (the paper's baseline of section 3.3; the released `P,N`)."""

    premature_layer: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.early_exit_norm is None:
            object.__setattr__(self, "early_exit_norm", False)

    def resolve(self, depth: Depth) -> Self:
        mature = mature_layer(self.mature_layer, depth)
        check_candidates((self.premature_layer,), mature, depth)
        return replace(self, mature_layer=mature)

    @property
    def exits(self) -> tuple[Exit, ...]:
        return self._exits((self.premature_layer,))

    def contrast(self, logits: Tensor) -> Contrast:
        return next(self.contrast_together([self], logits[:-1], logits[-1]))

    @classmethod
    def contrast_together(
        cls, strategies: Sequence[Self], candidates: Tensor, mature: Tensor
    ) -> Iterator[Contrast]:
        mature = torch.log_softmax(mature, dim=-1, dtype=torch.float32)
        premature = torch.log_softmax(candidates[0], dim=-1, dtype=torch.float32)
        chosen = torch.zeros(mature.shape[:-1], dtype=torch.int64, device=mature.device)
        difference = _difference(mature, premature)
        for strategy in strategies:
            yield Contrast(strategy._score(mature, difference), chosen)

    def __str__(self) -> str:
        return self._spec(f"{self.premature_layer},{-1 if self.mature_layer is None else self.mature_layer}")


@dataclass(frozen=True)
class DoLa(_Contrasted):
    """The premature layer is, at every position, the candidate that diverges most from the mature layer.

    A candidate whose logits hold NaN or infinity is left out of the choice, and counted.

    Attributes:
        candidate_premature_layers: `low`, `high`, `auto`, or layer numbers in rising order.
        divergence: `released`, as the published numbers were made, or `js`, as the paper's text has it.
    """

    candidate_premature_layers: Literal["low", "high", "auto"] | tuple[int, ...]
    divergence: Divergence = field(default="released", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            raise StrategyError(
                f"divergence must be one of {', '.join(DIVERGENCES)}, found {self.divergence!r}"
            )
        named = self.candidate_premature_layers
        if isinstance(named, str) and named not in BUCKETS:
            raise LayerError(f"unknown layer bucket {named!r}: expected one of {', '.join(BUCKETS)}")
        if not isinstance(named, str):
            object.__setattr__(self, "candidate_premature_layers", _layer_numbers(named))
            if self.early_exit_norm is None:
                object.__setattr__(self, "early_exit_norm", False)

    def resolve(self, depth: Depth) -> Self:
        mature = mature_layer(self.mature_layer, depth)
        layers, norm = self.candidate_premature_layers, self.early_exit_norm
        if isinstance(layers, str):
            # A bucket belongs to the model; below an earlier mature layer only a part of it is left.
            layers = tuple(layer for layer in bucket(layers, depth) if layer < mature)
            norm = True if norm is None else norm
        layers = check_candidates(layers, mature, depth)
        return replace(self, candidate_premature_layers=layers, mature_layer=mature, early_exit_norm=norm)

    @property
    def exits(self) -> tuple[Exit, ...]:
        layers = self.candidate_premature_layers
        return self._exits(() if isinstance(layers, str) else layers)

    def contrast(self, logits: Tensor) -> Contrast:
        return next(self.contrast_together([self], logits[:-1], logits[-1]))

    @classmethod
    def contrast_together(
        cls, strategies: Sequence[Self], candidates: Tensor, mature: Tensor
    ) -> Iterator[Contrast]:
        candidates, mature = candidates.float(), mature.float()
        mature_log_probs = torch.log_softmax(mature, dim=-1)
        choices: dict[Divergence, tuple[Tensor, Tensor, Tensor]] = {}
        for strategy in strategies:
            if strategy.divergence not in choices:
                divergence = divergences(strategy.divergence, mature, candidates)  # [K, ...]
                chosen = select_premature(divergence)
                index = chosen[None, ..., None].expand(1, *mature.shape)
                premature = torch.log_softmax(candidates.gather(0, index).squeeze(0), dim=-1)  # [..., V]
                choices[strategy.divergence] = divergence, chosen, _difference(mature_log_probs, premature)
            divergence, chosen, difference = choices[strategy.divergence]
            left_out = divergence.isnan().sum(0)
            yield Contrast(
                strategy._score(mature_log_probs, difference), chosen, divergence, left_out=left_out
            )

    def __str__(self) -> str:
        layers = self.candidate_premature_layers
        if isinstance(layers, str) and self.mature_layer is None:
            return self._spec(layers)
        listed = layers if isinstance(layers, str) else ",".join(map(str, layers))
        kind = "dola:" if len(layers) == 1 else ""  # else it would read as the static form
        return self._spec(f"{kind}{listed},{-1 if self.mature_layer is None else self.mature_layer}")
