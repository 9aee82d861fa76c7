"""DeLTa once more, in float64 and in the slowest, plainest way: what the tests measure against.

Written from the formulas; shares no code with `src`.
"""

from __future__ import annotations

import math

import numpy as np

from oracle import Array, log_softmax


def read_line(layers: Array, values: Array, at: float) -> Array:
    """The least-squares line through `values` `[n, V]` over the abscissas `layers` `[n]`, token by token."""
    centred = layers - layers.mean()
    spread = (centred**2).mean()
    read = []
    for column in values.T:
        slope = (centred * (column - column.mean())).mean() / spread if spread else 0.0
        read.append(column.mean() - slope * layers.mean() + slope * at)
    return np.array(read)


def scores(logits: Array, alpha: float, filter_value: float) -> Array:
    log_probs = log_softmax(logits)
    threshold = log_probs.max() + math.log(alpha)
    return np.array([filter_value if each < threshold else each for each in log_probs])
