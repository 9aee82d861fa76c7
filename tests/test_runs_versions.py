"""Versions say whether records can be gone on with; files of before versions are, where nothing changed."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import dola
from dola.errors import DataError, RunError
from dola.judges.settings import EndpointSettings
from dola.runs.completions import open_completions
from dola.runs.execute import LocalScoring, execute, missing
from dola.runs.generating import LocalGenerating, generate_missing, lacking
from dola.runs.generation_plan import Decoding, GenerationConfig, GenerationPlan, make_generation_plan
from dola.runs.journal import records_path
from dola.runs.judging import EndpointJudge
from dola.runs.manifest import SAID, differences
from dola.runs.plan import Plan, RunConfig, Selection, make_plan
from dola.runs.records import Record, open_records
from dola.runs.verdicts import Asked, Verdict, open_verdicts, recorded_verdicts
from dola.runs.versions import version_of
from dola.strategies import DoLa, Strategy, Vanilla
from dola.tasks.factor import Factor
from dola.tasks.presets import PRESETS
from dola.tasks.prompts import load_demonstrations
from dola.tasks.strqa import StrategyQA
from dola.tasks.vicuna import Vicuna
from fake_completions import FakeLanguageModel as Generator
from fake_scoring import FakeLanguageModel as Scorer
from test_tasks_vicuna import Shouted

DATA = Path(__file__).parent / "data"
# Written by the last dola without versions: two strategies, every record.
FORMER = DATA / "records"
SCORED = (Vanilla(), DoLa((0, 2), mature_layer=8))
GENERATING = (Vanilla(mature_layer=8), DoLa((0, 2), mature_layer=8))
CHANGED = {"sampled": {"decoding": Decoding(16, do_sample=True, seed=42), "attempts": 3}, "greedy": {}}


@dataclass(frozen=True)
class FactorOfTomorrow(Factor):
    version = 2


def scoring(task: Factor | None = None, versions: tuple[int | str, ...] = (1, 1)) -> Plan:
    task = task or Factor()
    config = RunConfig("model", "float32", tuple(map(str, SCORED)), versions=versions)
    return make_plan(task, task.load(DATA / "factor" / "expert_factor.csv"), config)


class StrategyQAOfBefore(StrategyQA):
    """As when the files of before were written: its texts are made as they are now, and end elsewhere."""

    version = 1
    stop = PRESETS["strqa"].stop_words  # type: ignore[assignment]


def generation(made_by: type[StrategyQA] = StrategyQAOfBefore, **changes: Any) -> GenerationPlan:
    task = made_by(load_demonstrations("strqa", DATA / "prompts"))
    config = GenerationConfig(
        "model",
        "float32",
        ("-1", "low"),
        (1.0, 1.2),
        Decoding(16),
        Selection(),
        versions=(1, 1),
    )
    return make_generation_plan(task, task.load(DATA / "strategyqa"), replace(config, **changes))


def former(name: str, folder: Path, *, lines: int | None = None) -> Path:
    """A copy of a file of before, or of its first lines; gives the output path that it lies beside."""
    output = folder / name
    shutil.copy(records_path(FORMER / name), records_path(output))
    if lines is not None:
        kept = records_path(output).read_bytes().splitlines(keepends=True)[:lines]
        records_path(output).write_bytes(b"".join(kept))
    return output


def refused(output: Path, manifest: dict[str, Any], said: str) -> None:
    before = records_path(output).read_bytes()
    with pytest.raises(RunError, match=said) as told, open_records(output, manifest):
        pass
    assert "\n" not in str(told.value)
    assert records_path(output).read_bytes() == before


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_scores_of_before_versions_are_gone_on_with(tmp_path: Path, lines: int) -> None:
    output, plan = former("scoring", tmp_path, lines=lines), scoring()
    with open_records(former("scoring", tmp_path / ".."), plan.manifest) as records:
        whole = records.done
    with open_records(output, plan.manifest) as records:
        assert len(missing(plan, records)) == 3 - lines
        execute(plan, LocalScoring(Scorer(), SCORED), records)
    with open_records(output, plan.manifest) as records:
        assert records.done == whole


@pytest.mark.parametrize("name", CHANGED)
def test_texts_of_before_versions_are_gone_on_with(tmp_path: Path, name: str) -> None:
    plan = generation(**CHANGED[name])
    with open_completions(former(name, tmp_path), plan.manifest) as records:
        assert lacking(plan, records) == 0
        whole = {key: replace(each, seconds=None) for key, each in records.done.items()}
    for lines in range(1, 7):
        output = former(name, tmp_path, lines=lines)
        with open_completions(output, plan.manifest) as records:
            generate_missing(plan, LocalGenerating(Generator(), GENERATING), records)
        with open_completions(output, plan.manifest) as records:
            assert {key: replace(each, seconds=None) for key, each in records.done.items()} == whole


@pytest.mark.parametrize("name", CHANGED)
def test_texts_that_would_end_elsewhere_now_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    plan = generation(StrategyQA, **CHANGED[name])
    refused(former(name, tmp_path), plan.manifest, "own version: recorded 1, now 2; the texts that end a")


def test_records_of_another_kind_are_another_run_and_not_damaged(tmp_path: Path) -> None:
    refused(former("greedy", tmp_path), scoring().manifest, "the task: recorded strqa, now factor")
    plan = generation()
    with (
        pytest.raises(RunError, match="recorded factor, now strqa"),
        open_completions(former("scoring", tmp_path), plan.manifest),
    ):
        pass


def test_only_where_a_text_may_end_elsewhere_a_task_of_version_2_has_that_version(tmp_path: Path) -> None:
    """What nothing stopped, an answer in a model's own chat template, is gone on with."""
    data = DATA / "vicuna"
    manifests = []
    for template in (None, Shouted()):
        task = Vicuna("model", template)
        manifests.append(make_generation_plan(task, task.load(data), generation().config).manifest)
    former = [{key: each[key] for key in each if key != "task_version"} for each in manifests]
    assert [bool(differences(old, new)) for old, new in zip(former, manifests, strict=True)] == [False, True]


def test_verdicts_of_before_versions_are_not_asked_for_again(tmp_path: Path) -> None:
    output = tmp_path / "asked"
    shutil.copy(FORMER / "asked.verdicts.records.jsonl", tmp_path)
    asked = [Asked("completion at http://a/v1", "judge", f"Q: {number}") for number in range(4)]
    assert list(recorded_verdicts(output)) == [one.key for one in asked[:3]]
    with open_verdicts(output) as verdicts:
        verdicts.append(Verdict.of(asked[3], {" yes": -4.0}))
    assert [one.reply[" yes"] for one in recorded_verdicts(output).values()] == [-0.5, -1.5, -2.5, -4.0]


def test_what_was_recorded_without_checksums_is_sealed_when_it_is_gone_on_with(tmp_path: Path) -> None:
    output, plan = former("scoring", tmp_path, lines=2), scoring()
    path = records_path(output)
    before = path.read_bytes()
    with open_records(output, plan.manifest):
        pass
    assert path.read_bytes() == before  # nothing to add, nothing written
    with open_records(output, plan.manifest) as records:
        execute(plan, LocalScoring(Scorer(), SCORED), records)
    path.write_bytes(path.read_bytes().replace(b"-23.25", b"-23.35"))
    above = pytest.raises(DataError, match=r"records\.jsonl:3: what stands above")
    with above, open_records(output, plan.manifest):
        pass


def test_records_of_scores_that_are_others_now_are_refused_in_one_line(tmp_path: Path) -> None:
    output, plan = former("scoring", tmp_path), scoring()
    path = records_path(output)
    path.write_text(path.read_text().replace(', "left_out": 0', ""))
    said = r"jsonl:2: recorded by a version of dola .*--overwrite"
    with pytest.raises(DataError, match=said) as told, open_records(output, plan.manifest):
        pass
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("of_before", [True, False])
def test_a_part_whose_version_was_counted_up_is_another_run(tmp_path: Path, *, of_before: bool) -> None:
    output = former("scoring", tmp_path)
    if not of_before:
        records_path(output).unlink()
        with open_records(output, scoring().manifest):
            pass
    refused(output, scoring(versions=(1, 2)).manifest, r"own versions: recorded \[1, 1\], now \[1, 2\]")
    refused(output, scoring(FactorOfTomorrow()).manifest, r"task's own version: recorded 1, now 2")
    refused(output, {**scoring().manifest, "method_version": 2}, "how dola scores or generates: recorded 1")


def test_another_version_of_the_package_alone_goes_on(tmp_path: Path) -> None:
    output, manifest = tmp_path / "o", scoring().manifest
    with open_records(output, {**manifest, "code": "0.0.9"}) as records:
        records.append(Record(0, (3,), (True,), 0, ((-1.0,),), (None,)))
    with open_records(output, manifest) as records:
        assert list(records.done) == [0]
    assert SAID == ("code",)
    assert manifest["code"] == dola.__version__


def test_a_file_more_in_a_room_changes_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scoring().manifest, generation().manifest
    shutil.copytree(Path(dola.__file__).parent, tmp_path / "dola", ignore=shutil.ignore_patterns("*.pyc"))
    (tmp_path / "dola" / "tasks" / "another.py").write_text("")
    monkeypatch.setattr(dola, "__file__", str(tmp_path / "dola" / "__init__.py"))
    assert (scoring().manifest, generation().manifest) == before


@pytest.mark.parametrize("brings", ["strategies", "tasks"])
def test_code_of_third_parties_counts_by_its_version_and_its_distributions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brings: str
) -> None:
    def installed(version: str) -> None:
        shutil.rmtree(tmp_path / "theirs.dist-info", ignore_errors=True)
        folder = tmp_path / "theirs.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: theirs\nVersion: {version}\n")
        (folder / "entry_points.txt").write_text(f"[dola.{brings}]\nmine = their_module:Mine\n")

    monkeypatch.syspath_prepend(tmp_path)
    theirs: Any = type(
        "Mine", (Strategy,), {"resolve": lambda self, depths: None, "__module__": "their_module"}
    )
    assert version_of(theirs()) == 1  # a script's own
    installed("1.0")
    importlib.invalidate_caches()
    assert version_of(theirs()) == "1 (theirs 1.0)"
    first = {"strategy_versions": [version_of(theirs()), version_of(Vanilla())]}
    theirs.version = 2
    second = {"strategy_versions": [version_of(theirs()), version_of(Vanilla())]}
    theirs.version = 1
    installed("1.1")
    importlib.invalidate_caches()
    third = {"strategy_versions": [version_of(theirs()), version_of(Vanilla())]}
    assert [version[1] for version in (first["strategy_versions"], third["strategy_versions"])] == [1, 1]
    for other in (second, third):
        assert len(differences(first, other)) == 1
    # Records of before versions are of the first, of whatever distribution.
    assert not differences({}, first)
    assert len(differences({}, second)) == 1


def test_a_judge_of_another_version_is_asked_again() -> None:
    judge = EndpointJudge("truth", "judge", EndpointSettings("none"))

    class OfTomorrow(EndpointJudge):
        version = 2

    later = OfTomorrow("truth", "judge", EndpointSettings("none"))
    assert judge.asked("Q", "A").judge.startswith("completion at ")
    assert ", version" not in judge.asked("Q", "A").judge
    assert judge.asked("Q", "A").key != later.asked("Q", "A").key
