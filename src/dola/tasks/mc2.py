"""MC2: the share of the probability that falls on the true answers, exactly and as released."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ReleasedMC2:
    """The released figure, and whether it is off.

    Attributes:
        underflow: a side's probabilities were all too small for a float64, and its scores were halved until
            one was not, each side on its own. That moves the side up against the other.
        overflow: a probability was too large for a float64 (sums of a contrast that is not renormalised may
            be positive, and above 709 they are), which gives NaN, written as 0.
    """

    value: float
    underflow: bool
    overflow: bool


def mc2(true: Sequence[float], false: Sequence[float]) -> float:
    """Σ exp(true) / (Σ exp(true) + Σ exp(false)), in [0, 1], for log-likelihoods of any size.

    Through log-sum-exp: no probability is formed that could under- or overflow. 0.5 where all are -inf.
    """
    of_true, of_false = _log_sum_exp(true), _log_sum_exp(false)
    difference = 0.0 if of_true == of_false else of_false - of_true
    # A logistic function of the difference, in the form whose exponential does not overflow.
    if difference > 0:
        return math.exp(-difference) / (1.0 + math.exp(-difference))
    return 1.0 / (1.0 + math.exp(difference))


def released_mc2(true: Sequence[float], false: Sequence[float]) -> ReleasedMC2:
    """MC2 with the released script's floating-point behaviour. A side of nothing but -inf, on which that one
    never ends, counts as probability 0. Shares are rounded before they are added, as there: it may come out a
    few units of the last place above 1."""
    of_true, halved_true = _released_probabilities(true)
    of_false, halved_false = _released_probabilities(false)
    total = sum(of_true) + sum(of_false)
    overflow = math.isinf(total)
    share = 0.0 if overflow or total == 0.0 else sum(probability / total for probability in of_true)
    return ReleasedMC2(share, halved_true or halved_false, overflow)


def _log_sum_exp(scores: Sequence[float]) -> float:
    highest = max(scores)
    if math.isinf(highest):
        return highest
    return highest + math.log(math.fsum(math.exp(score - highest) for score in scores))


def _released_probabilities(scores: Sequence[float]) -> tuple[list[float], bool]:
    """The scores' exponentials, and whether the scores were halved on the way."""
    halved = False
    probabilities = [_exp(score) for score in scores]
    while sum(probabilities) == 0.0 and max(scores) > -math.inf:
        scores = [score / 2.0 for score in scores]
        probabilities = [_exp(score) for score in scores]
        halved = True
    return probabilities, halved


def _exp(score: float) -> float:
    """As NumPy has it: infinity where Python raises."""
    try:
        return math.exp(score)
    except OverflowError:
        return math.inf
