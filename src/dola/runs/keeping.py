"""Where a run's records are kept: in a journal beside the output, or, where there is none, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dola.runs.journal import open_journal
from dola.runs.record_lines import Recorded

R = TypeVar("R", bound=Recorded)


class Kept(Protocol[R]):
    """The records so far, by their keys; whoever makes one adds it."""

    @property
    def done(self) -> dict[Any, R]: ...

    @property
    def remark(self) -> str | None:
        """What there is to be told of those of before; mostly nothing."""

    def append(self, record: R) -> None: ...


class InMemory:
    """Records that are gone with the process."""

    remark: str | None = None

    def __init__(self) -> None:
        self.done: dict[Any, Any] = {}

    def append(self, record: Any) -> None:
        self.done[record.key] = record


@contextmanager
def kept(
    kind: type[R], output: Path | None, manifest: Mapping[str, Any], *, overwrite: bool
) -> Iterator[Kept[R]]:
    """The records of a run with this manifest: those of before beside `output`, or none yet.

    Raises:
        RunError, DataError: as `open_journal`.
    """
    if output is None:
        yield InMemory()
        return
    with open_journal(kind, output, manifest, overwrite=overwrite) as records:
        yield records
