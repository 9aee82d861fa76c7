"""What training a judge is given, by this command and by the two ways to train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dola.judges.training_data import JudgeExample, Split, TrainingData


@dataclass(frozen=True)
class DataOptions:
    """What a judge is trained and measured on."""

    data_path: Path | None
    held_out: float
    split_seed: int
    max_examples: int | None
    max_held_out: int | None


@dataclass(frozen=True)
class LoraOptions:
    """How a model on this machine is trained."""

    epochs: float
    rank: int
    learning_rate: float
    batch_size: int
    max_length: int
    seed: int
    threads: int | None


@dataclass(frozen=True)
class HostedOptions:
    """How a model at an endpoint is trained."""

    endpoint_model: str | None
    suffix: str | None
    wait: bool
    measure: bool


@dataclass(frozen=True)
class Material:
    """The data, its two sides, and what of each is used."""

    data: TrainingData
    options: DataOptions
    split: Split
    train: tuple[JudgeExample, ...]
    held_out: tuple[JudgeExample, ...]
