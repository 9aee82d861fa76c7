"""Read a benchmark's CSV file strictly: what is wrong with it is said with the line and the column.

The standard library's reader, since it keeps count of lines; a data frame would guess at types (an answer
`None` or `NA` is an answer, not a gap) and forget where a row came from.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dola.errors import DataError
from dola.tasks.text_files import bytes_of, refuse_utf16, unfit

_LIMIT = threading.Lock()
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Row:
    """One record: `line` is where it starts, counted from 1 as editors do."""

    path: Path
    line: int
    cells: dict[str, str]

    def error(self, column: str, message: str) -> DataError:
        return DataError(message, path=self.path, line=self.line, column=column)

    def text(self, column: str) -> str:
        """The cell as it stands.

        Raises:
            DataError: nothing but blanks in it.
        """
        cell = self.cells[column]
        if not cell.strip():
            raise self.error(column, "the cell is empty: expected some text")
        return cell


@dataclass(frozen=True)
class Table:
    """A whole file, checked as far as CSV goes; empty lines are skipped, as pandas does.

    Attributes:
        sha256: of the file's bytes.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    sha256: str

    def require(self, columns: Sequence[str]) -> None:
        """Raise a DataError unless the header has all of `columns`, each once."""
        for column in columns:
            count = self.columns.count(column)
            if count != 1:
                found = ", ".join(repr(name) for name in self.columns[:20])
                alike = [name for name in self.columns if name != column and name.lower() == column.lower()]
                what = "there is no such column" if count == 0 else f"the header names it {count} times"
                if alike and not count:
                    what += f" (the header spells it {alike[0]!r}: write {column!r})"
                raise DataError(
                    f"{what}; expected {', '.join(map(repr, columns))}; found {found}",
                    path=self.path,
                    line=1,
                    column=column,
                )


def read_table(path: Path) -> Table:
    """Read a UTF-8 CSV file with a header; a byte-order mark is skipped.

    Raises:
        DataError: no such file, an empty one, one without rows, NUL bytes, another encoding than UTF-8,
            quoting that does not close, a row with more or fewer cells than the header.
    """
    raw = bytes_of(path, "a CSV file")
    text = _text_of(raw, path)
    with _cells_of_any_length(text):
        records = _records(text, path)
        _, header = next(records)
        columns = tuple(name.strip() for name in header)
        rows = tuple(_row(path, line, columns, cells) for line, cells in records)
    if not rows:
        raise DataError("the file has a header and no row below it", path=path, line=1)
    return Table(path, columns, rows, hashlib.sha256(raw).hexdigest())


def _text_of(raw: bytes, path: Path) -> str:
    """The bytes as text; a byte that is not UTF-8 becomes a surrogate, for `_row` to say in which cell."""
    refuse_utf16(raw, path, "save it as 'CSV UTF-8'")
    text = str(raw, "utf-8-sig", errors="surrogateescape")
    if not text.strip():
        raise DataError("the file is empty: expected a CSV file with a header", path=path)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError("a NUL byte: expected text, so the file is damaged or no CSV", path=path, line=line)
    return text


@contextmanager
def _cells_of_any_length(text: str) -> Iterator[None]:
    """The reader's limit is one for the process, and 131,072 characters unless somebody says otherwise."""
    with _LIMIT:
        before = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _records(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it starts on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"bad CSV quoting in the row that starts here ({error}, met on line {reader.line_num}): "
                'expected a cell with a comma, a quote or a line break in it to stand in "double quotes", '
                "and a quote inside to be doubled",
                path=path,
                line=start,
            ) from None
        if cells:
            yield start, cells


def _row(path: Path, line: int, columns: tuple[str, ...], cells: list[str]) -> Row:
    if len(cells) != len(columns):
        raise DataError(
            f"expected {len(columns)} cells, as in the header, found {len(cells)}: "
            "is a quote or a comma missing, or one too many?",
            path=path,
            line=line,
        )
    row = Row(path, line, dict(zip(columns, cells, strict=True)))
    for column, cell in zip(columns, cells, strict=True):
        wrong = _NOT_UTF8.search(cell)
        if wrong:
            byte = ord(wrong.group()) - 0xDC00
            raise row.error(
                column,
                f"the byte 0x{byte:02X} is not UTF-8 (Windows-1252?): save the file as UTF-8",
            )
        unreadable = unfit(cell)
        if unreadable:
            raise row.error(column, unreadable)
    return row
