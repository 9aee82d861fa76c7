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


def _log_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log q - log p, where a token that is impossible on both sides counts as equally likely."""
    return torch.nan_to_num(log_q - log_p, nan=0.0, posinf=_LARGEST_LOG_RATIO, neginf=-_LARGEST_LOG_RATIO)


def _log_mean_decay(size: Tensor) -> Tensor:
    """ln((1 + exp(-size)) / 2) for size >= 0; exact at 0, where ln cosh would cancel to noise."""
    return torch.log1p(torch.expm1(-size).mul_(0.5))


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
    size = _log_ratio(log_p, log_q).abs()
    mixture = (log_p.exp() + log_q.exp()).mul_(0.5)
    log_cosh = _log_mean_decay(size).add_(size, alpha=0.5)
    return (mixture * log_cosh).sum(-1).clamp_(min=0.0)


def js_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The Jensen-Shannon divergence of the paper's text: symmetric, in [0, ln 2].

    Args:
        log_p, log_q: log-probabilities `[..., V]` in float32, broadcast against each other.

    Returns:
        Divergence in nats `[...]`. Rounding never carries it outside [0, ln 2].
    """
    ratio = _log_ratio(log_p, log_q)
    p, q = log_p.exp(), log_q.exp()
    excess = p * ratio.clamp(min=0.0) + q * (-ratio).clamp_(min=0.0)
    deficit = excess + (p + q) * _log_mean_decay(ratio.abs())
    return deficit.sum(-1).mul_(-0.5).clamp_(min=0.0, max=LN_2)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = {
    "released": released_divergence,
    "js": js_divergence,
}
