"""DeLTa: a straight line through each token's logits over the last layers, read beyond the last of them.

With Y_l the logits of layer l through the final norm and the head, l = M .. N, the least-squares line at L is

    z(L) = mean Y + (L - mean l) sum_l (l - mean l) Y_l / sum_l (l - mean l)^2  =  sum_l w_l Y_l

The weights w_l depend on M, N and L alone and add up to 1. So where the head is affine and caps no logits,
z(L) is the head of *one* weighted sum of normed hidden states, at the cost of a single exit.

    score = log_softmax(z)      -inf where it is below its own maximum + ln 0.1

Source: arXiv 2503.02343; `CustomRegressionLogitsProcessor` of githubhyz/DeLTa at 05c0dc84. Its `step` moves
the abscissas but not the layers, and works only as 1, so it is left out here; so is the 1e-9 that it adds to
the variance of the abscissas.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from dola.contrast.plausibility import apply_plausibility


def line_weights(first: int, last: int, at: float) -> tuple[float, ...]:
    """What each layer's logits weigh in the least-squares line through layers `first`..`last`, read at `at`.

    The fractions are exact and rounded once, so on two layers the line read at one of them is that layer,
    with weights 0 and 1. On one layer alone there is no slope, and it weighs 1.

    Args:
        first, last: layers, `first <= last`.
        at: the virtual layer, any finite number.

    Returns:
        `last - first + 1` weights, in the layers' order; they add up to 1.
    """
    layers = range(first, last + 1)
    mean = Fraction(first + last, 2)
    spread = sum(((layer - mean) ** 2 for layer in layers), Fraction(0)) or Fraction(1)
    reach = Fraction(at) - mean
    return tuple(float(Fraction(1, len(layers)) + reach * (layer - mean) / spread) for layer in layers)


def weighted_sum(layers: Iterable[Tensor], weights: Sequence[float]) -> Tensor:
    """sum_l w_l Y_l of logits or of normed hidden states, each `[..., X]`, in float32.

    A layer that weighs nothing is not read: what it holds, even NaN, has no part in the sum.
    """
    parts = ((layer, weight) for layer, weight in zip(layers, weights, strict=True) if weight != 0.0)
    first, weight = next(parts)
    total = first.float() * weight
    for layer, weight in parts:
        total.add_(layer, alpha=weight)
    return total


def extrapolated_scores(logits: Tensor, *, alpha: float, filter_value: float | None) -> Tensor:
    """Log-probabilities of the extrapolated logits; the implausible by its own measure are ruled out.

    Args:
        logits: z(L) `[..., V]`, float32.
        alpha: 0.1 in the released code.
        filter_value: -inf in the released code; None: as `apply_plausibility` has it.

    Returns:
        Scores `[..., V]`.
    """
    log_probs = torch.log_softmax(logits, -1)
    return apply_plausibility(log_probs, log_probs, alpha, filter_value)
