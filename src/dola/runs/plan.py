"""What a run will do, decided before a model loads: which rows, which requests, which strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dola.errors import RunError
from dola.runs.fingerprint import code_version, texts_digest
from dola.tasks.base import Dataset, Request, Task
from dola.tasks.subset import Shard, subset


@dataclass(frozen=True)
class Selection:
    """Which rows of the data are scored: a shard, the first ten (`debug`), the first few of those (`limit`).

    Attributes:
        debug_before_shard: which of the two comes first: the released scripts differ in it.
    """

    shard: Shard | None = None
    debug: bool = False
    debug_before_shard: bool = True
    limit: int | None = None

    def of(self, examples: Sequence[Any]) -> tuple[Any, ...]:
        chosen = subset(
            examples, debug=self.debug, shard=self.shard, debug_before_shard=self.debug_before_shard
        )
        return tuple(chosen[: self.limit])


@dataclass(frozen=True)
class RunConfig:
    """Everything beside the data that a score depends on, and which rows are scored.

    Attributes:
        model_identity: which weights: see `fingerprint.model_identity`.
        dtype: of the weights, as they will be loaded.
        strategies: those scored, resolved, as `parse_strategy` reads them.
        versions: each one's `Strategy.version`.
    """

    model_identity: str
    dtype: str
    strategies: tuple[str, ...]
    selection: Selection = Selection()
    truncate: bool = False
    versions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A run: the rows with their requests, in order, and the manifest that they are recorded under."""

    task: Task[Any]
    config: RunConfig
    examples: tuple[Any, ...]
    requests: tuple[Request, ...]
    manifest: dict[str, Any]


def versions_in_manifest(versions: Sequence[int]) -> dict[str, list[int]]:
    """Said where one is not the first: records of before have none, and go on with the first."""
    return {"strategy_versions": list(versions)} if any(each != 1 for each in versions) else {}


def make_plan(task: Task[Any], dataset: Dataset[Any], config: RunConfig) -> Plan:
    """The plan for a task's data.

    Raises:
        RunError: no row is left.
    """
    examples = config.selection.of(dataset.examples)
    if not examples:
        raise RunError(f"none of the {len(dataset.examples)} rows is left: see --limit and --shard-id")
    requests = tuple(task.request(example) for example in examples)
    manifest = {
        "task": task.name,
        "data_sha256": dataset.sha256,
        "requests_sha256": texts_digest((each.prompt, *each.continuations) for each in requests),
        "rows": f"{examples[0].index} to {examples[-1].index}, {len(examples)} of {len(dataset.examples)}",
        "model": config.model_identity,
        "dtype": config.dtype,
        "strategies": list(config.strategies),
        **versions_in_manifest(config.versions),
        "truncate": config.truncate,
        "code": code_version(),
    }
    return Plan(task, config, examples, requests, manifest)
