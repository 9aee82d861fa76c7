"""One JSON line a record, appended and on the disk before the next one is begun.

    {"manifest": {...}}                                          the first line
    {"index": 0, "tokens": [3, 5], "scores": [[-9.8, -6.9]], "layers": [null], ...}

A line that a kill or a full disk cut short is the last one and is redone. Whatever else is wrong with the
file is an error: it is the user's only copy of hours of work, and nothing is guessed about it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, Protocol, Self, TypeVar

from filelock import FileLock, Timeout

from dola.errors import DataError, RunError
from dola.runs.manifest import check_same_run

_SUFFIX = ".records.jsonl"


class Recorded(Protocol):
    """A frozen dataclass that is one line of the file."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> Hashable:
        """What it is the record of: a second line with the same key takes the first one's place."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self: ...


R = TypeVar("R", bound=Recorded)


class Records(Generic[R]):
    """The records of one output path, open for appending. Made by `open_journal`."""

    def __init__(self, path: Path, stream: IO[bytes], done: dict[Any, R]) -> None:
        self.path = path
        self.done = done
        self._stream = stream

    def append(self, record: R) -> None:
        """Add a record; when this returns it is on the disk."""
        end = self._stream.seek(0, os.SEEK_END)
        try:
            _write_line(self._stream, asdict(record))
        except OSError as error:  # a full disk's error does not know the file's name
            error.filename = str(self.path)
            with suppress(OSError):  # others may still append: half a line is read back as the last one only
                self._stream.truncate(end)
            raise
        self.done[record.key] = record


def records_path(output: Path) -> Path:
    return output.with_name(output.name + _SUFFIX)


@contextmanager
def open_journal(
    kind: type[R], output: Path, manifest: Mapping[str, Any], *, overwrite: bool = False
) -> Iterator[Records[R]]:
    """The records beside `output`, with what an earlier run of the same manifest left there.

    Raises:
        RunError: another process has them, they are another run's, or `output` is there without records.
        DataError: the file is damaged elsewhere than at its end.
    """
    path = records_path(output)
    with _locked(output):
        if overwrite:
            path.unlink(missing_ok=True)
        elif output.exists() and not path.exists():
            raise RunError(
                f"{output} exists, without the records of a run that could be gone on with ({path.name});"
                " give another --output-path, or --overwrite to replace it"
            )
        with path.open("a+b", buffering=0) as stream:
            recorded, done = _read(kind, path, stream)
            if recorded is None:
                _write_line(stream, {"manifest": dict(manifest)})
            else:
                check_same_run(recorded, manifest, where=str(path))
            yield Records(path, stream, done)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    lock = FileLock(output.with_name(f".{output.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another process is writing {output}: wait for it, or give another --output-path"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _read(kind: type[R], path: Path, stream: IO[bytes]) -> tuple[dict[str, Any] | None, dict[Any, R]]:
    """The manifest and the records; the stream is left at the end of the last whole line."""
    stream.seek(0)
    content = stream.read()
    lines = content.split(b"\n")
    whole, rest = lines[:-1], lines[-1]
    if whole and not rest and _parsed(whole[-1]) is None:
        rest = whole.pop()
    kept = sum(len(line) + 1 for line in whole)
    if kept < len(content):
        stream.truncate(kept)
    stream.seek(0, os.SEEK_END)
    manifest, done = None, dict[Any, R]()
    for number, line in enumerate(whole, start=1):
        found = _parsed(line)
        try:
            if found is None:
                raise ValueError
            if number == 1:
                manifest = dict(found["manifest"])
            else:
                record = kind.from_json(found)
                done[record.key] = record
        except (KeyError, TypeError, ValueError):
            raise DataError(
                "not a record of dola: the file was changed or damaged; --overwrite starts anew",
                path=path,
                line=number,
            ) from None
    return manifest, done


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _line_of(value: Mapping[str, Any]) -> bytes:
    # A text out of JSON may hold half a character: its escape is what JSON takes for it.
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def _write_line(stream: IO[bytes], value: Mapping[str, Any]) -> None:
    rest = memoryview(_line_of(value))
    while rest:  # unbuffered: a nearly full disk takes a part, and says so at the next write
        rest = rest[stream.write(rest) :]
    os.fsync(stream.fileno())
