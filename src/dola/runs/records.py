"""One JSON line an example, appended and on the disk before the next one is begun.

    {"manifest": {...}}                                          the first line
    {"index": 0, "tokens": [3, 5], "scores": [[-9.8, -6.9]], "layers": [null], ...}

A line that a kill or a full disk cut short is the last one and is redone. Whatever else is wrong with the
file is an error: it is the user's only copy of hours of work, and nothing is guessed about it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from dola.errors import DataError, RunError
from dola.runs.manifest import check_same_run

_SUFFIX = ".records.jsonl"


@dataclass(frozen=True)
class Record:
    """What scoring one example gave.

    Attributes:
        tokens: of each continuation.
        prefix: of each continuation, whether the prompt's tokens are a prefix of the joint ones.
        truncated: prompt tokens that were cut on the left.
        scores: `[strategy][continuation]`, sums of token scores.
        layers: of each strategy, how many tokens each premature layer was chosen for; None: not contrasted.
    """

    index: int
    tokens: tuple[int, ...]
    prefix: tuple[bool, ...]
    truncated: int
    scores: tuple[tuple[float, ...], ...]
    layers: tuple[dict[str, int] | None, ...]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Record:
        return cls(
            index=int(found["index"]),
            tokens=tuple(found["tokens"]),
            prefix=tuple(found["prefix"]),
            truncated=int(found["truncated"]),
            scores=tuple(tuple(scores) for scores in found["scores"]),
            layers=tuple(found["layers"]),
        )


class Records:
    """The records of one output path, open for appending. Made by `open_records`."""

    def __init__(self, path: Path, stream: IO[bytes], done: dict[int, Record]) -> None:
        self.path = path
        self.done = done
        self._stream = stream

    def append(self, record: Record) -> None:
        """Add a record; when this returns it is on the disk."""
        try:
            _write_line(self._stream, asdict(record))
        except OSError as error:  # a full disk's error does not know the file's name
            error.filename = str(self.path)
            raise
        self.done[record.index] = record


def records_path(output: Path) -> Path:
    return output.with_name(output.name + _SUFFIX)


@contextmanager
def open_records(output: Path, manifest: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[Records]:
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
            recorded, done = _read(path, stream)
            if recorded is None:
                _write_line(stream, {"manifest": dict(manifest)})
            else:
                check_same_run(recorded, manifest, where=str(path))
            yield Records(path, stream, done)


def recorded_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest that records beside `output` were made under; None where there are none."""
    path = records_path(output)
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        first = stream.readline()
    return json.loads(first)["manifest"] if first.endswith(b"\n") else None


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


def _read(path: Path, stream: IO[bytes]) -> tuple[dict[str, Any] | None, dict[int, Record]]:
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
    manifest, done = None, {}
    for number, line in enumerate(whole, start=1):
        found = _parsed(line)
        try:
            if found is None:
                raise ValueError
            if number == 1:
                manifest = dict(found["manifest"])
            else:
                done[int(found["index"])] = Record.from_json(found)
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


def _write_line(stream: IO[bytes], value: Mapping[str, Any]) -> None:
    rest = memoryview(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    while rest:  # unbuffered: a nearly full disk takes a part, and says so at the next write
        rest = rest[stream.write(rest) :]
    os.fsync(stream.fileno())
