"""How far apart two distributions over the vocabulary are: the quantity that picks the premature layer.

With d = log q - log p and the even mixture m = (p + q) / 2,

    released   1/2 [KL(m || p) + KL(m || q)]  =  sum_v m ln cosh(d / 2)
    js         1/2 [KL(p || m) + KL(q || m)]  =  -1/2 sum_v [p max(d, 0) + q max(-d, 0) + 2 m s]

    where  s = ln((1 + exp(-|d|)) / 2)  in [-ln 2, 0].

Neither form takes the logarithm of a probability, so nothing underflows, and identical inputs give exactly
zero. The released one is found from the roots a = sqrt(p) and b = sqrt(q): cosh(d / 2) = 1 + (a - b)^2 / 2ab.
That takes one exponential and one logarithm a token, and squares a difference where d is small, so rounding
hurts nothing there.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from dola.contrast.blocks import by_blocks

Divergence = Literal["released", "js"]

LN_2 = math.log(2.0)
# How far below the likeliest token one with a logit of -inf counts: far, and its sums stay finite.
_FARTHEST_BELOW = 1e30

# exp of this is 1.6e-38, hardly a normal number any more.
_LOWEST_NORMAL_LOG = -87.0

# A token further below the likeliest one is taken to be so far below it, and what is missing is added to
# ln cosh, which is a straight line there to the last digit. (Twice as far, and the product of two roots would
# be subnormal: 0 / 0 where such numbers are flushed.)
_LOWEST_CURVED = -60.0
# Such a token weighs nothing.
_LIGHTEST = 1.01 * math.exp(_LOWEST_CURVED)


def _log_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log q - log p, made finite: a token that is impossible on both sides counts as equally likely."""
    return torch.sub(log_q, log_p).nan_to_num_()


def _log_mean_decay(size: Tensor) -> Tensor:
    """ln((1 + exp(-size)) / 2) for size >= 0; exact at 0, where ln cosh would cancel to noise."""
    return size.neg().expm1_().mul_(0.5).log1p_()


def _probabilities(log_probs: Tensor) -> Tensor:
    """exp, with zero for what float32 could only hold as a subnormal number.

    Un-normed early exits rule out most of the vocabulary by thousands of nats, and there the CPU's exp takes
    ten times as long as where its result is a normal number.
    """
    probabilities = log_probs.clamp(min=_LOWEST_NORMAL_LOG).exp_()
    return torch.threshold_(probabilities, 1.7e-38, 0.0)


def _roots(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The roots of the probabilities, none less than e^-30 of the largest; the probabilities, zero where that
    floor was met; and how far below it the logarithm of the probability is. Each `[..., V]`."""
    # In place: on a CPU each fresh tensor of K x V costs as much as the arithmetic on it.
    below = logits - logits.amax(-1, keepdim=True)
    floored = below.clamp(min=_LOWEST_CURVED)
    below = below.neg_().add_(floored).clamp_(max=_FARTHEST_BELOW)
    roots = floored.mul_(0.5 / LN_2).exp2_()  # two thirds of the time of exp
    probabilities = roots * roots
    total = probabilities.sum(-1, keepdim=True)
    torch.threshold_(probabilities, _LIGHTEST, 0.0)
    return roots.mul_(total.rsqrt()), probabilities.div_(total), below


def released_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """What the released code computes: half the sum of KL(m || p) and KL(m || q); symmetric, unbounded.

    Its `F.kl_div` arguments are swapped against the paper's formula, and it divides by V (a mean where the
    formula has a sum), which changes no choice; the sum is returned here.

    Args:
        p_logits, q_logits: `[..., V]` in float32, broadcast against each other. Log-probabilities will do.

    Returns:
        Divergence in nats `[...]`, in [0, inf); finite even where the true value is not (a token that is
        possible on one side only). On each side, tokens less than e^-60 as likely as the likeliest have no
        weight. Source: `dola.py` of voidism/DoLa, equation 3 of the paper.
    """
    a, p, p_below = _roots(p_logits)
    b, q, q_below = _roots(q_logits)
    log_cosh = (a - b).square_().div_((a * b).mul_(2.0)).log1p_()
    log_cosh += q_below.add(p_below).mul_(0.5)
    return (p + q).mul_(log_cosh).sum(-1).mul_(0.5)


def js_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """The Jensen-Shannon divergence of the paper's text: symmetric, in [0, ln 2].

    Args:
        p_logits, q_logits: `[..., V]` in float32, broadcast against each other. Log-probabilities will do.

    Returns:
        Divergence in nats `[...]`. Rounding never carries it outside [0, ln 2].
    """
    log_p, log_q = torch.log_softmax(p_logits, -1), torch.log_softmax(q_logits, -1)
    ratio = _log_ratio(log_p, log_q)
    p, q = _probabilities(log_p), _probabilities(log_q)
    excess = p * ratio.clamp(min=0.0) + q * (-ratio).clamp_(min=0.0)
    deficit = excess + (p + q) * _log_mean_decay(ratio.abs())
    return deficit.sum(-1).mul_(-0.5).clamp_(min=0.0, max=LN_2)


def divergences(kind: Divergence, mature: Tensor, candidates: Tensor) -> Tensor:
    """The divergence of each candidate from the mature layer, position by position.

    Args:
        mature: logits `[..., V]`, float32.
        candidates: logits `[K, ..., V]`, float32.

    Returns:
        Nats `[K, ...]`, NaN where either side is no distribution (NaN, +inf, nothing but -inf). The same
        numbers whatever the blocks that they are computed in.
    """
    divergence = DIVERGENCES[kind]
    return by_blocks(lambda exits, reference: divergence(reference, exits), candidates, mature)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = {
    "released": released_divergence,
    "js": js_divergence,
}
