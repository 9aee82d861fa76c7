"""Which candidate becomes the premature layer: the one whose divergence from the mature layer is largest."""

import torch
from torch import Tensor

# Two candidates whose divergences differ by less are tied. Rounding differs between engines and devices by
# about 1e-7; without a common rule it, not the model, would choose between saturated layers.
TIE_TOLERANCE = 1e-6


def select_premature(divergence: Tensor) -> Tensor:
    """The index of the largest divergence; among ties (within 1e-6 relative) the first candidate's.

    A candidate whose divergence is NaN is left out, and the choice is that among the others.

    Args:
        divergence: `[K, ...]`, one row a candidate, in the candidates' order.

    Returns:
        Index into the candidates, int64 `[...]`; 0 where all are NaN. Each position is decided on its own.
    """
    divergence = divergence.nan_to_num(nan=-1.0)  # below all others, and no tie with itself
    largest = divergence.amax(0)
    return torch.argmax((divergence >= largest * (1.0 - TIE_TOLERANCE)).to(torch.uint8), dim=0)
