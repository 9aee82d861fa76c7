"""Pure functions on early-exit logits `[..., V]`: how far apart, which layer, which tokens."""

from dola.contrast.divergence import (
    DIVERGENCES,
    Divergence,
    divergences,
    js_divergence,
    released_divergence,
)
from dola.contrast.plausibility import BELOW, apply_plausibility
from dola.contrast.selection import select_premature

__all__ = [
    "BELOW",
    "DIVERGENCES",
    "Divergence",
    "apply_plausibility",
    "divergences",
    "js_divergence",
    "released_divergence",
    "select_premature",
]
