"""`dola.evaluate` and what goes with it: what a command does is one call with a typed outcome."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from click.testing import CliRunner

import dola
from dola.cli.main import dola as command
from dola.result import Result
from dola.result.form import written
from dola.runs.spec import SpecSettings, settings_for, spec_fields
from dola.tasks.registry import benchmark_names, find_benchmark
from fake_completions import FakeLanguageModel, fake_generator
from fake_generation import rated
from fake_scoring import fake_model

DATA = Path(__file__).parent / "data"
PROMPTS = DATA / "prompts"
SCORING: dict[str, Any] = {"data_path": DATA / "truthfulqa", "prompts": PROMPTS}
GENERATING: dict[str, Any] = {"data_path": DATA / "gsm8k", "prompts": PROMPTS}
TWO = ["-1", "low"]


def scored(**settings: Any) -> dola.Result:
    with fake_model():
        return dola.evaluate("tfqa-mc", **{**SCORING, "strategies": TWO, "progress": False, **settings})


def generated(lm: FakeLanguageModel | None = None, **settings: Any) -> dola.Result:
    with fake_generator(lm):
        return dola.evaluate("gsm8k", **{**GENERATING, "strategies": TWO, "progress": False, **settings})


def settled(result: dola.Result) -> dict[str, Any]:
    """Everything but what the clock says."""
    rows = [
        {key: value for key, value in written(row).items() if key not in ("seconds", "tokens_per_second")}
        for row in result.rows
    ]
    found = result.to_json()
    return {**found, "dola": {**found["dola"], "rows": rows, "spec": None}}


def test_without_an_output_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = scored()
    assert set(result.rows["low"].differences or {}) == {"MC1", "MC2", "MC3"}
    assert list(tmp_path.iterdir()) == []


def test_the_call_and_the_command_come_to_the_same_file(tmp_path: Path) -> None:
    scored(output=tmp_path / "call.json")
    arguments = ["eval", "tfqa-mc", "--data-path", str(DATA / "truthfulqa"), "--prompts", str(PROMPTS)]
    arguments += ["--early-exit-layers", "-1", "--early-exit-layers", "low"]
    with fake_model():
        ran = CliRunner().invoke(command, [*arguments, "--output-path", str(tmp_path / "command.json")])
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "call.json").read_text() == (tmp_path / "command.json").read_text()


def test_what_is_returned_is_what_is_in_the_file(tmp_path: Path) -> None:
    for name, made in (("a", scored(output=tmp_path / "a")), ("b", generated(output=tmp_path / "b"))):
        assert dola.Result.load(tmp_path / name) == made


def test_the_same_call_goes_on_from_the_records(tmp_path: Path) -> None:
    whole, lm = generated(output=tmp_path / "o.json"), FakeLanguageModel()
    records = tmp_path / "o.json.records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:-1]))
    again = generated(lm, output=tmp_path / "o.json")
    assert sum(len(prompts) for prompts, _, _ in lm.calls) == 1
    assert settled(again) == settled(whole)


def test_in_a_running_event_loop_it_works_as_well() -> None:
    async def cell() -> dola.Result:
        return scored(limit=2)

    assert settled(asyncio.run(cell())) == settled(scored(limit=2))


def test_a_spec_says_all_of_a_run() -> None:
    spec = dola.RunSpec("tfqa-mc", strategies=("-1", "low"), limit=2, **SCORING)
    with fake_model():
        assert dola.evaluate(spec, progress=False) == scored(limit=2)
    with pytest.raises(dola.RunError, match="says all of a run"):
        dola.evaluate(spec, limit=3)


def test_a_strategy_that_is_an_object_is_taken_as_it_is_whatever_the_preset() -> None:
    text, value = scored(strategies=["low"]), scored(strategies=dola.DoLa("low"))
    assert "filter_value=-1000" in text.strategies[0].spec
    assert "filter_value" not in value.strategies[0].spec
    assert value.strategies[0].spec == scored(strategies=["low"], preset="own").strategies[0].spec


def test_a_model_that_is_loaded_is_known_by_what_it_is(tmp_path: Path) -> None:
    import torch

    from tiny_language_model import tiny_language_model

    lm = tiny_language_model()
    run = {**SCORING, "model": lm, "progress": False, "limit": 1, "truncate": True}
    first = dola.evaluate("tfqa-mc", output=tmp_path / "o.json", **run)
    assert first.manifest["dtype"] == "float32"
    assert dola.evaluate("tfqa-mc", output=tmp_path / "o.json", **run) == first
    with torch.no_grad():
        next(lm.model.parameters()).mul_(1.5)
    with pytest.raises(dola.RunError, match="the model: recorded"):
        dola.evaluate("tfqa-mc", output=tmp_path / "o.json", **run)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limt": 3}, "no setting limt: did you mean limit?"),
        ({"limit": 0}, "limit: expected a whole number from 1, found 0"),
        ({"preset": "paper"}, "preset: expected one of released, own, found 'paper'"),
        ({"max_new_tokens": 5}, "tfqa-mc scores and has no setting max_new_tokens"),
        ({"alpha": 2.0}, "alpha: expected a number from 0 to 1, found 2.0"),
        ({"strategies": []}, "strategies: expected one text or a list of texts"),
        ({"shard_id": 8}, "--shard-id must be from 0 to 7"),
    ],
)
def test_a_setting_that_is_wrong_is_one_line_before_anything_is_read(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(dola.DolaError) as error:
        scored(**settings)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_benchmark_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(dola.RunError, match="unknown benchmark 'mmlu': expected one of tfqa-mc, factor"):
        dola.evaluate("mmlu")


def test_keywords_are_the_settings_of_a_spec() -> None:
    names = [each.name for each in spec_fields()]
    keywords = list(get_type_hints(SpecSettings))
    assert keywords == [name for name in names if name not in ("model", "strategies")]


@pytest.mark.parametrize("name", benchmark_names())
def test_every_setting_of_a_benchmark_is_a_flag_of_its_command(name: str) -> None:
    shown = CliRunner().invoke(command, ["eval", name, "--help"]).stdout
    by_name = {each.name: each.metadata["setting"] for each in spec_fields()}
    for setting in settings_for(find_benchmark(name)):
        assert by_name[setting].flags[0].replace("_", "-") in shown.replace("_", "-")


SPECS = [
    dola.RunSpec(
        "tfqa-mc", strategies=("-1", "sled:high:rate=2"), limit=3, debug=True, early_exit_norm=False
    ),
    dola.RunSpec("gsm8k", model="a b/c", data_path=Path("x y.jsonl"), do_sample=True, temperature=0.5),
    dola.RunSpec("factor", variants=False, filter_value=float("-inf"), shard_id=1, total_shard=3),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.task)
def test_command_call_and_recipe_make_the_same_run_again(spec: dola.RunSpec, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(spec.recipe())
    assert dola.RunSpec.load(tmp_path / "run.toml") == spec
    assert dola.RunSpec.of(json.loads(json.dumps(spec.to_json()))) == spec
    made: list[dola.RunSpec] = []

    def evaluate(task: str, **settings: Any) -> None:
        made.append(dola.RunSpec(task, **settings))

    eval(spec.call(), {"dola": type("module", (), {"evaluate": staticmethod(evaluate)})})
    assert made == [spec]
    assert _of_command(spec) == spec


def _of_command(spec: dola.RunSpec) -> dola.RunSpec:
    """The spec that the command line makes of `spec.command()`."""
    import shlex
    from unittest import mock

    words = shlex.split(spec.command())[1:]
    with mock.patch("dola.cli.eval.run") as run, mock.patch("dola.cli.eval.show_result"):
        CliRunner().invoke(command, words)
    found: dola.RunSpec = run.call_args.args[0]
    return found


def without_digest(result: dola.Result) -> dola.Result:
    """But for the digest of the requests, which cannot be told from those of parts."""
    manifest = {name: value for name, value in result.manifest.items() if name != "requests_sha256"}
    return replace(result, manifest=manifest)


def test_shards_merged_are_the_run_in_one_go_field_by_field() -> None:
    whole = scored()
    shards = [scored(shard_id=at, total_shard=2) for at in range(2)]
    assert without_digest(dola.merge(shards[::-1])) == without_digest(whole)
    with pytest.raises(dola.RunError, match="give each shard once"):
        dola.merge([shards[0], shards[0]])
    with pytest.raises(dola.RunError, match="expected shards of one run"):
        dola.merge([shards[0], whole])


def test_shards_of_a_tuning_merged_choose_as_it_does_in_one_go() -> None:
    with fake_model():
        whole = dola.tune("tfqa-mc", progress=False, **SCORING)
        shards = [
            dola.tune("tfqa-mc", progress=False, shard_id=at, total_shard=2, **SCORING) for at in range(2)
        ]
    assert without_digest(dola.merge(shards)) == without_digest(whole)


def test_shards_of_completions_merged_are_the_run_but_for_the_time() -> None:
    whole, shards = generated(), [generated(shard_id=at, total_shard=2) for at in range(2)]
    assert settled(without_digest(dola.merge(shards))) == settled(without_digest(whole))


def test_a_rating_outlives_the_same_run_and_is_not_lost_to_another(tmp_path: Path) -> None:
    path, answers = tmp_path / "o.json", {"data_path": DATA / "truthfulqa", "prompts": PROMPTS}
    run = {"strategies": TWO, "progress": False, "output": path, **answers}
    with fake_generator():
        plain = dola.evaluate("tfqa", **run)
    judged = Result.from_json(rated(plain.to_json()))
    judged.save(path)
    with fake_generator():
        again = dola.evaluate("tfqa", **run)
    assert again.rating == judged.rating
    assert again.metrics == judged.metrics
    for new, old in zip(again.rows, judged.rows, strict=True):
        assert (new.measures, new.differences) == (old.measures, old.differences)
    assert again.generated[0].completions[0].verdicts == judged.generated[0].completions[0].verdicts
    other = json.loads(path.read_text())
    other["dola"]["examples"][0]["completions"][0]["text"] = "another text"
    path.write_text(json.dumps(other))
    with fake_generator(), pytest.raises(dola.RunError, match="holds a rating, of other texts"):
        dola.evaluate("tfqa", **run)
    assert json.loads(path.read_text()) == other


def test_results_on_the_same_examples_are_compared() -> None:
    comparison = dola.compare([scored(), scored(model="other")], names=["one", "other"])
    assert [row.label for row in comparison.rows][::2] == ["vanilla · one", "vanilla · other"]
    assert "the model too" in comparison.notes[0]
    with pytest.raises(dola.RunError, match="on the same rows"):
        dola.compare([scored(), scored(limit=1)])


@pytest.mark.parametrize(("name", "start"), [("r.html", "<!doctype"), ("r.md", "## "), ("r.csv", "task,")])
def test_a_report_is_in_the_format_of_its_name(tmp_path: Path, name: str, start: str) -> None:
    assert dola.report(scored(limit=2), tmp_path / name) == tmp_path / name
    assert (tmp_path / name).read_text().lstrip().startswith(start)


def test_a_page_shows_how_the_run_is_made_again(tmp_path: Path) -> None:
    import html

    result = scored(limit=2)
    page = html.unescape(dola.report(result, tmp_path / "p.html").read_text())
    assert result.spec is not None
    spec = dola.RunSpec.of(result.spec)
    for text in (spec.command(), spec.call(), spec.recipe()):
        assert text in page


def test_a_page_names_preset_strategies_and_dtype_as_they_were_computed() -> None:
    from dola.reports.view import view_of

    facts = dict(view_of(scored(limit=2, alpha=0.3, divergence="js", dtype="bfloat16")).facts)
    assert facts["Preset"] == "released, but for alpha 0.3, divergence js"
    assert facts["Model"].endswith(", bfloat16")
    assert "alpha=0.3" in facts["Strategies"]
    assert "divergence=js" in facts["Strategies"]


def test_tuning_chooses_and_says_what_to_paste() -> None:
    with fake_model():
        result = dola.tune("tfqa-mc", progress=False, **SCORING)
    assert result.tuning is not None
    assert result.tuning.chosen in ("low (released)", "high (released)")
    assert result.tuning.flag.startswith("--early-exit-layers ")
    assert len(result.tuning.static) == 8


def test_before_it_begins_it_says_what_it_will_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    scored(output=tmp_path / "o.json", progress=True)
    said = capsys.readouterr().err.splitlines()
    assert "3 examples, 2 strategies: " in said[0] or "4 examples, 2 strategies: " in said[0]
    assert "answers to score, all strategies from one pass over about" in said[0]
    assert str(tmp_path / "o.json") in said[0]
    scored(progress=False)
    assert capsys.readouterr().err == ""


def test_what_fails_midway_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, made = FakeLanguageModel(), FakeLanguageModel.iter_generate

    def failing(self: FakeLanguageModel, *arguments: Any, **settings: Any) -> Any:
        yield next(made(self, *arguments, **settings))
        raise MemoryError

    monkeypatch.setattr(FakeLanguageModel, "iter_generate", failing)
    with pytest.raises(MemoryError):
        generated(lm, output=tmp_path / "o.json", progress=True)
    last = capsys.readouterr().err.splitlines()[-1].strip()
    assert last.startswith("dola.evaluate('gsm8k', ")
    assert f"output='{tmp_path / 'o.json'}'" in last


def test_importing_dola_loads_no_torch_and_its_results_neither() -> None:
    code = "import dola, sys; dola.Result, dola.RunSpec, dola.evaluate; sys.exit('torch' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


def test_a_spec_is_a_value() -> None:
    spec = SPECS[0]
    assert replace(spec, limit=4) != spec
    assert replace(spec, limit=4, device="cpu").limit == 4
    assert hash(spec) == hash(replace(spec))
