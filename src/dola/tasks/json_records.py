"""Read a benchmark's JSON file strictly: what is wrong with it is said with the line and the key.

Two forms: JSON Lines, one object a line, and one JSON list of objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import DataError
from dola.tasks.json_text import entries_of, json_of
from dola.tasks.text_files import bytes_of, text_of, unfit


@dataclass(frozen=True)
class Record:
    """One object.

    Attributes:
        line: where it starts, from 1.
        entry: its place in a list, from 1; None in a file of lines.
    """

    path: Path
    line: int
    entry: int | None
    fields: dict[str, Any]

    def error(self, key: str, message: str) -> DataError:
        place = "" if self.entry is None else f"entry {self.entry} of the list: "
        return DataError(place + message, path=self.path, line=self.line, column=key)

    def value(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        """The value of a key that must be there, and of this kind; `expected` says it in words.

        Raises:
            DataError: it is not.
        """
        if key not in self.fields:
            found = ", ".join(map(repr, list(self.fields)[:20])) or "none"
            raise self.error(key, f"there is no such key: expected {expected}; found the keys {found}")
        value = self.fields[key]
        # In Python a bool is an int; in JSON `true` is no number.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"expected {expected}, found {_shown(value)}")
        return value

    def text(self, key: str) -> str:
        """A text, as it stands.

        Raises:
            DataError: there is none, nothing but blanks in it, or what no tokenizer reads.
        """
        text: str = self.value(key, str, "a text")
        if not text.strip():
            raise self.error(key, "the text is empty: expected some")
        wrong = unfit(text)
        if wrong:
            raise self.error(key, wrong)
        return text


@dataclass(frozen=True)
class Records:
    """A whole file. `sha256`: of its bytes."""

    path: Path
    records: tuple[Record, ...]
    sha256: str


def read_json_lines(path: Path) -> Records:
    """Read a UTF-8 file of JSON lines; a byte-order mark and blank lines are skipped.

    Raises:
        DataError: no such file, an empty one, another encoding than UTF-8, a line that is no JSON object.
    """
    raw = bytes_of(path, "a file of JSON lines")
    text = _text_of(raw, path)
    # By line feeds alone: a text in JSON may hold the others that `splitlines` parts at.
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    records = tuple(Record(path, number, None, _object(line, path, number)) for number, line in lines)
    return Records(path, records, hashlib.sha256(raw).hexdigest())


def read_json_list(path: Path) -> Records:
    """Read a UTF-8 file that is one JSON list of objects.

    Raises:
        DataError: no such file, an empty one, another encoding than UTF-8, or no such list.
    """
    raw = bytes_of(path, "a JSON file")
    text = _text_of(raw, path)
    found = json_of(text, path)
    if not isinstance(found, list) or not found:
        raise DataError(f"expected a JSON list of objects, found {_shown(found)}", path=path, line=1)
    return Records(path, tuple(_entries(text, found, path)), hashlib.sha256(raw).hexdigest())


def _entries(text: str, found: list[Any], path: Path) -> Iterator[Record]:
    for number, (line, entry) in enumerate(entries_of(text, found), 1):
        if not isinstance(entry, dict):
            raise DataError(
                f"entry {number} of the list: expected a JSON object, found {_shown(entry)}",
                path=path,
                line=line,
            )
        yield Record(path, line, number, entry)


def _text_of(raw: bytes, path: Path) -> str:
    text = text_of(raw, path)
    if not text.strip():
        raise DataError("the file is empty: expected JSON", path=path)
    return text


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    found = json_of(line, path, number)
    if not isinstance(found, dict):
        raise DataError(f"expected a JSON object, found {_shown(found)}", path=path, line=number)
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
