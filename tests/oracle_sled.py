"""SLED once more, in float64 and in the slowest, plainest way: what the tests measure against.

Written from the formulas; shares no code with `src`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracle import Array, log_softmax


@dataclass(frozen=True)
class Evolved:
    tokens: list[int]
    cosines: Array  # [E, k]
    latent: Array  # [k]
    layer_weights: Array  # [E]
    logits: Array  # [V], before the floor
    scores: Array  # [V]


def softmax(logits: Array) -> Array:
    return np.asarray(np.exp(log_softmax(logits)))


def cosine(a: Array, b: Array) -> float:
    return float((a / max(np.linalg.norm(a), 1e-8)) @ (b / max(np.linalg.norm(b), 1e-8)))


def evolve(mature: Array, exits: Array, *, scale: int, rate: float, steps: int, floor: float) -> Evolved:
    """One position: `mature` is `[V]`, `exits` `[E, V]`."""
    vocabulary = range(len(mature))
    tokens = sorted(vocabulary, key=lambda token: (-mature[token], token))[:scale]
    cosines = np.zeros((len(exits), len(tokens)))
    for n, logits in enumerate(exits):
        for i, token in enumerate(tokens):
            one_hot = np.array([float(each == token) for each in vocabulary])
            cosines[n, i] = cosine(softmax(logits) - one_hot, logits - mature)
    votes = np.maximum(cosines, 0.0) ** 2
    total = votes.sum()
    layer_weights = np.array([layer.sum() / total if total else 0.0 for layer in votes])
    latent = np.zeros(len(tokens))
    for layer, weight in zip(votes, layer_weights, strict=True):
        if layer.sum():
            latent += weight * layer / layer.sum()
    everywhere = np.zeros(len(mature))
    everywhere[tokens] = latent
    logits = mature.copy()
    for t in range(steps):
        logits = logits - rate * (1 - t / steps) * (softmax(logits) - everywhere)
    scores = np.array([logits[token] if token in tokens else floor for token in vocabulary])
    return Evolved(tokens, cosines, latent, layer_weights, logits, scores)
