"""`dola eval gsm8k`, `strqa`, `tfqa` and `vicuna` from the outside, by a generator without weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dola.cli.main import dola
from dola.runs.answer_files import write_answer_files
from dola.runs.results import read_result
from fake_completions import FakeLanguageModel, fake_generator
from judge_server import JudgeServer

HERE = Path(__file__).parent
DATA = HERE / "data"
PROMPTS = ["--prompts", str(DATA / "prompts")]
COMMANDS = {
    "gsm8k": ["eval", "gsm8k", "--data-path", str(DATA / "gsm8k"), *PROMPTS],
    "strqa": ["eval", "strqa", "--data-path", str(DATA / "strategyqa"), *PROMPTS],
    "tfqa": ["eval", "tfqa", "--data-path", str(DATA / "truthfulqa"), *PROMPTS],
    "vicuna": [
        "eval",
        "vicuna",
        "--question-file",
        str(DATA / "vicuna" / "question.jsonl"),
        "--model-id",
        "m",
    ],
}
RELEASED_KEYS = {
    "gsm8k": ["is_correct", "model_answer", "model_completion", "full_input_text"],
    "strqa": ["is_correct", "model_answer", "model_completion", "full_input_text"],
    "tfqa": ["question", "model_completion"],
}
THREE = ["--early-exit-layers", "-1", "--early-exit-layers", "low", "--strategy", "high"]


def run(task: str, *arguments: str, lm: FakeLanguageModel | None = None) -> Result:
    with fake_generator(lm):
        return CliRunner().invoke(
            dola, [*COMMANDS[task], *arguments], prog_name="dola", env={"COLUMNS": "100"}
        )


def evaluated(
    task: str, output: Path, *arguments: str, lm: FakeLanguageModel | None = None
) -> dict[str, Any]:
    files = ["--output-path", str(output)]
    if task == "vicuna":
        files += ["--answer-file", str(output.with_suffix(".jsonl"))]
    result = run(task, *files, *arguments, lm=lm)
    assert result.exit_code == 0, result.output
    return json.loads(output.read_text())


def started(output: Path, *arguments: str, seconds: float = 0.3) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DOLA_FAKE_SECONDS": str(seconds), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(HERE / "fake_completions.py"), *COMMANDS["gsm8k"], *arguments]
    return subprocess.Popen(
        [*command, "--output-path", str(output)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_records(output: Path, process: subprocess.Popen[bytes], lines: int) -> Path:
    records = output.with_name(f"{output.name}.records.jsonl")
    until = time.monotonic() + 120
    while not records.exists() or records.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)
    return records


def settled(result: dict[str, Any]) -> dict[str, Any]:
    """The result without what no two runs have in common: the machine and the time."""
    timed = ("seconds", "tokens_per_second")
    ours = {key: value for key, value in result["dola"].items() if key != "environment"}
    ours["rows"] = [{key: value for key, value in row.items() if key not in timed} for row in ours["rows"]]
    return {**result, "dola": ours}


@pytest.mark.parametrize("task", RELEASED_KEYS)
def test_the_output_has_the_released_keys_of_the_first_strategy(task: str, tmp_path: Path) -> None:
    result = evaluated(task, tmp_path / "o.json", *THREE)
    assert list(result) == [*RELEASED_KEYS[task], "dola"]
    assert len({len(result[key]) for key in RELEASED_KEYS[task]}) == 1
    assert result["dola"]["strategies"][0]["released"] == {
        key: value for key, value in result.items() if key != "dola"
    }


@pytest.mark.parametrize("task", COMMANDS)
def test_strategies_of_one_command_come_to_what_they_come_to_alone(task: str, tmp_path: Path) -> None:
    together = evaluated(task, tmp_path / "together.json", *THREE)["dola"]
    assert together["kind"] == "generation"
    assert [row["label"] for row in together["rows"]] == ["vanilla", "low (released)", "high (released)"]
    alone = evaluated(task, tmp_path / "alone.json", "--early-exit-layers", "high")["dola"]
    assert together["strategies"][2]["layers"] == alone["strategies"][0]["layers"]
    assert [each["completions"][2] for each in together["examples"]] == [
        each["completions"][0] for each in alone["examples"]
    ]


@pytest.mark.parametrize("task", ["gsm8k", "strqa"])
def test_both_accuracies_are_reported_with_intervals_and_paired_differences(
    task: str, tmp_path: Path
) -> None:
    rows = evaluated(task, tmp_path / "o.json", *THREE)["dola"]["rows"]
    for row in rows:
        assert set(row["measures"]) == {"accuracy", "accuracy_released"}
        assert row["measures"]["accuracy"]["low"] is not None
    assert rows[1]["difference"]["accuracy"]["test"] == "McNemar"
    assert rows[1]["fixed"] - rows[1]["broken"] == pytest.approx(
        sum(rows[1]["per_example"]["accuracy"]) - sum(rows[0]["per_example"]["accuracy"])
    )


@pytest.mark.parametrize("task", COMMANDS)
def test_examples_hold_what_was_generated_and_how_it_was_read(task: str, tmp_path: Path) -> None:
    ours = evaluated(task, tmp_path / "o.json", *THREE)["dola"]
    example = ours["examples"][0]
    assert {"index", "question", "reference", "group", "completions"} <= set(example)
    assert set(example["completions"][0]) == {
        "text",
        "raw",
        "tokens",
        "finish_reason",
        "answer",
        "answer_released",
        "measures",
    }
    for place, row in enumerate(ours["rows"]):
        assert row["tokens"] == sum(each["completions"][place]["tokens"] for each in ours["examples"])
        assert row["tokens_per_second"] > 0


@pytest.mark.parametrize("task", ["gsm8k", "strqa"])
@pytest.mark.parametrize("how", ["own", "released"])
def test_the_last_line_is_the_bare_accuracy_of_the_extraction(task: str, how: str, tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    last = run(task, "--output-path", str(output), "--extraction", how).stdout.rstrip().splitlines()[-1]
    measures = json.loads(output.read_text())["dola"]["rows"][0]["measures"]
    assert float(last) == measures["accuracy_released" if how == "released" else "accuracy"]["mean"]


def test_the_extraction_may_be_changed_without_generating_again(tmp_path: Path) -> None:
    output, lm = tmp_path / "o.json", FakeLanguageModel()
    own = evaluated("gsm8k", output)
    released = evaluated("gsm8k", output, "--extraction", "released", lm=lm)
    assert lm.calls == []
    assert own["dola"]["rows"][0]["per_example"] == released["dola"]["rows"][0]["per_example"]
    assert any("Q: more" in text for text in released["model_completion"])
    assert not any("Q:" in text for text in own["model_completion"])


@pytest.mark.parametrize("task", COMMANDS)
def test_unless_said_every_setting_is_the_released_scripts(task: str, tmp_path: Path) -> None:
    lm = FakeLanguageModel()
    evaluated(task, tmp_path / "o.json", *THREE, lm=lm)
    limits = {"gsm8k": 256, "strqa": 256, "tfqa": 50, "vicuna": 1024}
    assert [settings["repetition_penalty"] for _, _, settings in lm.calls] == [1.0, 1.2, 1.2]
    for _, strategy, settings in lm.calls:
        assert settings["max_new_tokens"] == limits[task]
        assert settings["do_sample"] == (task == "vicuna")
        assert "alpha" not in strategy  # 0.1, the strategy's own
        if task == "vicuna":
            assert (settings["temperature"], settings["top_p"], settings["top_k"]) == (0.7, 0.95, 0)


@pytest.mark.parametrize("task", COMMANDS)
def test_the_released_flags_do_what_they_say_in_either_spelling(task: str, tmp_path: Path) -> None:
    lm = FakeLanguageModel()
    flags = ["--do-sample", "--top-p", "0.5", "--top_k", "7", "--temperature", "0.3", "--max_new_tokens", "9"]
    rest = ["--repetition-penalty", "1.1", "--relative_top", "0.3", "--seed", "5", "--max-gpu-memory", "20"]
    evaluated(
        task, tmp_path / "o.json", "--early_exit_layers", "low", *flags, *rest, "--num_gpus", "1", lm=lm
    )
    ((_, strategy, settings),) = lm.calls
    assert "alpha=0.3" in strategy
    stop = settings.pop("stop")
    assert bool(stop) == (task != "vicuna")
    assert settings == {
        "do_sample": True,
        "top_p": 0.5,
        "top_k": 7,
        "temperature": 0.3,
        "max_new_tokens": 9,
        "repetition_penalty": 1.1,
        "seed": 5,
        "batch_size": None,
    }


def test_preset_own_has_no_repetition_penalty(tmp_path: Path) -> None:
    lm = FakeLanguageModel()
    result = evaluated("gsm8k", tmp_path / "o.json", *THREE, "--preset", "own", lm=lm)
    assert {settings["repetition_penalty"] for _, _, settings in lm.calls} == {1.0}
    assert not any("repetition penalty" in line for line in result["dola"]["findings"])


def test_different_penalties_are_said_before_and_in_the_findings(tmp_path: Path) -> None:
    result = run("gsm8k", "--output-path", str(tmp_path / "o.json"), *THREE)
    assert "The repetition penalty differs" in result.stderr.splitlines()[0]
    findings = json.loads((tmp_path / "o.json").read_text())["dola"]["findings"]
    assert "--repetition_penalty 1.2 gives all the same" in findings[0]
    same = run("gsm8k", "--output-path", str(tmp_path / "p.json"), *THREE, "--repetition_penalty", "1.2")
    assert "differs" not in same.stderr


def test_sampling_settings_without_sampling_are_named(tmp_path: Path) -> None:
    result = run("gsm8k", "--output-path", str(tmp_path / "o.json"), "--temperature", "0.5", "--top_k", "3")
    assert result.exit_code == 0
    assert result.stderr.count("--temperature, --top_k: without effect in greedy decoding") == 1


def test_shuffling_changes_the_prompts_by_the_seed_and_is_repeatable(tmp_path: Path) -> None:
    prompts = {}
    for name, flags in {
        "plain": [],
        "a": ["--do_shuffle"],
        "b": ["--do-shuffle", "--seed", "42"],
        "c": ["--do_shuffle", "--seed", "7"],
    }.items():
        prompts[name] = evaluated("strqa", tmp_path / f"{name}.json", *flags)["full_input_text"]
    assert prompts["a"] == prompts["b"]
    assert len({tuple(each) for each in prompts.values()}) == 3


def test_retrying_is_until_there_is_an_answer_and_in_vain_is_said(tmp_path: Path) -> None:
    first, again = (
        evaluated("strqa", tmp_path / f"{retry}.json", "--do_shuffle", "--retry", retry)
        for retry in ("1", "9")
    )
    assert first["dola"]["counts"]["retried"] == 0
    lacking = [each["completions"][0]["answer"] is None for each in first["dola"]["examples"]]
    assert again["dola"]["counts"]["retried"] == sum(lacking) > 0
    assert again["dola"]["counts"]["no_answer"] == 0
    greedy = run("strqa", "--output-path", str(tmp_path / "o.json"), "--retry", "3")
    assert "greedy decoding of the same prompt gives the same text" in greedy.stderr
    assert (
        "--retry: without effect in gsm8k"
        in run("gsm8k", "--output-path", str(tmp_path / "g.json"), "--retry", "3").stderr
    )


def test_vicuna_writes_an_answer_file_a_strategy_and_the_result_beside_it(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    result = run("vicuna", "--answer-file", str(answers), *THREE)
    assert result.exit_code == 0, result.output
    names = {
        "answers.jsonl": "m",
        "answers_low-released.jsonl": "m_low-released",
        "answers_high-released.jsonl": "m_high-released",
    }
    ids = set()
    for name, model_id in names.items():
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert [list(line) for line in lines] == [
            ["question_id", "text", "answer_id", "model_id", "metadata"]
        ] * len(lines)
        assert {line["model_id"] for line in lines} == {model_id}
        ids |= {line["answer_id"] for line in lines}
    assert len(ids) == 3 * len(lines)
    ours = json.loads((tmp_path / "answers.json").read_text())
    assert list(ours) == ["dola"]
    before = answers.read_bytes()
    assert run("vicuna", "--answer-file", str(answers), *THREE).exit_code == 0
    assert answers.read_bytes() == before


def test_dola_s_own_answer_file_says_which_answers_were_cut(tmp_path: Path) -> None:
    def said(path: Path) -> list[dict[str, str]]:
        return [json.loads(line)["metadata"] for line in path.read_text().splitlines()]

    assert run("vicuna", "--answer-file", str(tmp_path / "a.jsonl"), *THREE).exit_code == 0
    cut = {"finish_reason": "length"}  # all of the fake's, which nothing stops
    assert said(tmp_path / "a_low-released.jsonl") == [cut] * len(said(tmp_path / "a.jsonl"))
    result = read_result(tmp_path / "a.json")
    first, *others = result.generated
    vanilla, low, high = first.completions
    whole = replace(first, completions=(vanilla, replace(low, finish_reason="stop"), high))
    write_answer_files(replace(result, examples=(whole, *others)), tmp_path / "b.jsonl")
    assert said(tmp_path / "b.jsonl") == [cut] * (1 + len(others))
    assert said(tmp_path / "b_low-released.jsonl") == [{}] + [cut] * len(others)


def test_an_answer_file_of_another_program_is_not_overwritten_unasked(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text("{}\n")
    result = run("vicuna", "--answer-file", str(answers))
    assert result.exit_code == 2
    assert "--answer-file" in result.stderr
    assert answers.read_text() == "{}\n"


def test_no_strategys_answer_file_is_overwritten_unasked(tmp_path: Path) -> None:
    other = tmp_path / "answers_low-released.jsonl"
    other.write_text("{}\n")
    result = run("vicuna", "--answer-file", str(tmp_path / "answers.jsonl"), *THREE)
    assert result.exit_code == 2, result.output
    assert "answers_low-released.jsonl exists" in result.stderr
    assert other.read_text() == "{}\n"


@pytest.mark.parametrize(("task", "flag"), [("gsm8k", "--output-path"), ("vicuna", "--answer-file")])
@pytest.mark.parametrize("path", ["", "/dev/full"])
def test_what_is_no_file_is_no_output(task: str, flag: str, path: str) -> None:
    result = run(task, flag, path)
    assert result.exit_code == 2, result.output
    assert "expected the name of a file" in result.stderr
    assert Path("/dev/full").is_char_device()


def test_shards_joined_are_the_whole_run(tmp_path: Path) -> None:
    whole = evaluated("strqa", tmp_path / "whole.json", *THREE)
    paths = []
    for shard in range(2):
        arguments = ["--parallel", "--total-shard", "2", "--shard-id", str(shard)]
        result = run("strqa", "--output-path", str(tmp_path / "part"), *THREE, *arguments)
        assert result.exit_code == 0, result.output
        paths.append(str(tmp_path / f"part_{shard}.json"))
    joined_path = tmp_path / "joined.json"
    report = CliRunner().invoke(dola, ["report", *reversed(paths), "-o", str(joined_path)])
    assert report.exit_code == 0, report.output
    joined = json.loads(joined_path.read_text())
    for key in RELEASED_KEYS["strqa"]:
        assert joined[key] == whole[key]
    for key in ("examples", "findings", "counts"):
        assert joined["dola"][key] == whole["dola"][key]
    assert settled(joined)["dola"]["rows"] == settled(whole)["dola"]["rows"]
    parts = [json.loads(Path(path).read_text())["dola"]["rows"][1] for path in paths]
    row = joined["dola"]["rows"][1]
    assert row["tokens_per_second"] == pytest.approx(row["tokens"] / sum(part["seconds"] for part in parts))


def test_a_shard_of_tfqa_has_the_released_name(tmp_path: Path) -> None:
    shard = ["--parallel", "--total_shard", "2", "--shard_id", "1"]
    assert run("tfqa", "--output-path", str(tmp_path / "o"), *shard).exit_code == 0
    assert (tmp_path / "o_1.jsonl").exists()


def test_killed_and_resumed_is_the_same_as_uninterrupted(tmp_path: Path) -> None:
    whole = evaluated("gsm8k", tmp_path / "whole.json", *THREE)
    output = tmp_path / "killed.json"
    process = started(output, *THREE)
    records = wait_for_records(output, process, 5)
    process.kill()
    process.wait()
    process.stderr.close()
    assert not output.exists()
    with records.open("ab") as stream:  # as if the kill had come in the middle of a line
        stream.write(b'{"index": 0, "strategy": 1, "text"')
    kept = records.read_bytes()
    resumed = evaluated("gsm8k", output, *THREE)
    for key, value in settled(whole)["dola"].items():
        assert settled(resumed)["dola"][key] == value, key
    assert settled(resumed) == settled(whole)
    assert records.read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])


def test_interrupted_it_keeps_its_records_and_says_how_to_go_on(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    process = started(output, *THREE)
    wait_for_records(output, process, 3)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "of 9 completions are kept in" in stderr
    assert "go on with:\n  dola eval gsm8k --data-path" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--repetition_penalty", "1.3"], "the repetition penalties, one a strategy: recorded [1.0]"),
        (["--max-new-tokens", "20"], "--max-new-tokens: recorded 256, now 20"),
        (["--do_sample"], "--do_sample: recorded false, now true"),
        (["--early-exit-layers", "high"], "the strategies: recorded"),
        (["--model-name", "other"], "the model: recorded name smollm2, now name other"),
    ],
)
def test_another_configuration_is_refused_with_what_differs(
    tmp_path: Path, changed: list[str], named: str
) -> None:
    output = tmp_path / "o.json"
    evaluated("gsm8k", output)
    before = output.read_bytes()
    result = run("gsm8k", "--output-path", str(output), *changed)
    assert result.exit_code == 2
    assert named in result.stderr
    assert output.read_bytes() == before
    assert run("gsm8k", "--output-path", str(output), *changed, "--overwrite").exit_code == 0


def test_a_finished_run_is_summarised_again_without_a_model(tmp_path: Path) -> None:
    lm = FakeLanguageModel()
    first = evaluated("tfqa", tmp_path / "o.json", *THREE)
    assert evaluated("tfqa", tmp_path / "o.json", *THREE, lm=lm) == first
    assert lm.calls == []


def test_rating_without_a_config_keeps_the_result_and_says_what_to_do(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    result = run("tfqa", "--output-path", str(output), "--do-rating")
    assert result.exit_code == 0
    assert f"dola judge tfqa {output}" in result.stderr
    assert output.exists()


def test_a_judges_config_without_rating_is_said_to_do_nothing(tmp_path: Path) -> None:
    result = run("tfqa", "--output-path", str(tmp_path / "o.json"), "--gpt3-config", "gpt3.json")
    assert result.exit_code == 0
    assert "--gpt3-config: without effect" in result.stderr


def test_rating_adds_the_judges_figures_to_the_result(tmp_path: Path) -> None:
    output, config = tmp_path / "o.json", tmp_path / "gpt3.json"
    with JudgeServer() as server:
        judges = {"gpt_truth": "t", "gpt_info": "i", "api_key": "sk-secret", "base_url": server.base_url}
        config.write_text(json.dumps(judges))
        result = run(
            "tfqa", "--output-path", str(output), *THREE, "--do-rating", "--gpt3_config", str(config)
        )
    assert result.exit_code == 0, result.output
    rows = json.loads(output.read_text())["dola"]["rows"]
    assert [set(row["measures"]) for row in rows] == [{"truth", "info", "truth_info", "reject"}] * 3
    assert (tmp_path / "o.json.rating.json").exists()
    assert "sk-secret" not in "".join(path.read_text() for path in tmp_path.iterdir() if path != config)


def test_a_mistake_in_the_judges_config_is_told_before_anything_is_generated(tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    result = run("tfqa", "--output-path", str(output), "--do_rating", "--gpt3_config", str(tmp_path / "no"))
    assert result.exit_code == 2
    assert not output.exists()


@pytest.mark.parametrize(
    ("task", "arguments", "named"),
    [
        ("gsm8k", ["--data-path", "nowhere"], "nowhere"),
        ("gsm8k", ["--early-exit-layers", "0,2,99"], "this model has 8 layers"),
        ("gsm8k", ["--repetition_penalty", "0"], "--repetition_penalty"),
        ("gsm8k", ["--data-version", "dev"], "there are: test, train, validation"),
        ("strqa", ["--top_p", "1.5"], "--top_p"),
        ("tfqa", ["--retry", "2"], "--retry"),
        ("vicuna", ["--parallel", "--shard-id", "0"], "vicuna has no shards"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    tmp_path: Path, task: str, arguments: list[str], named: str
) -> None:
    result = run(task, "--output-path", str(tmp_path / "o.json"), *arguments)
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "o.json").exists()


@pytest.mark.parametrize("task", ["gsm8k", "strqa"])
def test_tune_chooses_a_bucket_on_halves_and_ends_with_the_flag_to_paste(task: str, tmp_path: Path) -> None:
    output, lm = tmp_path / "t.json", FakeLanguageModel()
    data = DATA / "gsm8k" / "gsm8k_test.jsonl" if task == "gsm8k" else DATA / "strategyqa"
    with fake_generator(lm):
        result = CliRunner().invoke(
            dola, ["tune", task, "--data-path", str(data), *PROMPTS, "--output-path", str(output)]
        )
    assert result.exit_code == 0, result.output
    ours = json.loads(output.read_text())["dola"]
    assert [row["label"] for row in ours["rows"]] == ["vanilla", "low (released)", "high (released)"]
    flags = {"low (released)": "--early-exit-layers 0,2,8", "high (released)": "--early-exit-layers 4,6,8"}
    assert ours["tuning"]["flag"] == flags[ours["tuning"]["chosen"]]
    assert result.stdout.rstrip().splitlines()[-1] == ours["tuning"]["flag"]
    assert "The repetition penalty differs" in result.stdout
    page = tmp_path / "t.html"
    assert CliRunner().invoke(dola, ["report", str(output), "-o", str(page)]).exit_code == 0
    assert ours["tuning"]["flag"] in page.read_text()


def test_tune_gsm8k_chooses_on_the_training_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    text = (DATA / "gsm8k" / "gsm8k_test.jsonl").read_text()
    (data / "gsm8k_test.jsonl").write_text(text)
    command = ["tune", "gsm8k", "--data-path", str(data), *PROMPTS, "--output-path", str(tmp_path / "o")]
    with fake_generator():
        assert "gsm8k_train.jsonl" in CliRunner().invoke(dola, command).stderr
        (data / "gsm8k_train.jsonl").write_text(text)
        assert CliRunner().invoke(dola, command).exit_code == 0
