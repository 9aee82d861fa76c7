"""The adaptive plausibility constraint: only tokens that the mature layer finds plausible may be chosen."""

import math

import torch
from torch import Tensor


def apply_plausibility(scores: Tensor, mature_log_probs: Tensor, alpha: float, filter_value: float) -> Tensor:
    """Rule out tokens with p_mature < alpha * max p_mature (equation 5 of the paper; `relative_top`).

    Args:
        scores, mature_log_probs: `[..., V]`, float32.
        alpha: in [0, 1]. 0 rules out nothing but tokens of probability zero.
        filter_value: the score of a token ruled out: -inf when decoding, -1000 in the released scoring.

    Returns:
        Scores `[..., V]`; the mature layer's best token always keeps its own.
    """
    lowest = torch.finfo(mature_log_probs.dtype).min
    if alpha > 0.0:
        threshold = (mature_log_probs.amax(-1, keepdim=True) + math.log(alpha)).clamp_(min=lowest)
        return scores.masked_fill(mature_log_probs < threshold, filter_value)
    return scores.masked_fill(mature_log_probs < lowest, filter_value)
