"""Records survive what befalls a file: a kill in a line, a full disk, another run, an editor."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola.errors import DataError, RunError
from dola.result.files import _pieces
from dola.result.form import written as written_form
from dola.runs.manifest import FIELDS, SAID, differences
from dola.runs.records import Record, open_records, records_path
from dola.runs.results import check_writable, read_result, write_result

MANIFEST = dict.fromkeys(FIELDS, "the same")


def record(index: int) -> Record:
    return Record(
        index, (3, 5), (True, False), 0, ((-1.5, float("-inf")), (0.1 + 0.2, 2.0)), (None, {"2": 8})
    )


def filled(output: Path, count: int = 3) -> Path:
    with open_records(output, MANIFEST) as records:
        for index in range(count):
            records.append(record(index))
    return records_path(output)


def test_what_is_appended_is_read_back_to_the_last_digit(tmp_path: Path) -> None:
    filled(tmp_path / "o.json")
    with open_records(tmp_path / "o.json", MANIFEST) as records:
        assert records.done == {index: record(index) for index in range(3)}


def test_a_record_is_on_the_disk_when_append_returns(tmp_path: Path) -> None:
    with open_records(tmp_path / "o.json", MANIFEST) as records:
        records.append(record(4))
        assert records.path.read_bytes().endswith(b"\n")
        assert b'"index": 4' in records.path.read_bytes()


def test_wherever_a_kill_cuts_the_last_line_only_that_record_is_lost(tmp_path: Path) -> None:
    content = filled(tmp_path / "o.json").read_bytes()
    last = content[:-1].rindex(b"\n") + 1
    for end in range(last, len(content)):
        output = tmp_path / f"{end}.json"
        records_path(output).write_bytes(content[:end])
        with open_records(output, MANIFEST) as records:
            assert sorted(records.done) == [0, 1]
            records.append(record(2))
        assert records_path(output).read_bytes() == content


def test_a_kill_in_the_first_line_starts_anew(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    records_path(output).write_bytes(b'{"manifest": {"task"')
    with open_records(output, MANIFEST) as records:
        assert records.done == {}
    assert filled(output).read_bytes().count(b"\n") == 4


def test_damage_elsewhere_is_refused_with_its_line(tmp_path: Path) -> None:
    path = filled(tmp_path / "o.json")
    lines = path.read_bytes().split(b"\n")
    lines[2] = b'{"index": "x"}'
    path.write_bytes(b"\n".join(lines))
    with (
        pytest.raises(DataError, match=r"records\.jsonl:3: not a record"),
        open_records(tmp_path / "o.json", MANIFEST),
    ):
        pass
    assert path.read_bytes() == b"\n".join(lines)


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in SAID])
def test_every_field_of_the_manifest_is_compared(tmp_path: Path, field: str) -> None:
    filled(tmp_path / "o.json")
    other = {**MANIFEST, field: "something else"}
    with (
        pytest.raises(RunError, match=f"{FIELDS[field]}: recorded the same, now something else"),
        open_records(tmp_path / "o.json", other),
    ):
        pass
    with open_records(tmp_path / "o.json", other, overwrite=True) as records:
        assert records.done == {}


def test_equal_manifests_do_not_differ() -> None:
    assert differences(MANIFEST, dict(MANIFEST)) == []


def test_the_lock_is_gone_when_its_process_is_done(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    with (
        open_records(output, MANIFEST),
        pytest.raises(RunError, match="another process"),
        open_records(output, MANIFEST),
    ):
        pass
    filled(output)


def test_a_full_disk_loses_the_record_in_flight_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "o.json"
    before = filled(output, 2).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_records(output, MANIFEST) as records:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            records.append(record(2))
        assert 2 not in records.done
    monkeypatch.undo()
    assert records_path(output).read_bytes().startswith(before)
    with open_records(output, MANIFEST) as records:
        assert set(records.done) >= {0, 1}


def test_a_result_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "o.json"
    write_result(path, {"old": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_result(path, {"new": 2})
    assert path.read_text() == '{"old": 1}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_finite_is_null_in_a_result(tmp_path: Path) -> None:
    write_result(tmp_path / "o.json", {"scores": [float("-inf"), 1.5], "mean": float("nan")})
    assert (tmp_path / "o.json").read_text() == '{"scores": [null, 1.5], "mean": null}\n'


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.booleans(), inner),
        max_leaves=8,
    )
)
def test_a_result_written_in_pieces_is_the_json_of_it_whole(value: object) -> None:
    with mock.patch.multiple("dola.result.files", _PIECE=2, _DEEP=3):
        written = "".join(_pieces(written_form({"a": value})))
    assert written == json.dumps(written_form({"a": value}), ensure_ascii=False)


def test_a_result_that_is_none_is_refused(tmp_path: Path) -> None:
    for content, named in (("{", "expected JSON"), ("[]", "no key 'dola'"), ('{"dola": {}}', "no key")):
        (tmp_path / "o.json").write_text(content)
        with pytest.raises(DataError, match=named):
            read_result(tmp_path / "o.json")
    with pytest.raises(DataError, match="no such file"):
        read_result(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        check_writable(tmp_path / "file" / "o.json")
    with pytest.raises(RunError, match="is a folder"):
        check_writable(tmp_path)
