"""Scorers that know nothing of what an answer says: what a contrast must beat to have shown anything.

A contrast that is not renormalised sums to more the longer the answer is. On the 817 questions of TruthfulQA
a score of 100 for every token, whichever it is, reaches MC1/2/3 = 26.8 / 63.9 / 28.0 (SmolLM2's tokens): near
what was published for DoLa. So every multiple-choice table has these rows, made on the same examples.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dola.tasks.base import E, Task, mean_of

# Per token, or whatever the length counts: about what an un-normed contrast adds, and enough for MC2 to go to
# the longest answer alone.
_WEIGHT = 100.0
# Rows from this one on are drawn for a few times only: so many examples average out by themselves.
_MANY = 3_000
_FEW_DRAWS = 4


@dataclass(frozen=True)
class Control:
    """One control's row.

    Attributes:
        name: for the table.
        per_example: the metrics of each example; for random scores their mean over the draws.
        spread: of the random scores only: the standard deviation, over the draws, of each metric's mean over
            the examples. Empty for the others, which have none.
    """

    name: str
    per_example: tuple[dict[str, float], ...]
    spread: dict[str, float]

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
        yield tuple([_WEIGHT * generator.random() for _ in range(answers)])


def controls(
    task: Task[E],
    examples: Sequence[E],
    lengths: Sequence[Sequence[int]],
    *,
    draws: int = 100,
    seed: int = 0,
) -> tuple[Control, ...]:
    """The longest, the shortest and a random answer, measured as the task measures a model.

    `lengths` has, for every example, the length of each of its continuations. At least 2 `draws`, of each row
    of the first 3,000; of later ones 4 at most.
    """
    pairs = list(zip(examples, lengths, strict=True))
    by_length = [("longest answer", longest), ("shortest answer", shortest)]
    rows = [
        Control(name, tuple(task.measure(example, score(ones)) for example, ones in pairs), {})
        for name, score in by_length
    ]
    return (*rows, _random(task, pairs, draws=draws, seed=seed))


def _random(task: Task[E], pairs: Sequence[tuple[E, Sequence[int]]], *, draws: int, seed: int) -> Control:
    per_example: list[dict[str, float]] = []
    variances: dict[str, list[float]] = {}
    for example, ones in pairs:
        # By the example's own row, so that a shard or a resumed run draws for it what the whole run would.
        many = draws if example.index < _MANY else min(draws, _FEW_DRAWS)
        scores = random_scores(len(ones), draws=many, seed=f"{seed}:{example.index}")
        drawn = [task.measure(example, each) for each in scores]
        means = mean_of(drawn)
        per_example.append(means)
        for key, mean in means.items():
            variance = math.fsum((one[key] - mean) ** 2 for one in drawn) / (many - 1)
            variances.setdefault(key, []).append(variance)
    # The examples' draws are independent, so the variances of what a draw gives them add: in shards as well.
    spread = {key: math.sqrt(math.fsum(each)) / len(pairs) for key, each in variances.items()}
    return Control("random answer", tuple(per_example), spread)
