"""Scorers that know nothing but an answer's length, or nothing at all, on the same examples.

What a strategy gains over vanilla decoding says little as long as one of these gains as much.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dola.tasks.base import Task

LONGEST = "control: longest answer"
SHORTEST = "control: shortest answer"
RANDOM = "control: random"
DRAWS = 100
# An answer's score a token: so far apart that MC2, a share of probability, knows the longest answer alone.
_PER_TOKEN = 100.0


@dataclass(frozen=True)
class Control:
    """A control's metrics.

    Attributes:
        per_example: of each metric, its value for every example; for the random one its mean over the draws.
        draws: of each metric, its mean over the examples in every draw; empty but for the random one.
    """

    label: str
    per_example: dict[str, list[float]]
    draws: dict[str, list[float]] = field(default_factory=dict)


def controls(
    task: Task[Any], examples: Sequence[Any], tokens: Sequence[Sequence[int]], *, seed: int
) -> list[Control]:
    """The three control rows; `tokens` are the lengths of each example's answers."""
    return [
        _by_length(task, examples, tokens, LONGEST, _PER_TOKEN),
        _by_length(task, examples, tokens, SHORTEST, -_PER_TOKEN),
        _at_random(task, examples, tokens, seed=seed),
    ]


def _by_length(
    task: Task[Any], examples: Sequence[Any], tokens: Sequence[Sequence[int]], label: str, weight: float
) -> Control:
    measured = [
        task.measure(example, [weight * count for count in counts])
        for example, counts in zip(examples, tokens, strict=True)
    ]
    return Control(label, columns(task.metrics, measured))


def _at_random(
    task: Task[Any], examples: Sequence[Any], tokens: Sequence[Sequence[int]], *, seed: int
) -> Control:
    """Every answer gets a probability drawn evenly from (0, 1], in each of many draws.

    A draw of an example depends on the seed and the example alone, so that shards draw what the whole would.
    """
    sums: dict[str, list[float]] = {metric: [0.0] * len(examples) for metric in task.metrics}
    draws: dict[str, list[float]] = {metric: [0.0] * DRAWS for metric in task.metrics}
    for at, (example, counts) in enumerate(zip(examples, tokens, strict=True)):
        source = random.Random(f"{seed}:{example.index}")
        for draw in range(DRAWS):
            measured = task.measure(example, [math.log(1.0 - source.random()) for _ in counts])
            for metric in task.metrics:
                sums[metric][at] += measured[metric] / DRAWS
                draws[metric][draw] += measured[metric] / len(examples)
    return Control(RANDOM, sums, draws)


def columns(metrics: Sequence[str], measured: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """One list a metric instead of one mapping an example."""
    return {metric: [one[metric] for one in measured] for metric in metrics}
