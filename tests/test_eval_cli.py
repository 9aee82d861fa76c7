"""`dola eval`, `tune` and `report` from the outside, with a scorer that needs no weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contrasting import resolved
from dola.cli.main import dola
from dola.runs.asked_strategies import ContrastSettings
from fake_scoring import fake_model

HERE = Path(__file__).parent
DATA = HERE / "data"
TFQA = ["eval", "tfqa-mc", "--data-path", str(DATA / "truthfulqa"), "--prompts", str(DATA / "prompts")]
THREE = ["--early-exit-layers", "-1", "--early-exit-layers", "low", "--strategy", "high"]


def run(*arguments: str) -> Result:
    with fake_model():
        return CliRunner().invoke(dola, arguments, prog_name="dola", env={"COLUMNS": "100"})


def evaluated(output: Path, *arguments: str) -> dict[str, Any]:
    result = run(*TFQA, "--output-path", str(output), *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(output.read_text())


def started(output: Path, *arguments: str, seconds: float = 0.3) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DOLA_FAKE_SECONDS": str(seconds), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(HERE / "fake_scoring.py"), *TFQA, "--output-path", str(output), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_records(output: Path, process: subprocess.Popen[bytes], lines: int) -> Path:
    records = output.with_name(f"{output.name}.records.jsonl")
    until = time.monotonic() + 120
    while not records.exists() or records.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)
    return records


def without_environment(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "dola": {key: value for key, value in result["dola"].items() if key != "environment"}}


def test_the_output_has_the_released_keys_and_types(tmp_path: Path) -> None:
    result = evaluated(tmp_path / "out.json")
    assert list(result)[:5] == ["question", "model_scores", "total_mc1", "total_mc2", "total_mc3"]
    assert list(result["question"][0]) == ["question", "answer_best", "answer_true", "answer_false"]
    scores = result["model_scores"][0]
    assert {"max", "diff", "scores-true", "scores-false", "MC1", "MC2", "MC3"} <= set(scores)
    assert isinstance(result["total_mc1"], float)
    assert len(result["question"]) == len(result["model_scores"])


def test_several_strategies_come_from_one_run_each_with_its_released_json(tmp_path: Path) -> None:
    together = evaluated(tmp_path / "together.json", *THREE)
    assert [row["label"] for row in together["dola"]["rows"][:3]] == [
        "vanilla",
        "low (released)",
        "high (released)",
    ]
    alone = evaluated(tmp_path / "alone.json", "--early-exit-layers", "high")
    places = [row["strategy"] for row in together["dola"]["rows"][:3]]
    assert together["dola"]["strategies"][places[2]]["released"] == {
        key: value for key, value in alone.items() if key != "dola"
    }
    assert together["dola"]["strategies"][0]["released"]["total_mc1"] == together["total_mc1"]


def test_dashes_and_underscores_are_alike_and_flags_without_effect_are_named(tmp_path: Path) -> None:
    arguments = ["--output_path", str(tmp_path / "o.json"), "--early_exit_layers", "low", "--top-p", "0.9"]
    released = ["--max-gpu-memory", "20", "--num_gpus", "1", "--relative-top-value", "-500", "--do_rating"]
    result = run(*TFQA, *arguments, *released)
    assert result.exit_code == 0, result.output
    assert "--top_p, --do-rating: without effect" in result.stderr
    strategies = json.loads((tmp_path / "o.json").read_text())["dola"]["strategies"]
    assert "filter_value=-500" in strategies[0]["spec"]


def test_the_preset_is_the_released_scripts_and_a_setting_in_the_text_wins(tmp_path: Path) -> None:
    strategies = evaluated(tmp_path / "o.json", "--early-exit-layers", "low:alpha=0.3")["dola"]["strategies"]
    assert strategies[0]["spec"] == "0,2,8:alpha=0.3,filter_value=-1000"
    output = tmp_path / "factor.json"
    factor = ["eval", "factor", "--data-path", str(DATA / "factor" / "expert_factor.csv")]
    result = run(*factor, "--output-path", str(output), "--early-exit-layers", "low")
    assert result.exit_code == 0, result.output
    spec = json.loads(output.read_text())["dola"]["strategies"][0]["spec"]
    assert "post_softmax=true" in spec
    assert "alpha" not in spec  # 0.1 is the strategy's own


def test_controls_and_variants_stand_beside_the_strategies(tmp_path: Path) -> None:
    result = evaluated(tmp_path / "o.json", *THREE)
    labels = [row["label"] for row in result["dola"]["rows"]]
    assert "low (released) · post_softmax, per token" in labels
    assert {f"control: {name} answer" for name in ("longest", "shortest", "random")} <= set(labels)


def test_the_released_last_line_is_the_bare_figures(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    lines = run(*TFQA, "--output-path", str(output)).stdout.rstrip().splitlines()
    result = json.loads(output.read_text())
    assert lines[-2].rstrip() == "Final MC1/2/3:"
    assert [float(each) for each in lines[-1].split(",")] == [
        result[key] for key in ("total_mc1", "total_mc2", "total_mc3")
    ]


def test_shards_joined_are_the_whole_run(tmp_path: Path) -> None:
    whole = evaluated(tmp_path / "whole.json", *THREE)
    paths = []
    for shard in range(3):
        arguments = ["--parallel", "--total-shard", "3", "--shard-id", str(shard)]
        result = run(*TFQA, "--output-path", str(tmp_path / "part"), *THREE, *arguments)
        assert result.exit_code == 0, result.output
        paths.append(str(tmp_path / f"part_{shard}.json"))
    assert run("report", *reversed(paths), "-o", str(tmp_path / "joined.json")).exit_code == 0
    joined = json.loads((tmp_path / "joined.json").read_text())
    for key in ("question", "model_scores"):
        assert joined[key] == whole[key]
    assert joined["total_mc2"] == whole["total_mc2"]
    assert joined["dola"]["examples"] == whole["dola"]["examples"]
    for ours, theirs in zip(joined["dola"]["rows"], whole["dola"]["rows"], strict=True):
        assert ours["difference"] == theirs["difference"]
        for metric in ours["measures"]:
            assert ours["measures"][metric] == theirs["measures"][metric]


def test_a_shard_given_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shard = ["--parallel", "--total-shard", "2", "--shard-id", "0"]
        assert run(*TFQA, "--output-path", str(tmp_path / name), *shard).exit_code == 0
    result = run("report", str(tmp_path / "a_0.json"), str(tmp_path / "b_0.json"))
    assert result.exit_code == 2
    assert "give each shard once" in result.stderr


def test_killed_and_resumed_is_the_same_as_uninterrupted(tmp_path: Path) -> None:
    whole = evaluated(tmp_path / "whole.json", *THREE)
    output = tmp_path / "killed.json"
    process = started(output, *THREE)
    records = wait_for_records(output, process, 3)
    process.kill()
    process.wait()
    process.stderr.close()
    assert not output.exists()
    with records.open("ab") as stream:  # as if the kill had come in the middle of a line
        stream.write(b'{"index": 0, "tokens": [3,')
    kept = records.read_bytes()
    assert without_environment(evaluated(output, *THREE)) == without_environment(whole)
    assert records.read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])


def test_interrupted_it_keeps_its_records_and_says_how_to_go_on(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    process = started(output, *THREE)
    records = wait_for_records(output, process, 2)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "go on with:\n  dola eval tfqa-mc --data-path" in stderr
    assert "Traceback" not in stderr
    assert records.read_bytes().count(b"\n") >= 2


def test_two_processes_on_one_output_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    process = started(output, seconds=30)
    wait_for_records(output, process, 1)
    result = run(*TFQA, "--output-path", str(output))
    process.kill()
    process.communicate()
    assert result.exit_code == 2
    assert "another process is writing" in result.stderr


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--early-exit-layers", "high"], "the strategies: recorded"),
        (["--model-name", "other"], "the model: recorded name smollm2, now name other"),
        (["--dtype", "bfloat16"], "the dtype of the weights: recorded float32, now bfloat16"),
        (["--limit", "2"], "the rows that are scored"),
    ],
)
def test_another_configuration_is_refused_with_what_differs(
    tmp_path: Path, changed: list[str], named: str
) -> None:
    output = tmp_path / "o.json"
    evaluated(output, "--device", "cpu")
    before = output.read_bytes()
    result = run(*TFQA, "--output-path", str(output), "--device", "cpu", *changed)
    assert result.exit_code == 2
    assert named in result.stderr
    assert "--overwrite" in result.stderr
    assert output.read_bytes() == before
    assert run(*TFQA, "--output-path", str(output), *changed, "--overwrite").exit_code == 0


def test_a_changed_data_file_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "TruthfulQA.csv"
    text = (DATA / "truthfulqa" / "TruthfulQA.csv").read_text(encoding="utf-8-sig")
    data.write_text(text, encoding="utf-8")
    command = [*TFQA, "--output-path", str(tmp_path / "o.json"), "--data-path", str(data)]
    assert run(*command).exit_code == 0
    data.write_text(text.replace("Question", "Question", 1) + "\n", encoding="utf-8")
    result = run(*command)
    assert result.exit_code == 2
    assert "the data file: recorded" in result.stderr


def test_a_finished_run_is_summarised_again_without_a_model(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    first = evaluated(output, *THREE)
    result = run(*TFQA, "--output-path", str(output), *THREE)
    assert "scored already" in result.stderr
    assert json.loads(output.read_text()) == first


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data-path", "nowhere.csv"], "nowhere.csv"),
        (["--parallel"], "--parallel needs --shard-id"),
        (["--shard-id", "1"], "--shard-id needs --parallel"),
        (["--parallel", "--shard-id", "9"], "--shard-id must be from 0 to 7"),
        (["--early-exit-layers", "0,2,99"], "this model has 8 layers"),
        (["--early-exit-layers", "mid"], "unknown"),
        (["--output-path", str(HERE)], "is a folder"),
        (["--output-path", str(HERE / "conftest.py" / "o.json")], "cannot write to --output-path"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], named: str) -> None:
    result = run(*TFQA, "--output-path", str(tmp_path / "o.json"), *arguments)
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "o.json").exists()


def test_a_result_of_another_program_is_not_overwritten_unasked(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    output.write_text("{}")
    result = run(*TFQA, "--output-path", str(output))
    assert result.exit_code == 2
    assert output.read_text() == "{}"


def test_one_example_alone_is_measured_without_intervals(tmp_path: Path) -> None:
    result = evaluated(tmp_path / "o.json", *THREE, "--limit", "1")
    assert result["dola"]["rows"][0]["measures"]["MC1"]["low"] is None
    assert run("report", str(tmp_path / "o.json"), "-o", str(tmp_path / "o.html")).exit_code == 0


def test_the_output_folder_is_made(tmp_path: Path) -> None:
    evaluated(tmp_path / "a" / "b" / "o.json", "--limit", "2")


def test_tune_scores_every_static_layer_and_chooses_a_bucket_to_paste(tmp_path: Path) -> None:
    output = tmp_path / "t.json"
    result = run("tune", *TFQA[1:], "--output-path", str(output))
    assert result.exit_code == 0, result.output
    tuning = json.loads(output.read_text())["dola"]["tuning"]
    assert list(tuning["static"]) == [str(layer) for layer in range(8)]
    assert tuning["chosen"] in ("low (released)", "high (released)")
    flags = {"low (released)": "--early-exit-layers 0,2,8", "high (released)": "--early-exit-layers 4,6,8"}
    assert result.stdout.rstrip().splitlines()[-1] == flags[tuning["chosen"]]
    assert (tmp_path / "t.json.svg").read_text().startswith("<svg")
    assert run("report", str(output), "-o", str(tmp_path / "t.html")).exit_code == 0
    assert "--early-exit-layers" in (tmp_path / "t.html").read_text()


@pytest.mark.parametrize(("preset", "normed"), [("released", False), ("own", True)])
def test_the_released_preset_norms_no_exit_of_a_bucket_and_the_own_one_does(
    *, preset: str, normed: bool
) -> None:
    options = ContrastSettings(preset, None, None, None, None, None)
    for task in ("tfqa-mc", "factor", "gsm8k", "strqa", "tfqa", "vicuna"):
        ((_, strategy),) = options.strategies(["high"], task)
        assert resolved(strategy, 12).reads[0].exits[0].norm is normed
