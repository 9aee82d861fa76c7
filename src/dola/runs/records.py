"""What scoring one example gave, a line of the records beside the output."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.runs.journal import Records, open_journal, records_path

__all__ = ["Record", "Records", "open_records", "records_path"]


@dataclass(frozen=True)
class Record:
    """What scoring one example gave.

    Attributes:
        tokens: of each continuation.
        prefix: of each continuation, whether the prompt's tokens are a prefix of the joint ones.
        truncated: prompt tokens that were cut on the left.
        scores: `[strategy][continuation]`, sums of token scores.
        layers: of each strategy, how many tokens each premature layer was chosen for; None: not contrasted.
        left_out: candidates that held NaN or infinity and were left out of that choice, all strategies
            together. Records of earlier versions lack it.
    """

    index: int
    tokens: tuple[int, ...]
    prefix: tuple[bool, ...]
    truncated: int
    scores: tuple[tuple[float, ...], ...]
    layers: tuple[dict[str, int] | None, ...]
    left_out: int = 0

    @property
    def key(self) -> int:
        return self.index

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Record:
        return cls(
            index=int(found["index"]),
            tokens=tuple(found["tokens"]),
            prefix=tuple(found["prefix"]),
            truncated=int(found["truncated"]),
            scores=tuple(tuple(scores) for scores in found["scores"]),
            layers=tuple(found["layers"]),
            left_out=int(found.get("left_out", 0)),
        )


def open_records(
    output: Path, manifest: Mapping[str, Any], *, overwrite: bool = False
) -> AbstractContextManager[Records[Record]]:
    """A scoring run's records: see `open_journal`."""
    return open_journal(Record, output, manifest, overwrite=overwrite)
