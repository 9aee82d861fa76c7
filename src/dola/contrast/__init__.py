"""Pure functions on early-exit logits `[..., V]`: how far apart, which layer, which tokens."""

from dola.contrast.divergence import (
    DIVERGENCES,
    Divergence,
    divergences,
    js_divergence,
    released_divergence,
)
from dola.contrast.finite import are_distributions, are_finite
from dola.contrast.plausibility import apply_plausibility
from dola.contrast.selection import select_premature

__all__ = [
    "DIVERGENCES",
    "Divergence",
    "apply_plausibility",
    "are_distributions",
    "are_finite",
    "divergences",
    "js_divergence",
    "released_divergence",
    "select_premature",
]
