"""One JSON line a record, appended and on the disk before the next one is begun: see `record_lines`.

A line that a kill or a full disk cut short is the last one and is redone, which is told. Whatever else is
wrong with the file is an error: it is the user's only copy of hours of work, and nothing is guessed about it.
Nothing is written, cut or deleted before the file is known to be ours, and of the run that is gone on with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Generic

from filelock import FileLock, Timeout

from dola.errors import RunError
from dola.runs.manifest import check_same_run
from dola.runs.record_lines import Found, R, check_ours, header_of, line_of, read_journal, seal_of

_SUFFIX = ".records.jsonl"


class Records(Generic[R]):
    """The records of one output path, open for appending. Made by `open_journal`.

    Attributes:
        done: by their keys.
        remark: what is to be said of how they were found, a sentence; None where there is nothing.
    """

    def __init__(self, path: Path, stream: IO[bytes], found: Found[R]) -> None:
        self.path = path
        self.done = found.done
        self.remark: str | None = None
        self._stream = stream
        # Of a journal of before: it is sealed when it is first added to.
        self._seal = None if found.version else seal_of(found)
        if found.half:
            stream.truncate(found.end)
            self.remark = f"{path} ended in half a line, as a kill or a full disk leaves it: it is made again"

    def append(self, record: R) -> None:
        """Add a record; when this returns it is on the disk."""
        self._write((self._seal or b"") + line_of(asdict(record)))
        self._seal = None
        self.done[record.key] = record

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Write the first line."""
        self._write(header_of(manifest))

    def _write(self, lines: bytes) -> None:
        end = self._stream.seek(0, os.SEEK_END)
        rest = memoryview(lines)
        try:
            while rest:  # unbuffered: a nearly full disk takes a part, and says so at the next write
                rest = rest[self._stream.write(rest) :]
            os.fsync(self._stream.fileno())
        except OSError as error:  # a full disk's error does not know the file's name
            error.filename = str(self.path)
            with suppress(OSError):  # others may still append: half a line is read back as the last one only
                self._stream.truncate(end)
            raise


def records_path(output: Path) -> Path:
    return output.with_name(output.name + _SUFFIX)


@contextmanager
def open_journal(
    kind: type[R], output: Path, manifest: Mapping[str, Any], *, overwrite: bool = False
) -> Iterator[Records[R]]:
    """The records beside `output`, with what an earlier run of the same manifest left there.

    Raises:
        RunError: another process has them, they are another run's, or `output` is there without records.
        DataError: the file is not ours, damaged elsewhere than in its last line's end, or of a version that
            recorded something else.
    """
    path = records_path(output)
    with _locked(output):
        found = _found(kind, output, manifest, overwrite=overwrite)
        with path.open("ab", buffering=0) as stream:
            records = Records(path, stream, found)
            if found.manifest is None:
                records.begin(manifest)
            yield records


def recorded(kind: type[R], output: Path) -> dict[Any, R]:
    """The records beside `output` by their keys, where there are any. Reads only, also while others write.

    Raises:
        DataError: as `open_journal`.
    """
    path = records_path(output)
    return read_journal(kind, path).done if path.exists() else {}


def _found(kind: type[R], output: Path, manifest: Mapping[str, Any], *, overwrite: bool) -> Found[R]:
    """What there is to go on with; a file that is to be replaced is gone."""
    path = records_path(output)
    if path.exists():
        check_ours(path)
    if overwrite:
        path.unlink(missing_ok=True)
        return Found()
    empty = not path.exists() or path.stat().st_size == 0
    if empty and output.exists():
        raise RunError(
            f"{output} exists, without the records of a run that could be gone on with ({path.name});"
            " give another --output-path, or --overwrite to replace it"
        )
    if empty:
        return Found()
    return read_journal(
        kind, path, check=lambda recorded: check_same_run(recorded, manifest, where=str(path))
    )


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
