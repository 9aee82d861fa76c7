"""What a generation run will do, decided before a model loads: rows, prompts, strategies and settings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import dola
from dola.errors import RunError
from dola.runs.fingerprint import texts_digest
from dola.runs.plan import Selection
from dola.runs.versions import GENERATION, Version, strategy_versions, version_of
from dola.tasks.base import Dataset, GenerationTask


@dataclass(frozen=True)
class Decoding:
    """How tokens are taken from a strategy's scores; the names are Hugging Face's.

    Attributes:
        seed: of the sampling; None for greedy decoding, which draws nothing.
    """

    max_new_tokens: int
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class GenerationConfig:
    """Everything beside the data and the task that a completion depends on, and which rows are generated.

    Attributes:
        strategies: resolved, as `parse_strategy` reads them.
        penalties: each strategy's repetition penalty.
        versions: of each, as `version_of` tells it.
        attempts: how often to generate at most where the task's released rule finds no answer.
        shuffled: whether each attempt has another prompt.
    """

    model_identity: str
    dtype: str
    strategies: tuple[str, ...]
    penalties: tuple[float, ...]
    decoding: Decoding
    selection: Selection
    attempts: int = 1
    shuffled: bool = False
    versions: tuple[Version, ...] = ()

    @property
    def may_differ(self) -> bool:
        """Whether a second attempt can come to another text than the first."""
        return self.decoding.do_sample or self.shuffled


@dataclass(frozen=True)
class GenerationPlan:
    """A run: the rows with their prompts, in order, and the manifest that they are recorded under.

    Attributes:
        copies: of each row, how many rows of the whole data before it have the same prompt: where something
            is drawn, a prompt that is there twice is drawn twice, whatever part of the data is generated now.
    """

    task: GenerationTask[Any]
    config: GenerationConfig
    examples: tuple[Any, ...]
    prompts: tuple[str, ...]
    copies: tuple[int, ...]
    manifest: dict[str, Any]

    @property
    def attempts(self) -> int:
        """How often an example is generated at most: the same text is not made twice."""
        return self.config.attempts if self.config.may_differ else 1


def make_generation_plan(
    task: GenerationTask[Any], dataset: Dataset[Any], config: GenerationConfig
) -> GenerationPlan:
    """The plan for a task's data.

    The manifest holds what the recorded text depends on. How an answer is read out of it, and on how many
    rows at a time it was made, is not in it: that may change between two calls.

    Raises:
        RunError: no row is left.
    """
    examples = config.selection.of(dataset.examples)
    if not examples:
        raise RunError(f"none of the {len(dataset.examples)} rows is left: see --limit and --shard-id")
    prompts = tuple(task.prompt(example) for example in examples)
    decoding = config.decoding
    sampled = {
        name: getattr(decoding, name) if decoding.do_sample else None
        for name in ("temperature", "top_p", "top_k", "seed")
    }
    attempts = config.attempts if config.may_differ else 1
    manifest = {
        "task": task.name,
        "task_version": version_of(task),
        "data_sha256": dataset.sha256,
        "requests_sha256": texts_digest(("chat" if task.chat else "prompt", prompt) for prompt in prompts),
        "rows": f"{examples[0].index} to {examples[-1].index}, {len(examples)} of {len(dataset.examples)}",
        "model": config.model_identity,
        "dtype": config.dtype,
        "strategies": list(config.strategies),
        **strategy_versions(config.versions),
        "method_version": GENERATION,
        "repetition_penalty": list(config.penalties),
        "max_new_tokens": decoding.max_new_tokens,
        "do_sample": decoding.do_sample,
        **sampled,
        "stop": [each if isinstance(each, str) else each.pattern for each in task.stop],
        "attempts": attempts,
        "code": dola.__version__,
    }
    copies = _copies(task, dataset) if decoding.do_sample else {}
    return GenerationPlan(
        task, config, examples, prompts, tuple(copies.get(example.index, 0) for example in examples), manifest
    )


def _copies(task: GenerationTask[Any], dataset: Dataset[Any]) -> dict[int, int]:
    """By a row's index: how many rows before it have the same prompt."""
    seen: Counter[str] = Counter()
    copies = {}
    for example in dataset.examples:
        prompt = task.prompt(example)
        copies[example.index] = seen[prompt]
        seen[prompt] += 1
    return copies
