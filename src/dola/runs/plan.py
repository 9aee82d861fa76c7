"""What a run will do, decided before a model loads: which rows, which requests, which strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dola
from dola.errors import RunError
from dola.runs.fingerprint import texts_digest
from dola.runs.versions import SCORING, Version, strategy_versions, version_of
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
        versions: of each, as `version_of` tells it.
    """

    model_identity: str
    dtype: str
    strategies: tuple[str, ...]
    selection: Selection = Selection()
    truncate: bool = False
    versions: tuple[Version, ...] = ()


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
        RunError: no row is left.
    """
    examples = config.selection.of(dataset.examples)
    if not examples:
        raise RunError(f"none of the {len(dataset.examples)} rows is left: see --limit and --shard-id")
    requests = tuple(task.request(example) for example in examples)
    manifest = {
        "task": task.name,
        "task_version": version_of(task),
        "data_sha256": dataset.sha256,
        "requests_sha256": texts_digest((each.prompt, *each.continuations) for each in requests),
        "rows": f"{examples[0].index} to {examples[-1].index}, {len(examples)} of {len(dataset.examples)}",
        "model": config.model_identity,
        "dtype": config.dtype,
        "strategies": list(config.strategies),
        **strategy_versions(config.versions),
        "method_version": SCORING,
        "truncate": config.truncate,
        "code": dola.__version__,
    }
    return Plan(task, config, examples, requests, manifest)
