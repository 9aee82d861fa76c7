"""The adaptive plausibility constraint: only tokens that the mature layer finds plausible may be chosen."""

import math

import torch
from torch import Tensor

# How far every ruled-out token lies below the lowest plausible one: at a temperature of 90 its probability is
# still no float32 number, and a token far below the others may be penalised without reaching it.
BELOW = 1e4
# No logarithm of a probability counts as lower: the ruled-out tokens stay within reach of one another.
_LOWEST_LOG_PROB = -1e4


def apply_plausibility(
    scores: Tensor, mature_log_probs: Tensor, alpha: float, filter_value: float | None
) -> Tensor:
    """Rule out tokens with p_mature < alpha * max p_mature (equation 5 of the paper; `relative_top`).

    Args:
        scores, mature_log_probs: `[..., V]`, float32.
        alpha: in [0, 1]. 0 rules out nothing but tokens of probability zero.
        filter_value: the score of a token ruled out, as in the released scoring (-1000). None: finitely below
            every plausible token, in the order of p_mature, so that the likeliest is chosen where a host
            forbids all that are plausible; a token of probability zero, which the model itself forbids, is
            at -inf.

    Returns:
        Scores `[..., V]`; the mature layer's best token always keeps its own.
    """
    lowest = torch.finfo(mature_log_probs.dtype).min
    threshold: Tensor | float = lowest
    if alpha > 0.0:
        threshold = (mature_log_probs.amax(-1, keepdim=True) + math.log(alpha)).clamp_(min=lowest)
    return rule_out(scores, mature_log_probs < threshold, mature_log_probs, filter_value)


def rule_out(scores: Tensor, ruled_out: Tensor, log_probs: Tensor, filter_value: float | None) -> Tensor:
    """Scores `[..., V]` with the tokens at `ruled_out` put below all others; see `apply_plausibility`.

    Args:
        log_probs: what the ruled-out tokens are in the order of, `[..., V]` in float32.
    """
    if filter_value is not None:
        return scores.masked_fill(ruled_out, filter_value)
    plausible = scores.masked_fill(ruled_out, math.inf)
    top = plausible.amin(-1, keepdim=True).clamp_(max=0.0).mul_(2.0).sub_(BELOW)  # of the ruled out
    below = log_probs.clamp(min=_LOWEST_LOG_PROB).add_(top)
    below.masked_fill_(log_probs < torch.finfo(log_probs.dtype).min, -math.inf)
    return torch.where(ruled_out, below, scores)
