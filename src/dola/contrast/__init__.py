"""Pure functions on early-exit logits `[..., V]`: how far apart, which layer, which tokens."""

from dola.contrast.divergence import (
    DIVERGENCES,
    Divergence,
    divergences,
    js_divergence,
    released_divergence,
)
from dola.contrast.extrapolate import extrapolated_scores, line_weights, weighted_sum
from dola.contrast.finite import are_distributions, are_finite
from dola.contrast.most_probable import most_probable
from dola.contrast.plausibility import BELOW, apply_plausibility, rule_out
from dola.contrast.selection import select_premature
from dola.contrast.sled import Evolution, evolve, keep_evolved

__all__ = [
    "BELOW",
    "DIVERGENCES",
    "Divergence",
    "Evolution",
    "apply_plausibility",
    "are_distributions",
    "are_finite",
    "divergences",
    "evolve",
    "extrapolated_scores",
    "js_divergence",
    "keep_evolved",
    "line_weights",
    "most_probable",
    "released_divergence",
    "rule_out",
    "select_premature",
    "weighted_sum",
]
