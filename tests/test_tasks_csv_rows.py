"""A malformed file is refused with the line and the column where that shows, and what was expected there."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dola.errors import DataError
from dola.tasks.csv_rows import read_table
from dola.tasks.factor import Factor
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC

DATA = Path(__file__).parent / "data"
HEADER = "Category,Question,Best Answer,Correct Answers,Incorrect Answers\n"
ROW = "Animals,Is a bat a bird?,No,No; It is a mammal,Yes; It flies\n"
GOOD = (HEADER + ROW + ROW).encode()


def tfqa_mc() -> TruthfulQAMC:
    return TruthfulQAMC(load_demonstrations("tfqa", DATA / "prompts"))


def refusal(tmp_path: Path, content: bytes) -> DataError:
    """How the TruthfulQA file of these bytes is refused."""
    path = tmp_path / "TruthfulQA.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        tfqa_mc().load(path)
    assert caught.value.path == path
    return caught.value


def test_the_file_that_the_others_here_are_spoilt_from_is_good(tmp_path: Path) -> None:
    path = tmp_path / "TruthfulQA.csv"
    path.write_bytes(GOOD)
    assert len(tfqa_mc().load(path).examples) == 2


# name: (bytes, line, column, what the message must say)
MALFORMED = {
    "no column": (GOOD.replace(b"Best Answer", b"Best"), 1, "Best Answer", "no such column"),
    "another case": (GOOD.replace(b"Best Answer", b"best answer"), 1, "Best Answer", "spells it 'best"),
    "a cell of megabytes": (GOOD.replace(b"a mammal", b"a" * 10_000_001), 2, "Correct Answers", "10,000,0"),
    "column twice": (GOOD.replace(b"Category", b"Question"), 1, "Question", "2 times"),
    "no question": (GOOD.replace(b"Is a bat a bird?", b" ", 1), 2, "Question", "empty"),
    "no correct answers": (GOOD.replace(b"No; It is a mammal", b""), 2, "Correct Answers", "empty"),
    "only semicolons": (GOOD.replace(b"Yes; It flies", b" ; ;"), 2, "Incorrect Answers", "semicolons"),
    "best not correct": ((HEADER + ROW.replace("?,No", "?,Maybe")).encode(), 2, "Best Answer", "'Maybe.'"),
    "no best answer": (GOOD.replace(b"?,No,", b"?,,"), 2, "Best Answer", "empty"),
    "too few cells": ((HEADER + ROW + "Animals,Is it?\n").encode(), 3, None, "expected 5 cells"),
    "too many cells": ((HEADER + ROW + ROW.replace(";", ",")).encode(), 3, None, "found 7"),
    "quote not closed": ((HEADER + ROW.replace("No; It", '"No; It') + ROW).encode(), 2, None, "quoting"),
    "quote closed too early": ((HEADER + ROW.replace("No; It", '"No"; It')).encode(), 2, None, "quoting"),
    "rows swallowed": (
        (HEADER + ROW + 'Animals,Is it?,No,"No,Yes\nAnimals,Is it?,No,No",Yes\n').encode(),
        3,
        "Correct Answers",
        "line break",
    ),
    "cp1252": (GOOD.replace(b"a mammal", b"a \x93mammal\x94"), 2, "Correct Answers", "0x93"),
    "cp1252 below blanks": (b"\n\n" + GOOD.replace(b"It flies", b"Caf\xe9"), 4, "Incorrect Answers", "0xE9"),
    "utf-16": (GOOD.decode().encode("utf-16"), 1, None, "UTF-16"),
    "NUL": (GOOD.replace(b"flies", b"fl\0es", 1), 2, None, "NUL"),
    "empty": (b"", None, None, "empty"),
    "only a byte-order mark": (b"\xef\xbb\xbf\n", None, None, "empty"),
    "header only": (HEADER.encode(), 1, None, "no row"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    content, line, column, said = MALFORMED[case]
    error = refusal(tmp_path, content)
    assert (error.line, error.column) == (line, column)
    assert said in error.message


def test_the_line_is_the_one_an_editor_shows_whatever_the_cells_above_span(tmp_path: Path) -> None:
    expert = (DATA / "factor" / "expert_factor.csv").read_text(encoding="utf-8")
    path = tmp_path / "expert_factor.csv"
    path.write_text(expert.replace("Then stir in as much flour as water.", ""), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        Factor().load(path)
    line_of_second = next(i for i, line in enumerate(expert.splitlines(), 1) if line.startswith("1,"))
    assert line_of_second > 3  # the first example's cells hold line breaks
    assert (caught.value.line, caught.value.column) == (line_of_second, "completion")


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_every_line_ending_reads_the_same(ending: bytes, tmp_path: Path) -> None:
    path = tmp_path / "TruthfulQA.csv"
    path.write_bytes(GOOD.replace(b"\n", ending))
    rows = read_table(path).rows
    assert [row.line for row in rows] == [2, 3]
    assert rows[0].cells["Incorrect Answers"] == "Yes; It flies"


def test_a_long_cell_is_read_and_the_readers_limit_left_as_it_was(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)
    path = tmp_path / "TruthfulQA.csv"
    path.write_bytes(GOOD.replace(b"flies", b"flies " * 40_000))
    assert len(read_table(path).rows[0].cells["Incorrect Answers"]) > 200_000
    assert csv.field_size_limit() == 131_072


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "TruthfulQA.csv"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD)
    assert read_table(path).columns[0] == "Category"


def test_a_word_that_a_data_frame_takes_for_a_gap_is_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "TruthfulQA.csv"
    path.write_bytes((HEADER + "Sums,What is left of 2 - 2?,None,None,NA; null\n").encode())
    (example,) = tfqa_mc().load(path).examples
    assert (example.true_answers, example.false_answers) == (("None.",), ("NA.", "null."))


@pytest.mark.parametrize("task", [tfqa_mc(), Factor()], ids=["tfqa-mc", "factor"])
def test_a_folder_without_the_file_is_refused_with_the_name_it_should_have(
    task: TruthfulQAMC | Factor, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"(TruthfulQA|expert_factor)\.csv.* in this folder"):
        task.load(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        task.load(tmp_path / "missing.csv")
