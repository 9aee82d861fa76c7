"""Which examples a run takes: the released flags `--debug` and `--parallel --total-shard --shard-id`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from dola.errors import DolaError

T = TypeVar("T")

DEBUG_EXAMPLES = 10


@dataclass(frozen=True)
class Shard:
    """The part `shard_id`, from 0, of `total_shard` parts.

    Raises:
        DolaError: there is no such part.
    """

    shard_id: int
    total_shard: int

    def __post_init__(self) -> None:
        if self.total_shard < 1:
            raise DolaError(f"--total-shard must be at least 1, found {self.total_shard}")
        if not 0 <= self.shard_id < self.total_shard:
            raise DolaError(
                f"--shard-id must be from 0 to {self.total_shard - 1} with --total-shard {self.total_shard}, "
                f"found {self.shard_id}"
            )

    def of(self, examples: Sequence[T]) -> Sequence[T]:
        """This part: contiguous, and with those of the other shards together everything once.

        The sizes differ by one at most. (The released scripts cut equal parts and lose the remainder.)

        Raises:
            DolaError: more shards than examples.
        """
        if len(examples) < self.total_shard:
            raise DolaError(f"{len(examples)} examples cannot be parted into {self.total_shard} shards")
        start, end = (len(examples) * part // self.total_shard for part in (self.shard_id, self.shard_id + 1))
        return examples[start:end]


def subset(
    examples: Sequence[T], *, debug: bool, shard: Shard | None, debug_before_shard: bool
) -> Sequence[T]:
    """The examples of this run: all, the first ten (`debug`), a shard, or both in the script's own order."""
    if debug and debug_before_shard:
        examples = examples[:DEBUG_EXAMPLES]
    if shard is not None:
        examples = shard.of(examples)
    return examples[:DEBUG_EXAMPLES] if debug else examples
