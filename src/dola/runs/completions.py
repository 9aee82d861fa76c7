"""What one example's completion by one strategy is, a line of the records beside the output."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dola.runs.journal import Records, open_journal
from dola.runs.records import check_recorded_alike


@dataclass(frozen=True)
class Completion:
    """What an executor hands over: plain values, so that a worker elsewhere can send it.

    Attributes:
        text: the new text, cut before the first stop string.
        raw: with the stop string, and what came with it, left in.
        tokens: how many were generated.
        finish_reason: `stop` (end of sequence or a stop string) or `length`.
        layers: how many tokens each premature layer was chosen for; None: not contrasted.
        left_out: candidates that held NaN or infinity and were left out of that choice.
        seconds: waited for it after the one before it. Rows of a batch come together, so only sums of these
            mean something. None where the executor does not know.
    """

    text: str
    raw: str
    tokens: int
    prompt_tokens: int
    finish_reason: str
    layers: dict[str, int] | None
    seconds: float | None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """A completion that is kept.

    Attributes:
        strategy: its place among those that generate.
        layers, left_out: of all attempts, as the released script counts; everything else is of the last one.
        attempts: how often it was generated: more than once only with `--retry`.
    """

    index: int
    strategy: int
    text: str
    raw: str
    tokens: int
    prompt_tokens: int
    finish_reason: str
    layers: dict[str, int] | None
    attempts: int
    seconds: float | None
    left_out: int = 0

    @property
    def key(self) -> tuple[int, int]:
        return self.index, self.strategy

    @classmethod
    def of(cls, index: int, strategy: int, completion: Completion, *, attempts: int) -> GenerationRecord:
        return cls(index=index, strategy=strategy, attempts=attempts, **asdict(completion))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> GenerationRecord:
        check_recorded_alike(found)
        layers, seconds = found["layers"], found["seconds"]
        return cls(
            index=int(found["index"]),
            strategy=int(found["strategy"]),
            text=str(found["text"]),
            raw=str(found["raw"]),
            tokens=int(found["tokens"]),
            prompt_tokens=int(found["prompt_tokens"]),
            finish_reason=str(found["finish_reason"]),
            layers=None if layers is None else {str(layer): int(count) for layer, count in layers.items()},
            attempts=int(found["attempts"]),
            seconds=None if seconds is None else float(seconds),
            left_out=int(found["left_out"]),
        )


def open_completions(
    output: Path, manifest: Mapping[str, Any], *, overwrite: bool = False
) -> AbstractContextManager[Records[GenerationRecord]]:
    """A generation run's records: see `open_journal`."""
    return open_journal(GenerationRecord, output, manifest, overwrite=overwrite)
