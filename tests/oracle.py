"""The definitions once more, in float64 and in the slowest, plainest way: what the tests measure against.

Written from the formulas of the paper and of the released code; shares no code with `src`. Logits of -inf
are tokens of probability zero, and 0 ln 0 = 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def kl(p: Array, q: Array) -> float:
    """KL(p || q) in nats; infinite where p has a token that q rules out."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0.0:
            total += a * (math.log(a) - math.log(b)) if b > 0.0 else math.inf
    return total


def js(p: Array, q: Array) -> float:
    m = (p + q) / 2
    return (kl(p, m) + kl(q, m)) / 2


def released(log_p: Array, log_q: Array) -> float:
    """1/2 [KL(m || p) + KL(m || q)], from log-probabilities: p may underflow where log p does not."""
    total = 0.0
    for a, b in zip(log_p, log_q, strict=True):
        log_m = np.logaddexp(a, b) - math.log(2)
        if min(a, b) == -math.inf < max(a, b):
            return math.inf
        if log_m > -math.inf:
            total += math.exp(log_m) * (log_m - (a + b) / 2)
    return float(total)


def divergence(name: str, logits_p: Array, logits_q: Array) -> float:
    log_p, log_q = log_softmax(logits_p), log_softmax(logits_q)
    if name == "released":
        return released(log_p, log_q)
    return js(np.exp(log_p), np.exp(log_q))


def first_of_the_largest(values: list[float], tie: float = 1e-6) -> set[int]:
    """The indices that a right choice may have: the first largest, or one within rounding of it."""
    largest = max(values)
    near = [i for i, value in enumerate(values) if value >= largest * (1 - 2 * tie) - 1e-9]
    return set(near)


def contrast(
    mature: Array, premature: Array, *, alpha: float, filter_value: float | None, post_softmax: bool = False
) -> Array:
    """log p_mature - log p_premature, and `filter_value` where p_mature < alpha max p_mature; None: below the
    lowest other score, in the order of p_mature, and -inf where that is 0."""
    log_m, log_p = log_softmax(mature), log_softmax(premature)
    scores = log_m - log_p
    if post_softmax:
        scores = log_softmax(scores)
    ruled_out = [
        log_p == -math.inf or (alpha > 0 and log_p < log_m.max() + math.log(alpha)) for log_p in log_m
    ]
    lowest = min(score for score, out in zip(scores, ruled_out, strict=True) if not out)
    below = [
        log_p if log_p == -math.inf else 2 * min(lowest, 0.0) - 1e4 + max(log_p, -1e4) for log_p in log_m
    ]
    replaced = below if filter_value is None else [filter_value] * len(below)
    return np.where(ruled_out, replaced, scores)
