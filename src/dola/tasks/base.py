"""What a task is: its data, what it asks of a model, and what the answers are worth.

`Task` scores reference answers; `GenerationTask` has the model write one and judges it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from dola.errors import DolaError


class HasIndex(Protocol):
    """An example knows its row: from 0, in the order of the data file, whatever subset it is met in."""

    @property
    def index(self) -> int: ...


E = TypeVar("E", bound=HasIndex)

# By which rule an answer is read out of a completion for the released schema: a corrected one, or the
# released script's. The figures of both are always measured.
Extraction = Literal["own", "released"]

# What ends a completion: a text, wherever it stands, or a place that a pattern finds.
Stop = str | re.Pattern[str]


@dataclass(frozen=True)
class Request:
    """One prompt and the texts to score after it.

    A continuation starts with the space that parts it from the prompt, so that the scored text is
    `prompt + continuation`, with nothing in between.
    """

    prompt: str
    continuations: tuple[str, ...]


@dataclass(frozen=True)
class Dataset(Generic[E]):
    """The examples of one data file.

    Attributes:
        sha256: of the file's bytes.
        source: what the file is, in words for a report: the pinned upstream file, or that it is none.
        path: where it was read from.
    """

    examples: tuple[E, ...]
    sha256: str
    source: str
    path: Path


class Task(Protocol[E]):
    """A benchmark whose examples are each a prompt and a fixed set of answers to score."""

    @property
    def name(self) -> str:
        """As on the command line: `tfqa-mc`, `factor`."""

    @property
    def version(self) -> int:
        """Counted up where the same requests come to be recorded otherwise: a run is not gone on with then.
        How an answer is measured may change; requests, which are recorded by their content, too."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The keys of `measure` that a table shows, in its order. Each is in [0, 1], more is better."""

    @property
    def binary_metrics(self) -> frozenset[str]:
        """Those of `metrics` that are 0 or 1 for every example: McNemar's test is for these."""

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[E]:
        """Read and check the data: a file, a folder that holds it, or None to fetch the pinned one."""

    def request(self, example: E) -> Request: ...

    def measure(self, example: E, scores: Sequence[float]) -> dict[str, float]:
        """The example's metrics, given the answers' scores in the order of its request's continuations."""

    def describe(self, example: E) -> dict[str, Any]:
        """The example for a report, as JSON: `question`, `group` (str or None), and `answers`, one for each
        continuation, each with `text` and `label`: "best", "true" or "false"."""

    def released_json(self, examples: Sequence[E], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
        """What the released script writes for these examples, key for key, and keys of ours after those."""


@dataclass(frozen=True)
class Judged:
    """What a completion comes to.

    Attributes:
        answer: by the corrected rule; None where the completion has none, which counts as wrong.
        released: by the released script's rule; None where that rule finds none.
        measures: the example's metrics, keyed as the task's `metrics`; empty for a task that others judge.
        retry: the released rule found no answer, and the script would generate again (`strqa`, `--retry`).
    """

    answer: str | bool | None
    released: str | bool | None
    measures: dict[str, float]
    retry: bool


class GenerationTask(Protocol[E]):
    """A benchmark whose examples are each a prompt that the model goes on from."""

    @property
    def name(self) -> str:
        """As on the command line: `gsm8k`, `strqa`, `tfqa`, `vicuna`."""

    @property
    def version(self) -> int:
        """Counted up where the same prompts come to other recorded completions, as by other stops, another
        rule of when to try again (`Judged.retry`) or another prompt of a later attempt: a run is not gone on
        with then. How an answer is read and measured may change; first prompts, recorded by content, too."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The keys of `Judged.measures`, in a table's order; each in [0, 1], more is better. None (`()`) for
        a task whose completions a judge is needed for."""

    @property
    def binary_metrics(self) -> frozenset[str]:
        """Those of `metrics` that are 0 or 1 for every example."""

    @property
    def stop(self) -> tuple[Stop, ...]:
        """The texts, or the places, that end a completion: of ours, where a new question begins."""

    @property
    def chat(self) -> bool:
        """Whether `prompt` is what a user says, for the model's own chat template, and no whole prompt."""

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[E]:
        """Read and check the data: a file, a folder that holds it, or None to fetch the pinned one."""

    def prompt(self, example: E, *, attempt: int = 0) -> str:
        """What the model goes on from. `attempt` counts the retries: it changes the prompt where the
        demonstrations are shuffled, and only there."""

    def completion(self, raw: str, text: str) -> str:
        """The completion as the output holds it.

        `raw`: all that was decoded, special tokens left out, the stop and what came with it left in.
        `text`: the same, cut before the first stop.
        """

    def judge(self, example: E, raw: str, text: str) -> Judged:
        """`raw` and `text` as in `completion`."""

    def describe(self, example: E) -> dict[str, Any]:
        """The example for a report, as JSON: `question`, `reference` (the true answer, or None) and `group`
        (its category, or None)."""

    def released_json(
        self,
        examples: Sequence[E],
        completions: Sequence[str],
        judged: Sequence[Judged],
        *,
        attempts: Sequence[int] | None = None,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """What the released script writes for these examples, key for key, and keys of ours after those; for
        a script that writes JSONL, its lines. `attempts`: how many each completion took, one if None."""


def checked_scores(scores: Sequence[float], expected: int) -> list[float]:
    """The scores as a list, once there is one for every answer and each is a number.

    Raises:
        DolaError: a score is NaN, which weights in half precision can bring about.
    """
    if len(scores) != expected:
        raise ValueError(f"expected {expected} scores, one for each answer, found {len(scores)}")
    if any(map(math.isnan, scores)):
        raise DolaError(
            "the model gave an answer a score that is not a number (NaN): "
            "half precision may have overflowed; try --dtype float32 or bfloat16"
        )
    return list(scores)


def per_token(scores: Sequence[float], tokens: Sequence[int]) -> list[float]:
    """Each answer's sum of token scores divided by its number of tokens: FACTOR's own way to score."""
    return [score / count for score, count in zip(scores, tokens, strict=True)]


def mean_of(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric over the examples."""
    if not measured:
        raise ValueError("no example was measured, so there is no mean")
    return {key: math.fsum(one[key] for one in measured) / len(measured) for key in measured[0]}
