"""The file TruthfulQA.csv and its two versions, which share the name and most questions, but not the figures.

The paper's has 817 questions. In January 2025 the authors replaced it on their main branch by one of 790,
with some answers mended and the column `Best Incorrect Answer` added.
"""

from __future__ import annotations

from pathlib import Path

from dola.errors import DataError, DolaError
from dola.tasks.csv_rows import Row, Table, read_table
from dola.tasks.fetch import fetch
from dola.tasks.sources import TRUTHFULQA
from dola.tasks.text_files import file_in

COLUMNS = ("Question", "Best Answer", "Correct Answers", "Incorrect Answers")

VERSIONS = {"paper": "the paper's 817 questions", "2025": "the revision of January 2025 with 790 questions"}
_COLUMN_OF_2025 = "Best Incorrect Answer"
_ROWS = {817: "paper", 790: "2025"}
_FILE_NAMES = {"paper": ("TruthfulQA.csv",), "2025": ("TruthfulQA-2025.csv", "TruthfulQA.csv")}


def read_truthfulqa(data_path: Path | None = None, *, version: str | None = None) -> tuple[Table, str]:
    """The table in the version asked for (`paper` unless said otherwise), and what it is, in words.

    Raises:
        DataError: malformed data, a file of the other version, or a failed download.
        DolaError: no such version.
    """
    wanted = "paper" if version is None else version
    if wanted not in VERSIONS:
        known = ", ".join(f"{name} ({what})" for name, what in VERSIONS.items())
        raise DolaError(f"TruthfulQA has no data version {version!r}; there are: {known}")
    path = (
        fetch(TRUTHFULQA[wanted], option="--data-path")
        if data_path is None
        else file_in(data_path, _FILE_NAMES[wanted])
    )
    table = read_table(path)
    table.require(COLUMNS)
    _check_version(table, wanted)
    for row in table.rows:
        _refuse_line_breaks(row)
    if table.sha256 == TRUTHFULQA[wanted].sha256:
        return table, TRUTHFULQA[wanted].title
    return table, f"{path.name}: {len(table.rows)} rows, not the pinned file of {VERSIONS[wanted]}"


def _check_version(table: Table, wanted: str) -> None:
    """The column tells the versions apart; the number of rows, a file that lost it or was given it."""
    by_column = "2025" if _COLUMN_OF_2025 in table.columns else "paper"
    found = next((v for v in (by_column, _ROWS.get(len(table.rows), wanted)) if v != wanted), wanted)
    if found != wanted:
        has = "has the column" if by_column == "2025" else "has no column"
        raise DataError(
            f"expected {VERSIONS[wanted]}, found {VERSIONS[found]} ({len(table.rows)} rows, {has} "
            f"{_COLUMN_OF_2025!r}): say --data-version {found}, or give the other file",
            path=table.path,
        )


def _refuse_line_breaks(row: Row) -> None:
    """No cell of either version has one; a quote that is not closed where it should be gives one."""
    for column in COLUMNS:
        if "\n" in row.cells[column] or "\r" in row.cells[column]:
            raise row.error(column, "a line break in the cell: is the quote that opens it closed?")
