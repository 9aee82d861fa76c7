"""Contrasts of logits that a test has made up, without a model."""

from __future__ import annotations

from torch import Tensor

from dola.strategies import (
    OWN,
    Contrast,
    Depth,
    ExitLogits,
    ResolvedStrategy,
    Strategy,
    resolve_strategy,
)


def resolved(strategy: Strategy, num_layers: int, *, tied: bool = False) -> ResolvedStrategy:
    return resolve_strategy(strategy, {OWN: Depth(num_layers, tied)})


def contrast_of(strategy: ResolvedStrategy, logits: Tensor) -> Contrast:
    """The contrast of logits `[E, ..., V]`, one for each of the strategy's reads, in their order."""
    exits, *positions, vocabulary = logits.shape
    found = strategy.contrast(ExitLogits(logits.reshape(exits, -1, vocabulary), strategy.reads))
    return Contrast(
        found.scores.reshape(*positions, vocabulary),
        None if found.premature is None else found.premature.reshape(positions),
        {name: detail.reshape((*detail.shape[:-1], *positions)) for name, detail in found.details.items()},
    )
