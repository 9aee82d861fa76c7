"""A line of a journal: a JSON object that ends with a checksum of itself; what a file of such lines holds.

    {"manifest": {...}, "journal": 1, "crc32": "5f0c0a41"}        the first line
    {"index": 0, "tokens": [3, 5], ..., "crc32": "9f3a01c7"}

The checksum is of all that stands before it, so whatever bit of a line is flipped, line and checksum no
longer fit. Files of before have none (`journal` 0): they are read, and when one is gone on with, a line
`{"journal": 1, "above": ...}` seals what they hold, and all lines after it have checksums.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from dola.errors import DataError
from dola.result.cycles import no_search_for_cycles

JOURNAL = 1
# How every journal begins, of whatever version: what begins otherwise is not ours to change.
_OPENING = b'{"manifest": {"task": "'
_CHECKSUM = re.compile(rb', "crc32": "([0-9a-f]{8})"\}\Z')


class Recorded(Protocol):
    """A frozen dataclass that is one line of the file."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> Hashable:
        """What it is the record of: a second line with the same key takes the first one's place."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """
        Raises:
            DataError: of a version that recorded something else.
        """


R = TypeVar("R", bound=Recorded)


@dataclass
class Found(Generic[R]):
    """What a journal holds.

    Attributes:
        manifest: None where there is no whole first line.
        version: of the journal: from 1 on every further line has a checksum.
        end: where the last whole line ends, in bytes; what is beyond is half a line, which a kill or a full
            disk left.
        above: CRC-32 of all bytes up to there.
        half: that half line is there.
    """

    manifest: dict[str, Any] | None = None
    done: dict[Any, R] = field(default_factory=dict)
    version: int = JOURNAL
    end: int = 0
    above: int = 0
    half: bool = False


def line_of(value: Mapping[str, Any]) -> bytes:
    """The line of an object that has a key at least."""
    # A text out of JSON may hold half a character: its escape is what JSON takes for it.
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")[:-1]
    return b'%s, "crc32": "%08x"}\n' % (text, zlib.crc32(text))


def header_of(manifest: Mapping[str, Any]) -> bytes:
    """A journal's first line."""
    return line_of({"manifest": dict(manifest), "journal": JOURNAL})


def seal_of(found: Found[Any]) -> bytes:
    """The line that makes a journal of before one whose every line has a checksum."""
    return line_of({"journal": JOURNAL, "above": f"{found.above:08x}"})


def check_ours(path: Path) -> None:
    """See that a file may be written to or replaced: it is empty, or begins as a journal does.

    Raises:
        DataError: it is something else.
    """
    with path.open("rb") as stream:
        begin = stream.read(len(_OPENING))
    if not _OPENING.startswith(begin):
        raise DataError(
            "begins otherwise than records of dola, and is left as it is; move it away, or give another"
            " --output-path",
            path=path,
            line=1,
        )


@no_search_for_cycles()
def read_journal(
    kind: type[R], path: Path, *, check: Callable[[dict[str, Any]], None] = lambda _: None
) -> Found[R]:
    """All whole lines of a journal. Reads only.

    `check` is given the manifest before any record is read, which of another run may be of another kind.

    Raises:
        DataError: another file, a damaged one, or one of a version that recorded something else.
    """
    check_ours(path)
    found = Found[R]()
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                if _is_half(line):
                    found.half = True
                    break
                _take(kind, found, _checked(line), first=number == 1)
                if number == 1 and found.manifest is not None:
                    check(found.manifest)
            except DataError as error:
                raise DataError(error.message, path=path, line=number) from None
            except (KeyError, TypeError, ValueError):
                raise DataError(
                    "not a record as dola wrote it: the file was changed or damaged, and nothing is guessed;"
                    " bring back a copy, or start anew with --overwrite",
                    path=path,
                    line=number,
                ) from None
            found.above = zlib.crc32(line, found.above)
            found.end += len(line)
    return found


def _is_half(line: bytes) -> bool:
    """Whether it is the beginning of a line alone.

    Raises:
        ValueError: it is no beginning of ours, or all of a line whose end was changed.
    """
    if line.endswith(b"\n"):
        return False
    if not line.startswith(b"{") or _fits(line[:-1]):
        raise ValueError
    return True


def _fits(line: bytes) -> bool | None:
    """Whether a line without its end fits its checksum; None where it has none."""
    given = _CHECKSUM.search(line, max(0, len(line) - 32))
    return given and zlib.crc32(memoryview(line)[: given.start()]) == int(given[1], 16)


def _checked(line: bytes) -> dict[str, Any]:
    """The line's object; it has the key `crc32` where its checksum was there, and right.

    Raises:
        ValueError: damaged.
    """
    found = json.loads(line)
    if not isinstance(found, dict) or _fits(line[:-1]) is not (True if "crc32" in found else None):
        raise ValueError
    return found


def _take(kind: type[R], found: Found[R], line: Mapping[str, Any], *, first: bool) -> None:
    """Add what a line says."""
    if first:
        found.manifest = dict(line["manifest"])
        found.version = _version(line)
    elif found.version and "crc32" not in line:
        raise ValueError
    elif not found.version and "journal" in line:
        if int(line["above"], 16) != found.above:
            raise DataError(
                "what stands above this line was changed since it was recorded, and nothing is guessed; bring"
                " back a copy, or start anew with --overwrite"
            )
        found.version = _version(line)
    else:
        record = kind.from_json(line)
        found.done[record.key] = record


def _version(line: Mapping[str, Any]) -> int:
    """
    Raises:
        ValueError: damaged: with a version there is a checksum, and without one there is none.
        DataError: a newer one.
    """
    version = int(line.get("journal", 0))
    if bool(version) is not ("crc32" in line):
        raise ValueError
    if version > JOURNAL:
        raise DataError(f"a journal of version {version}; this dola knows {JOURNAL}: take a newer one")
    return version
