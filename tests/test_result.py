"""A result is a value: what is saved is read again, whoever wrote it, and nothing of it is lost."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dola.errors import DataError, MissingExtraError
from dola.result import Result

# Written before results were typed.
KEPT = sorted((Path(__file__).parent / "data" / "results").glob("*.json"))


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write(folder: Path, found: object) -> Path:
    path = folder / "out.json"
    path.write_text(json.dumps(found))
    return path


def named(name: str) -> Result:
    return Result.load(next(path for path in KEPT if path.stem == name))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_file_of_before_is_read_and_written_again_as_it_was(path: Path, tmp_path: Path) -> None:
    result = Result.load(path)
    result.save(tmp_path / "again.json")
    assert content(tmp_path / "again.json") == content(path)
    assert Result.load(tmp_path / "again.json") == result


def test_keys_that_this_version_does_not_know_are_kept(tmp_path: Path) -> None:
    found = content(KEPT[0])
    ours = found["dola"]
    places = [ours, ours["settings"], ours["rows"][0], ours["strategies"][0], ours["examples"][0]]
    places += [ours["rows"][0]["measures"]["accuracy"], ours["examples"][0]["completions"][0]]
    for at, place in enumerate([*places, found]):
        place["of_tomorrow"] = {"at": at}
    Result.load(write(tmp_path, found)).save(tmp_path / "again.json")
    assert content(tmp_path / "again.json") == found


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ours: ours["rows"][1].pop("label"), "rows.1: no key 'label'"),
        (lambda ours: ours["rows"][0].update(strategy="first"), "rows.0.strategy: expected a whole number"),
        (
            lambda ours: ours["rows"][0]["measures"]["accuracy"].update(mean="high"),
            "rows.0.measures.accuracy.mean: expected a number, found 'high'",
        ),
        (lambda ours: ours["settings"].update(seed=None), "settings.seed: expected a whole number"),
        (lambda ours: ours.update(format=2), "written in format 2; this version reads format 1"),
        (lambda ours: ours.pop("examples"), "no key 'examples'"),
        (lambda ours: ours.update(kind="rating"), "holds what a judge said"),
    ],
)
def test_what_is_no_result_is_one_line_with_its_place(spoil: Any, said: str, tmp_path: Path) -> None:
    found = content(KEPT[0])
    spoil(found["dola"])
    path = write(tmp_path, found)
    with pytest.raises(DataError) as error:
        Result.load(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_are_found_by_place_and_by_label_as_it_was_asked_for() -> None:
    rows = named("scoring").rows
    assert rows["low"] is rows["low (released)"] is rows[1]
    assert rows["vanilla"].differences is None
    assert set(rows["low"].differences or {}) == {"MC1", "MC2", "MC3"}
    with pytest.raises(KeyError, match="the rows are vanilla, low"):
        rows["high"]


def test_a_result_prints_as_its_table_with_what_it_shows() -> None:
    result = named("scoring")
    lines = str(result).splitlines()
    assert lines[0] == "TruthfulQA multiple choice · smollm2"
    (row,) = [line for line in lines if line.startswith("low (released) ")]
    for metric in result.metrics:
        assert f"{100 * result.rows['low'].measures[metric].mean:.1f}" in row
    assert [line[2:] for line in lines if line.startswith("• ")] == list(result.findings)


def test_a_data_frame_has_a_line_for_each_row_and_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda lines: lines))
    result = named("scoring")
    lines: Any = result.to_pandas()
    assert [(line["row"], line["metric"]) for line in lines] == [
        (row.label, metric) for row in result.rows for metric in result.metrics
    ]
    apart = (result.rows["low"].differences or {})["MC2"]
    line = next(line for line in lines if line["row"] == "low (released)" and line["metric"] == "MC2")
    assert (line["difference_mean"], line["difference_p"]) == (apart.mean, apart.p)


def test_without_pandas_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        named("scoring").to_pandas()


def test_what_is_not_finite_is_null_in_the_file_and_nothing_else(tmp_path: Path) -> None:
    found = copy.deepcopy(content(next(path for path in KEPT if path.stem == "scoring")))
    found["dola"]["examples"][0]["scores"][0][0] = None
    result = Result.load(write(tmp_path, found))
    assert result.scored[0].scores[0][0] is None
    assert result.to_json() == found
