"""A result's examples: what was asked, and what each strategy made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dola.result.form import optional, unknown


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was scored; `label`: best, true or false."""

    text: str
    label: str
    tokens: int
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True, slots=True)
class ScoredExample:
    """An example of a benchmark that scores answers.

    Attributes:
        index: its row in the data.
        group: its category, where it has one.
        scores: `[strategy][answer]`, sums over the answer's tokens; None: minus infinity.
    """

    index: int
    question: str
    group: str | None
    answers: tuple[Answer, ...]
    scores: tuple[tuple[float | None, ...], ...]
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True, slots=True)
class Completion:
    """What one strategy wrote.

    Attributes:
        text: as the released output holds it.
        raw: all that was decoded.
        answer, answer_released: what the corrected and the released rule read out of it, if anything.
        measures: of each metric.
        verdicts: what judges said: by kind, their probability of yes; None where the verdict made no sense.
    """

    text: str
    raw: str
    tokens: int
    finish_reason: str
    answer: Any = None
    answer_released: Any = None
    measures: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[str, float | None] | None = optional()
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True, slots=True)
class GeneratedExample:
    """An example of a benchmark whose answers the model writes; `completions`: one a strategy."""

    index: int
    question: str
    reference: Any = None
    group: str | None = None
    completions: tuple[Completion, ...] = ()
    extra: Mapping[str, Any] = unknown()


Examples = Sequence[ScoredExample] | Sequence[GeneratedExample]
