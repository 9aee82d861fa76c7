"""Which of the numbers that are read are numbers: hidden states, and logits that softmax can take.

A logit of -inf is one that somebody ruled out, and no fault while others are left.
"""

import torch
from torch import Tensor


def are_finite(hidden: Tensor) -> Tensor:
    """Whether a hidden state `[..., D]` holds neither NaN nor infinity, bool `[...]`."""
    return torch.isfinite(hidden).all(-1)


def are_distributions(logits: Tensor) -> Tensor:
    """Whether softmax makes a distribution of logits `[..., V]`, bool `[...]`: there is no NaN and no +inf,
    and they are not all -inf."""
    return logits.amax(-1).isfinite()  # the largest of a row with NaN is NaN
