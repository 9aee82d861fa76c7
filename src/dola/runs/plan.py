"""What a run will do, decided before a model loads: which rows, which requests, which strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import RunError
from dola.runs.fingerprint import code_version, texts_digest
from dola.tasks.base import Dataset, Request, Task

DEBUG_ROWS = 10


@dataclass(frozen=True)
class Shard:
    """One of `total` parts of the rows, counted from 0."""

    number: int
    total: int

    def __post_init__(self) -> None:
        if self.total < 1 or not 0 <= self.number < self.total:
            raise RunError(
                f"shard {self.number} of {self.total}: expected --shard-id from 0 to {self.total - 1}"
            )

    def part(self, count: int) -> slice:
        """The shard's rows of `count`: those of the released scripts, whose last shard drops the remainder;
        here the last shard takes it."""
        size = count // self.total
        last = self.number == self.total - 1
        return slice(self.number * size, count if last else (self.number + 1) * size)


@dataclass(frozen=True)
class Selection:
    """Which rows of the data are scored.

    Attributes:
        debug: the first ten rows only.
        debug_first: ten rows of the whole data, then the shard (as the released tfqa_mc_eval does), instead
            of ten rows of the shard (as the released factor_eval does).
        limit: the first rows of what is left; None: all.
    """

    shard: Shard | None = None
    debug: bool = False
    debug_first: bool = True
    limit: int | None = None

    def of(self, examples: Sequence[Any]) -> tuple[Any, ...]:
        chosen = tuple(examples)
        if self.debug and self.debug_first:
            chosen = chosen[:DEBUG_ROWS]
        if self.shard is not None:
            chosen = chosen[self.shard.part(len(chosen))]
        if self.debug:
            chosen = chosen[:DEBUG_ROWS]
        return chosen[: self.limit]


@dataclass(frozen=True)
class RunConfig:
    """Everything beside the data that a score depends on, and the model's and the user's names for it.

    Attributes:
        model: what the user calls the model.
        model_identity: which weights that is: see `fingerprint.model_identity`.
        strategies: those scored, resolved, as `parse_strategy` reads them.
        dtype: of the weights, as they will be loaded.
    """

    model: str
    model_identity: str
    dtype: str
    strategies: tuple[str, ...]
    selection: Selection = Selection()
    truncate: bool = False


@dataclass(frozen=True)
class Plan:
    """A run: the rows with their requests, in order, and the manifest that they are recorded under."""

    task: Task[Any]
    config: RunConfig
    examples: tuple[Any, ...]
    requests: tuple[Request, ...]
    manifest: dict[str, Any]


def make_plan(task: Task[Any], dataset: Dataset[Any], config: RunConfig) -> Plan:
    """The plan for a task's data.

    Raises:
        RunError: the selection leaves no row.
    """
    examples = config.selection.of(dataset.examples)
    if not examples:
        shard = config.selection.shard
        named = f"shard {shard.number} of {shard.total}" if shard else "the selection"
        raise RunError(
            f"{named} has none of the {len(dataset.examples)} rows: give a smaller --total-shard, or no --limit"
        )
    requests = tuple(task.request(example) for example in examples)
    manifest = {
        "task": task.name,
        "data_sha256": dataset.sha256,
        "requests_sha256": texts_digest((each.prompt, *each.continuations) for each in requests),
        "rows": f"{examples[0].index} to {examples[-1].index}, {len(examples)} of {len(dataset.examples)}",
        "model": config.model_identity,
        "dtype": config.dtype,
        "strategies": list(config.strategies),
        "truncate": config.truncate,
        "code": code_version(),
    }
    return Plan(task, config, examples, requests, manifest)


def shard_path(output: Path, shard_id: int | None) -> Path:
    """Where a shard's result goes: as the released scripts name it, whatever the path ends in."""
    return output if shard_id is None else output.with_name(f"{output.name}_{shard_id}.json")
