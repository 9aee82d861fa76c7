"""The smaller parts of a result: its settings, its strategies, and what tuning and judges added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dola.result.figures import Measure, PairedDifference
from dola.result.form import optional, unknown


@dataclass(frozen=True)
class Settings:
    """What a run is of, beside what its records depend on.

    Attributes:
        model: as it was given.
        data_source: what the data file is, in words; `data_rows`: how many rows all of it has.
        seed: of the bootstrap and of whatever is drawn.
        shard: `2 of 8`; None for a whole run.
    """

    task_title: str
    model: str
    data_source: str
    data_rows: int
    preset: str
    seed: int
    shard: str | None = None
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True)
class StrategyFigures:
    """One strategy that was run.

    Attributes:
        spec: resolved for the model, as `parse_strategy` reads it.
        layers: how many tokens each premature layer was chosen for; None where nothing is contrasted.
        released: what the released script writes for it; None for one that was run for a variant only.
    """

    spec: str
    layers: Mapping[str, int] | None
    released: Any = None
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True)
class Fold:
    """One half chose this; its mean there, and on the other half."""

    chosen: str
    on_own: float
    held_out: float
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True)
class Bucket:
    """One to choose from: its place in the table, its candidate layers, and what to paste to use it."""

    row: int
    layers: tuple[int, ...]
    flag: str
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True)
class Tuning:
    """A choice by two-fold validation.

    Attributes:
        chosen: the row to take, by its label; `flag`: what to paste to use it.
        agree: whether both halves chose it; `verdict`: all of it in words.
        held_out: the mean of all examples, each with what the other half chose; `difference`: from vanilla.
        static: the row of each static layer.
    """

    metric: str
    chosen: str
    flag: str
    agree: bool
    verdict: str
    folds: tuple[Fold, ...]
    held_out: Measure
    difference: PairedDifference
    buckets: tuple[Bucket, ...]
    static: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True)
class JudgeName:
    """A judge: as it was given, and how and where it was asked, and which weights it is."""

    name: str
    asked: str
    extra: Mapping[str, Any] = unknown()


@dataclass(frozen=True)
class RatedBy:
    """Who rated the answers, by kind; `malformed`: verdicts that made no sense."""

    judges: Mapping[str, JudgeName]
    threshold: float | None = optional()
    malformed: int = 0
    findings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = unknown()
