"""Scorers that know nothing of what an answer says: what a contrast must beat to have shown anything.

A contrast that is not renormalised sums to more the longer the answer is. On the 817 questions of TruthfulQA
a score of 100 for every token, whichever it is, reaches MC1/2/3 = 26.8 / 63.9 / 28.0 (SmolLM2's tokens): near
what was published for DoLa. So every multiple-choice table has these rows, made on the same examples.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dola.tasks.base import E, Task, mean_of

# Per token, or whatever the length counts: about what an un-normed contrast adds, and enough for MC2 to go to
# the longest answer alone.
_WEIGHT = 100.0
_GRID = 2.0**36


@dataclass(frozen=True)
class Control:
    """One control's row.

    Attributes:
        name: for the table.
        per_example: the metrics of each example; for random scores their mean over the draws.
        spread: of the random scores only: the standard deviation, over the draws, of each metric's mean over
            the examples. Empty for the others, which have none.
        draws: of the random scores only: each metric's sum over the examples, draw by draw, so that shards
            can be put together.
    """

    name: str
    per_example: tuple[dict[str, float], ...]
    spread: dict[str, float]
    draws: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """Each metric's mean over the examples."""
        return mean_of(self.per_example)


def longest(lengths: Sequence[int]) -> tuple[float, ...]:
    """Scores that favour the longest answer; `lengths` in tokens or in characters."""
    return tuple(_WEIGHT * length for length in lengths)


def shortest(lengths: Sequence[int]) -> tuple[float, ...]:
    """Scores that favour the shortest answer."""
    return tuple(-_WEIGHT * length for length in lengths)


def random_scores(answers: int, *, draws: int, seed: int | str) -> Iterator[tuple[float, ...]]:
    """`draws` times a score for each answer, all independent and alike."""
    generator = random.Random(seed)
    for _ in range(draws):
        yield tuple(_WEIGHT * generator.random() for _ in range(answers))


def controls(
    task: Task[E],
    examples: Sequence[E],
    lengths: Sequence[Sequence[int]],
    *,
    draws: int = 100,
    seed: int = 0,
) -> tuple[Control, ...]:
    """The longest, the shortest and a random answer, measured as the task measures a model.

    `lengths` has, for every example, the length of each of its continuations. At least 2 `draws`.
    """
    pairs = list(zip(examples, lengths, strict=True))
    by_length = [("longest answer", longest), ("shortest answer", shortest)]
    rows = [
        Control(name, tuple(task.measure(example, score(ones)) for example, ones in pairs), {})
        for name, score in by_length
    ]
    return (*rows, _random(task, pairs, draws=draws, seed=seed))


def _random(task: Task[E], pairs: Sequence[tuple[E, Sequence[int]]], *, draws: int, seed: int) -> Control:
    # By the example's own row, so that a shard or a resumed run draws for it what the whole run would.
    drawn = [
        [
            task.measure(example, scores)
            for scores in random_scores(len(ones), draws=draws, seed=f"{seed}:{example.index}")
        ]
        for example, ones in pairs
    ]
    per_example = tuple(mean_of(of_example) for of_example in drawn)
    sums = {
        key: tuple(
            math.fsum(_on_grid(of_example[draw][key]) for of_example in drawn) for draw in range(draws)
        )
        for key in per_example[0]
    }
    return Control("random answer", per_example, spread_of(sums, len(pairs)), sums)


def spread_of(draws: Mapping[str, Sequence[float]], examples: int) -> dict[str, float]:
    """The standard deviation of each metric's mean from draw to draw, of its sums over the examples."""
    return {key: statistics.stdev(one / examples for one in sums) for key, sums in draws.items()}


def _on_grid(value: float) -> float:
    """The value to eleven digits, so that sums of 100,000 of them are exact, in whatever parts they are made:
    shards come to the sums of the whole run."""
    return round(value * _GRID) / _GRID
