"""What every strategy is: which early exits it reads, and how their logits become scores."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Depth(NamedTuple):
    """What of a model decides which layers a name stands for, known before any weights load."""

    num_layers: int
    tied_embeddings: bool


class Exit(NamedTuple):
    """One place where the trunk is left: a layer index (0 = embedding output, N = after the final norm),
    and whether the final norm is applied on the way out. Layer N is always normed, once, by the trunk."""

    layer: int
    norm: bool


class Contrast(NamedTuple):
    """What a strategy made of the early-exit logits of some positions `[...]`."""

    scores: Tensor  # [..., V] float32; takes the place of the logits
    premature: Tensor | None = None  # [...] int64, index into the strategy's candidates
    divergence: Tensor | None = None  # [K, ...] float32, nats, in the candidates' order; NaN: left out
    # [...] int64, how many candidates were left out of the choice, for they held NaN or infinity. None: the
    # strategy leaves none out, and each must be finite.
    left_out: Tensor | None = None


@dataclass(frozen=True)
class Strategy(ABC):
    """How early-exit logits become scores. Concrete strategies are frozen dataclasses.

    A strategy is written without knowing the model (`DoLa("high")`); `resolve` turns it into one whose
    layers are numbers of a given model. Only a resolved strategy can say its `exits` or contrast.
    """

    @abstractmethod
    def resolve(self, depth: Depth) -> Self:
        """The same strategy with explicit layer numbers of a model of this depth.

        Raises:
            LayerError: the model lacks a layer, or none is left to contrast with.
        """

    @property
    @abstractmethod
    def exits(self) -> tuple[Exit, ...]:
        """The early exits that are read: the candidates in order, then the mature layer."""

    @property
    def candidates(self) -> tuple[int, ...]:
        """The candidate premature layers, in order; empty where nothing is contrasted."""
        return tuple(exit.layer for exit in self.exits[:-1])

    @abstractmethod
    def contrast(self, logits: Tensor) -> Contrast:
        """Scores for the next token, from the logits `[len(exits), ..., V]` in the exits' order. Whatever
        their dtype, the contrast is computed in float32.

        Positions never influence each other.
        """

    @classmethod
    def contrast_together(
        cls, strategies: Sequence[Self], candidates: Tensor, mature: Tensor
    ) -> Iterator[Contrast]:
        """The contrasts of several strategies of this class that read the same exits, in their order.

        Equal to each one's own `contrast` of the candidates' logits `[K, ..., V]` and the mature layer's
        `[..., V]`. A class whose strategies have work in common overrides this to do it once.
        """
        logits = torch.cat([candidates, mature[None]])
        return (strategy.contrast(logits) for strategy in strategies)
