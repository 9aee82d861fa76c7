"""How far apart two distributions over the vocabulary are: the quantity that picks the premature layer.

With d = log q - log p and the even mixture m = (p + q) / 2, both divergences have a form that takes no
logarithm of a probability, so nothing underflows and identical inputs give exactly zero:

    released   1/2 [KL(m || p) + KL(m || q)]  =  sum_v m (|d| / 2 + s)
    js         1/2 [KL(p || m) + KL(q || m)]  =  -1/2 sum_v [p max(d, 0) + q max(-d, 0) + 2 m s]

    where  s = ln((1 + exp(-|d|)) / 2)  in [-ln 2, 0],  so that  |d| / 2 + s = ln cosh(d / 2)
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Divergence = Literal["released", "js"]

LN_2 = math.log(2.0)
# Stands in for an infinite log-ratio (a logit of -inf on one side only): large, and its sums stay finite.
_LARGEST_LOG_RATIO = 1e30

# Up to here ln cosh is found from e^(|d| / 2); beyond, it is a straight line to the last digit.
_LARGEST_CURVED = 80.0

# exp of this is 1.6e-38, hardly a normal number any more.
_LOWEST_NORMAL_LOG = -87.0


def _log_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log q - log p, where a token that is impossible on both sides counts as equally likely."""
    return torch.sub(log_q, log_p).nan_to_num_(nan=0.0, posinf=_LARGEST_LOG_RATIO, neginf=-_LARGEST_LOG_RATIO)


def _log_mean_decay(size: Tensor) -> Tensor:
    """ln((1 + exp(-size)) / 2) for size >= 0; exact at 0, where ln cosh would cancel to noise."""
    return size.neg().expm1_().mul_(0.5).log1p_()


def _log_cosh_of_half(size: Tensor) -> Tensor:
    """ln cosh(size / 2) for size >= 0, as log1p((u - 1)^2 / 2u) with u = e^(size / 2); `size` is overwritten.

    A square near 0, so rounding hurts nothing there and 0 gives 0. In place: on a CPU each fresh tensor of
    K x V costs as much as the arithmetic on it; and exp2 takes a fifth of the time of expm1.
    """
    curved = size.clamp(max=_LARGEST_CURVED)
    beyond = size.sub_(curved).mul_(0.5)
    u = curved.mul_(0.5 / LN_2).exp2_()
    return (u - 1.0).square_().div_(u).mul_(0.5).log1p_().add_(beyond)


def _probabilities(log_probs: Tensor) -> Tensor:
    """exp, with zero for what float32 could only hold as a subnormal number.

    Un-normed early exits rule out most of the vocabulary by thousands of nats, and there the CPU's exp takes
    ten times as long as where its result is a normal number.
    """
    probabilities = log_probs.clamp(min=_LOWEST_NORMAL_LOG).exp_()
    return torch.threshold_(probabilities, 1.7e-38, 0.0)


def released_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """What the released code computes: half the sum of KL(m || p) and KL(m || q); symmetric, unbounded.

    Its `F.kl_div` arguments are swapped against the paper's formula, and it divides by V (a mean where the
    formula has a sum), which changes no choice; the sum is returned here.

    Args:
        log_p, log_q: log-probabilities `[..., V]` in float32, broadcast against each other.

    Returns:
        Divergence in nats `[...]`, in [0, inf); finite even where the true value is not (a token that is
        possible on one side only). Source: `dola.py` of voidism/DoLa, equation 3 of the paper.
    """
    log_cosh = _log_cosh_of_half(_log_ratio(log_p, log_q).abs_())
    mixture = (_probabilities(log_p) + _probabilities(log_q)).mul_(0.5)
    return mixture.mul_(log_cosh).sum(-1).clamp_(min=0.0)


def js_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The Jensen-Shannon divergence of the paper's text: symmetric, in [0, ln 2].

    Args:
        log_p, log_q: log-probabilities `[..., V]` in float32, broadcast against each other.

    Returns:
        Divergence in nats `[...]`. Rounding never carries it outside [0, ln 2].
    """
    ratio = _log_ratio(log_p, log_q)
    p, q = _probabilities(log_p), _probabilities(log_q)
    excess = p * ratio.clamp(min=0.0) + q * (-ratio).clamp_(min=0.0)
    deficit = excess + (p + q) * _log_mean_decay(ratio.abs())
    return deficit.sum(-1).mul_(-0.5).clamp_(min=0.0, max=LN_2)


# Elements of a temporary on the CPU: a handful of them fits the cache, and the allocator hands the same
# memory out again. Larger ones are returned to the system at each step and cleared anew at the next, which
# costs as much as the arithmetic.
_BLOCK_ELEMENTS = 1 << 19


def divergences(kind: Divergence, mature: Tensor, candidates: Tensor) -> Tensor:
    """The divergence of each candidate from the mature layer, position by position.

    Args:
        mature: log-probabilities `[..., V]`, float32.
        candidates: log-probabilities `[K, ..., V]`, float32.

    Returns:
        Nats `[K, ...]`. The same numbers whatever the blocks that they are computed in.
    """
    divergence = DIVERGENCES[kind]
    if candidates.device.type != "cpu" or torch.compiler.is_compiling():
        return divergence(mature, candidates)
    count, *positions, vocabulary = candidates.shape
    flat, reference = candidates.reshape(count, -1, vocabulary), mature.reshape(-1, vocabulary)
    vectors = max(1, _BLOCK_ELEMENTS // vocabulary)
    width, height = min(count, vectors), max(1, vectors // count)
    result = flat.new_empty(flat.shape[:2])
    for k in range(0, count, width):
        for r in range(0, len(reference), height):
            block = slice(k, k + width), slice(r, r + height)
            result[block] = divergence(reference[block[1]], flat[block])
    return result.view(count, *positions)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = {
    "released": released_divergence,
    "js": js_divergence,
}
