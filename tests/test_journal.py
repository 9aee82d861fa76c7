"""A journal is what its undisturbed run would have written, or it is refused: cut, flipped, foreign, read."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dola.errors import DataError, RunError
from dola.runs.completions import GenerationRecord, open_completions
from dola.runs.journal import records_path
from dola.runs.record_lines import JOURNAL, line_of, read_journal
from dola.runs.records import Record, open_records
from dola.runs.verdicts import Asked, Verdict, open_verdicts, recorded_verdicts

MANIFEST = {"task": "gsm8k", "model": "m", "rows": "0 to 2, 3 of 3"}
OF_SCORES = {"task": "factor", "model": "m"}

texts = st.text(st.characters(exclude_categories=[]), max_size=12)  # half characters too
completions = st.builds(
    GenerationRecord,
    index=st.integers(0, 5),
    strategy=st.integers(0, 1),
    text=texts,
    raw=texts,
    tokens=st.integers(0, 9),
    prompt_tokens=st.integers(0, 9),
    finish_reason=st.sampled_from(["stop", "length"]),
    layers=st.none() | st.dictionaries(st.sampled_from(["0", "2"]), st.integers(0, 9)),
    attempts=st.integers(1, 3),
    seconds=st.none() | st.floats(0, 10),
)


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    with mock.patch("os.fsync"):
        yield


runs = st.lists(completions, max_size=4, unique_by=lambda record: record.key)


def journal(output: Path, records: list[GenerationRecord]) -> bytes:
    """What a run leaves that adds what is missing of these, in their order."""
    with open_completions(output, MANIFEST) as found:
        for record in records:
            if record.key not in found.done:
                found.append(record)
    return records_path(output).read_bytes()


def scores(index: int) -> Record:
    return Record(
        index, (3, 5), (True, False), 0, ((-1.5, float("-inf")), (0.1 + 0.2, 2.0)), (None, {"2": 8})
    )


def journal_of_scores(output: Path, count: int = 3) -> bytes:
    with open_records(output, OF_SCORES) as records:
        for index in range(count):
            if index not in records.done:
                records.append(scores(index))
    return records_path(output).read_bytes()


def left_alone(output: Path, content: bytes, said: str, **options: bool) -> None:
    """The file is refused in one line that names it and its line, and is byte for byte what it was."""
    path = records_path(output)
    path.write_bytes(content)
    with pytest.raises((DataError, RunError), match=said) as told, open_records(output, OF_SCORES, **options):
        pass
    assert path.read_bytes() == content
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)


@given(runs, st.data())
def test_any_beginning_of_a_journal_gone_on_with_is_the_undisturbed_one(
    records: list[GenerationRecord], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        whole = journal(Path(folder) / "whole", records)
        cut = data.draw(st.integers(0, len(whole)))
        part = Path(folder) / "part"
        records_path(part).write_bytes(whole[:cut])
        assert journal(part, records) == whole
        with open_completions(part, MANIFEST) as found:
            assert list(found.done.values()) == records
            assert found.remark is None


def test_every_beginning_of_a_journal_is_gone_on_with(tmp_path: Path) -> None:
    whole = journal_of_scores(tmp_path / "whole", 1)
    for cut in range(len(whole)):
        part = tmp_path / "part"
        records_path(part).write_bytes(whole[:cut])
        with open_records(part, OF_SCORES) as records:
            assert bool(records.remark) == (cut > 0 and not whole[:cut].endswith(b"\n"))
        assert journal_of_scores(part, 1) == whole


def test_a_bit_that_is_flipped_anywhere_is_found(tmp_path: Path) -> None:
    """Every one of them: in a manifest, a record, a checksum, a line's end."""
    whole = journal_of_scores(tmp_path / "whole", 1)
    path = records_path(tmp_path / "flipped")
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(DataError, match=r"jsonl:[12]: "):
                read_journal(Record, path)


def test_a_bit_that_is_flipped_after_the_seal_of_a_file_of_before_is_found(tmp_path: Path) -> None:
    folder = Path(__file__).parent / "data" / "records"
    shutil.copy(records_path(folder / "scoring"), tmp_path)
    output = tmp_path / "scoring"
    path = records_path(output)
    from test_runs_versions import scoring

    manifest = scoring().manifest
    with open_records(output, manifest) as records:
        records.append(scores(7))
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match=r"jsonl:\d: "):
            read_journal(Record, path)


@pytest.mark.parametrize(
    "content",
    [
        b"the only copy of a thesis\n",
        b"the only copy of a thesis",
        b'{"some": "json"}\n',
        b'{"some": "json"}',
        b'{"manifest": "of a ship"}\n',
        b"{}\n",
        b"\n",
        b"\0" * 4096,
        b"PK\x03\x04\n",
        '{"index": 0}\n'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_somebody_else_is_neither_cut_nor_written_to_nor_replaced(
    tmp_path: Path, content: bytes, *, overwrite: bool
) -> None:
    left_alone(
        tmp_path / "o", content, r"jsonl:1: begins otherwise than records of dola", overwrite=overwrite
    )


def test_half_a_line_of_another_runs_records_is_not_cut(tmp_path: Path) -> None:
    output = tmp_path / "o"
    content = journal_of_scores(output)[:-7].replace(b'"m"', b'"n"')
    lines = content.splitlines(keepends=True)
    lines[0] = line_of({"manifest": {"task": "factor", "model": "n"}, "journal": JOURNAL})
    left_alone(output, b"".join(lines), "records of another run; the model: recorded n, now m")


@pytest.mark.parametrize("end", [b"nonsense", b"nonsense\n", b'{"index": 3}\n', b"\0\0\0"])
def test_what_was_added_to_records_by_others_is_damage(tmp_path: Path, end: bytes) -> None:
    content = journal_of_scores(tmp_path / "o")
    left_alone(tmp_path / "o", content + end, r"jsonl:5: not a record as dola wrote it.*--overwrite")
    with open_records(tmp_path / "o", OF_SCORES, overwrite=True) as records:  # it is ours: it may be replaced
        assert records.done == {}


def test_an_empty_file_of_records_is_no_leave_to_replace_an_output(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("the only copy of a thesis")
    records_path(tmp_path / "o").touch()
    with (
        pytest.raises(RunError, match="exists, without the records"),
        open_records(tmp_path / "o", OF_SCORES),
    ):
        pass


def test_a_journal_of_a_later_version_is_named_as_such(tmp_path: Path) -> None:
    later = line_of({"manifest": {"task": "factor"}, "journal": JOURNAL + 1})
    left_alone(tmp_path / "o", later, "jsonl:1: a journal of version 2; this dola knows 1: take a newer one")


def test_half_a_line_is_cut_and_told(tmp_path: Path) -> None:
    output = tmp_path / "o"
    records_path(output).write_bytes(journal_of_scores(output)[:-7])
    with open_records(output, OF_SCORES) as records:
        assert sorted(records.done) == [0, 1]
        assert str(records.path) in (records.remark or "")
        assert "half a line" in (records.remark or "")
    with open_records(output, OF_SCORES) as records:
        assert records.remark is None


@pytest.mark.parametrize("cut", [0, 1, 30, 100_000])
def test_to_look_what_verdicts_there_are_changes_nothing(tmp_path: Path, cut: int) -> None:
    output = tmp_path / "o"
    asked = [Asked("a", "m", f"Q: {number}") for number in range(3)]
    with open_verdicts(output) as verdicts:
        for one in asked:
            verdicts.append(Verdict.of(one, {" yes": -0.5}))
    (path,) = tmp_path.glob("*.jsonl")
    content = path.read_bytes()[: -cut or None]
    path.write_bytes(content)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    os.chmod(path, 0o444)  # noqa: PTH101
    found = recorded_verdicts(output)
    assert list(found) == [one.key for one in asked[: 0 if cut > 1000 else 3 if not cut else 2]]
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before


def test_to_look_while_another_process_writes_is_no_error(tmp_path: Path) -> None:
    with open_verdicts(tmp_path / "o") as verdicts:
        verdicts.append(Verdict.of(Asked("a", "m", "Q"), {" yes": -0.5}))
        assert len(recorded_verdicts(tmp_path / "o")) == 1


@given(st.binary(max_size=40))
@example(b'{"manifest": {"task": "')
def test_no_bytes_at_all_make_a_journal_crash(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = records_path(Path(folder) / "o")
        path.write_bytes(content)
        try:
            with open_records(Path(folder) / "o", OF_SCORES) as records:
                assert records.done == {}
        except (DataError, RunError):
            assert path.read_bytes() == content


def test_python_searches_for_cycles_again_however_reading_ends(tmp_path: Path) -> None:
    journal_of_scores(tmp_path / "whole")
    damaged = b'{"manifest": {"task": "factor", "model": "m"}}\n{"left_out": 0}\n'
    left_alone(tmp_path / "damaged", damaged, ":2: not a record")
    assert gc.isenabled()
    gc.disable()
    try:
        journal_of_scores(tmp_path / "whole")
        assert not gc.isenabled()
    finally:
        gc.enable()
