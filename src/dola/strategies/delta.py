"""DeLTa: a straight line through each token's logits over the last layers, read beyond the last of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dola.contrast import extrapolated_scores, line_weights
from dola.errors import LayerError, StrategyError
from dola.strategies.base import Contrast, Explanation, ResolvedStrategy, Strategy
from dola.strategies.exit_logits import ExitLogits
from dola.strategies.reads import OWN, Depth, Depths, Read

_GENERATING = ("gsm8k", "strqa", "tfqa")

# Shares of the depth. The paper's example, M = 30 and L = 33 of 32 layers, is the first of each.
_FITTED = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
_BEYOND = (1 / 32, 1 / 16, 1 / 8)


@dataclass(frozen=True)
class DeLTa(Strategy):
    """Each token's logits at layers M..N, normed, and their least-squares line, read at the virtual layer L.

        z = sum_l w_l Y_l,    w_l = 1/n + (L - mean) (l - mean) / sum_l (l - mean)^2
        score = log_softmax(z), ruled out where it lies below its own maximum + ln alpha

    The weights add up to 1, so where the head is affine and caps no logits this is the head of *one* weighted
    sum of states, at the cost of plain decoding. M = N - 1 and L = N is vanilla.

    Source: arXiv 2503.02343; `CustomRegressionLogitsProcessor` of githubhyz/DeLTa at 05c0dc84.

    Attributes:
        M: the first layer that the line is fitted to, below the last.
        L: where the line is read; need not be whole, nor beyond N.
        alpha: the plausibility constraint, on the extrapolated distribution itself.
        filter_value: the score of a token that is ruled out; the released code's is -inf. None: each below
            every plausible token, in the order of the extrapolated probabilities.
    """

    M: int
    L: float
    alpha: float = 0.1
    filter_value: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.L):
            raise StrategyError(f"L must be a finite number, found {self.L}")
        if not 0.0 <= self.alpha <= 1.0:
            raise StrategyError(f"alpha must be in [0, 1], found {self.alpha}")
        if self.filter_value is not None and not self.filter_value < 0.0:
            raise StrategyError(f"filter_value must be below 0, found {self.filter_value}")

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        depth = depths[OWN]
        if not 0 <= self.M < depth.num_layers:
            raise LayerError(
                f"M = {self.M}: this model has {depth.num_layers} layers, and the line is fitted to layers"
                f" M..{depth.num_layers}, so it must be in 0..{depth.num_layers - 1}"
            )
        here = line_weights(self.M, depth.num_layers, self.L)
        further = line_weights(self.M, depth.num_layers, self.L + 1.0)
        line = _weighted(depth, self.M, here)
        slope = _weighted(depth, self.M, [b - a for a, b in zip(here, further, strict=True)])
        last = depth.last

        def contrast(tile: ExitLogits) -> Contrast:
            scores = extrapolated_scores(tile.logits(line), alpha=self.alpha, filter_value=self.filter_value)
            return Contrast(scores)

        def details(tile: ExitLogits) -> Mapping[str, Tensor]:
            return {"slope": tile.logits(slope), "last_layer": tile.log_probs(last)}

        return ResolvedStrategy(
            self,
            reads=(line,),
            contrast=contrast,
            normalised=True,
            explanation=Explanation((slope, last), details),
        )

    @classmethod
    def tuning_grid(cls, depths: Depths) -> list[Strategy]:
        """The line fitted to the last 16th, 8th, quarter and half of the layers, read a 32nd, 16th and 8th of
        the depth beyond the last."""
        n = depths[OWN].num_layers
        fitted = dict.fromkeys(n - max(1, round(n * share)) for share in _FITTED)
        beyond = dict.fromkeys(max(1, round(2 * n * share)) / 2 for share in _BEYOND)
        return [cls(M=first, L=n + layers) for first in fitted for layers in beyond]

    def released(self, task: str) -> Mapping[str, object]:
        return {"alpha": 0.1, "filter_value": -math.inf} if task in _GENERATING else {}


def _weighted(depth: Depth, first: int, weights: Sequence[float]) -> Read:
    """The weighted sum of layers `first`.. that weigh something."""
    kept = [
        (depth.read(first + at, norm=True).exits[0], weight) for at, weight in enumerate(weights) if weight
    ]
    return Read(tuple(exit for exit, _ in kept), tuple(weight for _, weight in kept))
