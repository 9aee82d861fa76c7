"""What scoring one example gave, a line of the records beside the output."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import DataError
from dola.runs.journal import Records, open_journal, records_path

__all__ = ["Record", "Records", "open_records", "records_path"]


@dataclass(frozen=True, slots=True)
class Record:
    """What scoring one example gave.

    Attributes:
        tokens: of each continuation.
        prefix: of each continuation, whether the prompt's tokens are a prefix of the joint ones.
        truncated: prompt tokens that were cut on the left.
        scores: `[strategy][continuation]`, sums of token scores.
        layers: of each strategy, how many tokens each premature layer was chosen for; None: not contrasted.
        left_out: candidates that held NaN or infinity and were left out of that choice, all strategies
            together.
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
        check_recorded_alike(found)
        return cls(
            index=int(found["index"]),
            tokens=tuple(found["tokens"]),
            prefix=tuple(found["prefix"]),
            truncated=int(found["truncated"]),
            scores=tuple(tuple(scores) for scores in found["scores"]),
            layers=tuple(found["layers"]),
            left_out=int(found["left_out"]),
        )


def check_recorded_alike(found: Mapping[str, Any]) -> None:
    """See that scores and texts came about as they do now. Before candidates were counted that are left out,
    a token that a strategy rules out lay elsewhere, and half precision was added up otherwise; the manifests
    of that time, which name no versions, do not say so.

    Raises:
        DataError: they did not.
    """
    if "left_out" not in found:
        raise DataError(
            "recorded by a version of dola whose scores and texts were others (left_out is not counted): give"
            " another --output-path, or --overwrite to start anew"
        )


def open_records(
    output: Path, manifest: Mapping[str, Any], *, overwrite: bool = False
) -> AbstractContextManager[Records[Record]]:
    """A scoring run's records: see `open_journal`."""
    return open_journal(Record, output, manifest, overwrite=overwrite)
