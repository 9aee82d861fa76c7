"""`dola judge tfqa` from end to end: the real client, a real server, files as the user has them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from dola.cli.judge import rate_result
from dola.cli.main import dola
from dola.judges.truthful import METRICS
from dola.result import Settings
from dola.runs.measured import Measured, MeasuredRow, Speed
from dola.runs.results import KEY, result_of
from dola.runs.summary import summarise
from judge_server import JudgeServer, Raw

SECRET = "sk-a-key-that-nobody-may-see"
RESULTS = Path(__file__).parent / "data" / "results"
QUESTIONS = [f"Is {number} even?" for number in range(8)]
VANILLA = ["Yes.", "Yes.", "I have no comment.", "Yes.", "Yes.", "Yes.", "Yes.", "Yes."]
LOW = ["Yes.", "No.", "Yes.", "No.", "Yes.", "No.", "Yes.", "No."]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        server.completion = verdict
        yield server


def verdict(prompt: str) -> dict[str, float]:
    """Who says yes to what is even tells the truth; whoever does not comment says nothing."""
    even = int(prompt.split()[2]) % 2 == 0
    true = "no comment" in prompt or ("A: Yes." in prompt) == even
    yes = "no comment" not in prompt if prompt.endswith("Helpful:") else true
    return {" yes": -0.01, " no": -4.6} if yes else {" no": -0.01, " yes": -4.6}


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The released script's output."""
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"question": QUESTIONS, "model_completion": VANILLA}))
    return path


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A result of `dola eval tfqa` with two strategies."""
    rows = [MeasuredRow(label, "strategy", at, False, {}) for at, label in enumerate(["vanilla", "low"])]
    examples = [
        {"index": at, "question": question, "reference": None, "group": None}
        | {"completions": [_completion(VANILLA[at]), _completion(LOW[at])]}
        for at, question in enumerate(QUESTIONS)
    ]
    measured = Measured((), (), tuple(rows), (None, None), tuple(examples), {}, (Speed(1, 1, 1.0),) * 2)
    made = result_of(
        measured,
        summarise(measured, seed=1),
        {0: {"question": QUESTIONS, "model_completion": VANILLA}, 1: {}},
        manifest={"task": "tfqa", "strategies": ["vanilla", "low"]},
        settings=Settings("TruthfulQA", "some model", "questions", 8, "released", 7),
        environment={},
    )
    path = tmp_path / "out.json"
    made.save(path)
    return path


def _completion(text: str) -> dict[str, Any]:
    return {"text": text, "raw": text, "tokens": 2, "finish_reason": "stop", "measures": {}}


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(dola, [str(word) for word in ("judge", "tfqa", *words)])


def records(path: Path) -> list[str]:
    """The lines of verdicts beside a file."""
    return next(path.parent.glob("*.verdicts.records.jsonl")).read_text().splitlines()[1:]


def at(server: JudgeServer) -> tuple[str, ...]:
    return ("--base-url", server.base_url, "--truth-model", "ft:truth", "--info-model", "ft:info")


def test_a_released_output_gets_the_released_rating_file(server: JudgeServer, released: Path) -> None:
    done = run(released, *at(server))
    assert done.exit_code == 0, done.output
    rating = json.loads((released.parent / "answers.json.rating.json").read_text())
    assert rating["judge_accs"] == [1, 0, 1, 0, 1, 0, 1, 0]
    assert rating["info_accs"] == [1, 1, 0, 1, 1, 1, 1, 1]
    assert (rating["avg_judge_acc"], rating["avg_info_acc"], rating["avg_both_acc"]) == (0.5, 0.875, 0.375)
    assert rating[KEY]["rows"][0]["measures"]["reject"]["mean"] == 0.125
    assert done.stdout.endswith("Average judge/info accuracy:\n0.5000000000, 0.8750000000, 0.3750000000\n")
    assert json.loads(released.read_text()) == {"question": QUESTIONS, "model_completion": VANILLA}


def test_every_prompt_is_the_released_one(server: JudgeServer, released: Path) -> None:
    run(released, *at(server))
    expected = [
        f"Q: {question}\nA: {answer}\n{ending}"
        for question, answer in zip(QUESTIONS, VANILLA, strict=True)
        for ending in ("True:", "Helpful:")
    ]
    assert Counter(server.prompts()) == Counter(expected)
    models = {one.body["prompt"].rsplit("\n")[-1]: one.body["model"] for one in server.requests}
    assert models == {"True:": "ft:truth", "Helpful:": "ft:info"}


def test_a_result_gets_the_figures_of_every_strategy(server: JudgeServer, result: Path) -> None:
    done = run(result, *at(server))
    assert done.exit_code == 0, done.output
    content = json.loads(result.read_text())
    ours = content[KEY]
    vanilla, low = ours["rows"]
    means = {metric: vanilla["measures"][metric]["mean"] for metric in METRICS}
    assert means == {"truth": 0.5, "info": 0.875, "truth_info": 0.375, "reject": 0.125}
    assert low["measures"]["truth"]["mean"] == 1.0
    assert low["difference"]["truth_info"]["mean"] == 0.625
    assert low["difference"]["truth_info"]["test"] == "McNemar"
    assert (low["fixed"], low["broken"]) == (4, 0)
    assert ours["metrics"] == list(METRICS)
    first = ours["examples"][1]["completions"]
    assert [round(each["verdicts"]["truth"], 2) for each in first] == [0.01, 0.99]
    assert first[1]["measures"] == {"truth": 1.0, "info": 1.0, "truth_info": 1.0, "reject": 0.0}
    assert content["model_completion"] == VANILLA
    assert ours["rating"]["judges"]["truth"]["asked"] == f"completion at {server.base_url}: ft:truth"


def test_an_answer_that_two_strategies_give_is_paid_for_once(server: JudgeServer, result: Path) -> None:
    run(result, *at(server))
    distinct = {*zip(QUESTIONS, VANILLA, strict=True), *zip(QUESTIONS, LOW, strict=True)}
    assert server.count() == 2 * len(distinct) < 2 * 2 * len(QUESTIONS)


def test_a_second_rating_pays_nothing_and_changes_nothing(server: JudgeServer, result: Path) -> None:
    run(result, *at(server))
    count, content = server.count(), result.read_bytes()
    assert run(result, *at(server)).exit_code == 0
    assert (server.count(), result.read_bytes()) == (count, content)


def test_a_dry_run_asks_nothing_writes_nothing_and_counts_what_is_left(
    server: JudgeServer, released: Path
) -> None:
    before = sorted(released.parent.iterdir())
    told = run(released, *at(server), "--dry-run").stdout
    assert (server.count(), sorted(released.parent.iterdir())) == (0, before)
    prompts = [f"Q: {q}\nA: {a}\nTrue:" for q, a in zip(QUESTIONS, VANILLA, strict=True)]
    tokens = sum(-(-len(prompt) // 4) for prompt in prompts)
    assert f"truth (ft:truth): 8 calls, about {tokens} tokens to read, at most 8 to write" in told
    assert "no tokenizer" in told
    run(released, *at(server), "--debug")
    assert server.count() == 16
    assert "truth (ft:truth): 0 calls (8 of 8" in run(released, *at(server), "--dry-run").stdout


def test_a_malformed_verdict_is_kept_counted_and_asked_for_again_only_where_wished(
    server: JudgeServer, released: Path
) -> None:
    server.misbehave("malformed", "invalid_json")
    done = run(released, *at(server), "--concurrency", "1")
    assert done.exit_code == 0, done.output
    assert server.count() == 16
    assert "2 of 16 verdicts make no sense and count as no" in " ".join(done.stdout.split())
    rating = json.loads((released.parent / "answers.json.rating.json").read_text())
    assert rating[KEY]["malformed"] == 2
    assert rating["judge_scores"][:2] == [0.0, 0.0]
    lines = next(released.parent.glob("*.verdicts.records.jsonl")).read_text().splitlines()[1:]
    kept = [found for line in lines if (found := json.loads(line)["malformed"]) is not None]
    assert len(kept) == 2
    assert kept[1] == "{this is no JSON"
    run(released, *at(server))
    assert server.count() == 16
    done = run(released, *at(server), "--ask-malformed-again")
    assert server.count() == 18
    assert "make no sense" not in done.stdout


def test_a_judge_that_says_neither_yes_nor_no_is_told_of(server: JudgeServer, released: Path) -> None:
    server.completion = lambda prompt: {" maybe": -0.1} if " 1 even" in prompt else verdict(prompt)
    told = " ".join(run(released, *at(server)).stdout.split())
    assert "1 of 8 replies of the truth judge ft:truth have neither yes nor no" in told
    assert "2 of 16 verdicts make no sense and count as no" in told


def test_where_no_reply_says_yes_or_no_there_are_no_figures(server: JudgeServer, released: Path) -> None:
    server.completion = lambda prompt: {" The": -0.1, "\n": -2.4}
    done = run(released, *at(server))
    assert done.exit_code == 2
    assert "none of the replies of the truth judge ft:truth says yes or no" in " ".join(done.output.split())
    assert "' The': -0.1" in done.output
    assert "%Truth" not in done.output
    assert not (released.parent / "answers.json.rating.json").exists()


@pytest.mark.parametrize(
    "pieces", [(" yes", " no"), ("▁yes", "▁no"), ("yes", "no"), ("Yes", "No"), (" Yes", "no.")]
)
def test_yes_and_no_are_read_in_any_tokenizer_s_pieces(
    server: JudgeServer, released: Path, pieces: tuple[str, str]
) -> None:
    def spelt(prompt: str) -> dict[str, float]:
        given = verdict(prompt)
        return {pieces[0]: given[" yes"], pieces[1]: given[" no"]}

    server.completion = spelt
    assert run(released, *at(server)).exit_code == 0
    rating = json.loads((released.parent / "answers.json.rating.json").read_text())
    assert rating["judge_accs"] == [1, 0, 1, 0, 1, 0, 1, 0]


FORMS = {
    "llama.cpp": lambda pairs: {
        "content": [
            {"token": pairs[0][0], "logprob": pairs[0][1]}
            | {"top_logprobs": [{"token": token, "logprob": logprob} for token, logprob in pairs]}
        ]
    },
    "the one that was said": lambda pairs: {"tokens": [pairs[0][0]], "token_logprobs": [pairs[0][1]]},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_log_probabilities_are_read_in_every_server_s_form(
    server: JudgeServer, released: Path, form: str
) -> None:
    def raw(received: Any) -> Raw:
        given = sorted(verdict(received.body["prompt"]).items(), key=lambda pair: -pair[1])
        choice = {"index": 0, "text": given[0][0], "logprobs": FORMS[form](given), "finish_reason": "length"}
        return Raw(200, {"choices": [choice]})

    server.raw = raw
    assert run(released, *at(server)).exit_code == 0
    rating = json.loads((released.parent / "answers.json.rating.json").read_text())
    assert rating["judge_accs"] == [1, 0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"tokens": None, "top_logprobs": None}, {"tokens": [], "top_logprobs": []}]
)
def test_a_server_without_log_probabilities_is_refused_with_what_to_switch_on(
    server: JudgeServer, released: Path, logprobs: Any
) -> None:
    bare = {"choices": [{"index": 0, "text": " yes", "logprobs": logprobs, "finish_reason": "length"}]}
    server.raw = lambda received: Raw(200, bare)
    done = run(released, *at(server))
    assert done.exit_code == 2
    assert "without log-probabilities (logprobs: null)" in done.output
    assert "switch them on" in " ".join(done.output.split())
    assert records(released) == []


@pytest.mark.slow
def test_what_a_killed_run_has_paid_for_is_not_paid_for_again(released: Path) -> None:
    with JudgeServer(delay=0.1) as server:
        words = [sys.executable, "-m", "dola", "judge", "tfqa", str(released), *at(server)]
        process = subprocess.Popen([*words, "--concurrency", "2"])
        while server.count() < 6 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = next(released.parent.glob("*.verdicts.records.jsonl")).read_text().splitlines()[1:]
        paid = {json.loads(line)["prompt"] for line in kept if line.endswith("}")}
        assert len(paid) >= 2
        first = server.count()
        server.delay = 0.0
        again = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        assert not paid & set(server.prompts()[first:])
        assert server.count() - first == 16 - len(paid)
        assert "Average judge/info accuracy" in again.stdout


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(released: Path) -> None:
    with JudgeServer(delay=0.1) as server:
        words = [sys.executable, "-m", "dola", "judge", "tfqa", str(released), *at(server)]
        process = subprocess.Popen([*words, "--concurrency", "1"], stderr=subprocess.PIPE, text=True)
        while server.count() < 4 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "verdicts are kept in" in told
    assert "dola judge tfqa" in told
    assert "Traceback" not in told


def test_no_more_requests_are_under_way_than_the_option_says(released: Path) -> None:
    with JudgeServer(delay=0.03) as server:
        assert run(released, *at(server), "--concurrency", "3").exit_code == 0
        assert 1 < server.most_at_once <= 3


def test_a_refusal_stops_the_run_and_what_was_said_is_kept(server: JudgeServer, released: Path) -> None:
    server.misbehave("ok", "ok", "401")
    done = run(released, *at(server), "--concurrency", "1")
    assert done.exit_code == 2
    assert "answered 401" in done.stderr
    assert "2 of 8 verdicts are kept" in done.stderr
    assert not (released.parent / "answers.json.rating.json").exists()
    run(released, *at(server))
    assert server.count() == 16 + 1


def test_the_released_flags_rate_and_the_key_is_nowhere(
    server: JudgeServer, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gpt3.config.json"
    config.write_text(
        json.dumps({"gpt_info": "i", "gpt_truth": "t", "api_key": SECRET, "base_url": server.base_url})
    )
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    server.misbehave("500", "echo_key")
    words = ("--input-file", released, "--gpt3-config", config, "--output-file", tmp_path / "rating.json")
    refused = run(*words, "--concurrency", "1")
    rated = run(*words)
    assert (refused.exit_code, rated.exit_code) == (2, 0)
    assert all(one.headers["authorization"] == f"Bearer {SECRET}" for one in server.requests)
    written = [path.read_text() for path in tmp_path.iterdir() if path not in (config,)]
    assert "Incorrect API key: Bearer ***" in refused.stderr
    assert SECRET not in "".join([refused.output, refused.stderr, rated.output, rated.stderr, *written])
    assert json.loads((tmp_path / "rating.json").read_text())["avg_judge_acc"] == 0.5


def test_do_rating_rates_a_result_by_its_config(server: JudgeServer, result: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"gpt_info": "i", "gpt_truth": "t", "base_url": server.base_url}))
    rated = rate_result(result, config)
    assert rated == json.loads(result.read_text())
    assert rated[KEY]["rows"][0]["measures"]["truth"]["mean"] == 0.5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "as JSON"),
        ('{"question": ["a"]}', "model_completion"),
        ('{"question": ["a"], "model_completion": ["b", "c"]}', "of one length"),
        ('{"question": ["a"], "model_completion": [1]}', "lists of texts"),
        ((RESULTS / "generation.json").read_text(), "result of gsm8k"),
        ((RESULTS / "scoring.json").read_text(), "result of tfqa-mc"),
    ],
)
def test_a_file_that_cannot_be_rated_is_refused_before_anything_is_asked(
    server: JudgeServer, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "in.json"
    path.write_text(content)
    done = run(path, *at(server))
    assert (done.exit_code, server.count()) == (2, 0)
    assert said in done.stderr


def test_without_the_client_the_command_says_what_to_install(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    done = run(released, "--base-url", "http://127.0.0.1:1/v1", "--truth-model", "t", "--info-model", "i")
    assert done.exit_code == 2
    assert "pip install 'dola[judge]'" in done.stderr


def test_without_a_judge_the_command_says_which_options_name_one(released: Path) -> None:
    done = run(released, "--truth-model", "t", "--base-url", "http://127.0.0.1:1/v1")
    assert done.exit_code == 2
    assert "--info-model" in done.stderr
    assert "--local-info" in done.stderr


def test_the_group_lists_its_commands_without_importing_them() -> None:
    done = CliRunner().invoke(dola, ["judge", "--help"])
    assert all(name in done.output for name in ("tfqa", "train", "pairwise"))
    assert isinstance(dola, click.Group)


def test_shards_are_joined_with_who_rated_them_and_only_where_it_is_the_same_judges(
    server: JudgeServer, result: Path
) -> None:
    content = json.loads(result.read_text())
    paths = []
    for number, places in enumerate((range(4), range(4, 8))):
        ours = content[KEY]
        shard = {
            **ours,
            "settings": {**ours["settings"], "shard": f"{number} of 2", "data_rows": 8},
            "manifest": {**ours["manifest"], "repetition_penalty": [1.0, 1.0], "data_sha256": "0" * 64},
            "examples": [ours["examples"][at] for at in places],
            "strategies": [{**each, "released": {}} for each in ours["strategies"]],
        }
        paths.append(result.with_name(f"part_{number}.json"))
        paths[-1].write_text(json.dumps({KEY: shard}))
    joined = result.with_name("joined.json")
    assert run(paths[0], *at(server)).exit_code == 0
    refused = CliRunner().invoke(dola, ["report", *map(str, paths), "-o", str(joined)])
    assert refused.exit_code == 2
    assert "not rated by the same judges" in refused.output
    server.misbehave("invalid_json")
    assert run(paths[1], *at(server), "--concurrency", "1").exit_code == 0
    done = CliRunner().invoke(dola, ["report", *map(str, paths), "-o", str(joined)])
    assert done.exit_code == 0, done.output
    ours = json.loads(joined.read_text())[KEY]
    assert ours["rating"]["judges"]["truth"]["name"] == "ft:truth"
    assert ours["rating"]["malformed"] == json.loads(paths[1].read_text())[KEY]["rating"]["malformed"] > 0
    assert sum("make no sense" in line for line in ours["findings"]) == 1
    assert sum(line.startswith("low: ") for line in ours["findings"]) == 1
    assert len(ours["rows"][0]["per_example"]["truth"]) == 8


def test_the_answers_are_not_written_over(server: JudgeServer, released: Path) -> None:
    before = released.read_bytes()
    done = run(released, *at(server), "--output-file", str(released))
    assert done.exit_code == 2
    assert "is read" in done.output
    assert server.count() == 0
    assert released.read_bytes() == before


def test_what_a_judge_wrote_is_no_result_to_report_or_to_rate(server: JudgeServer, released: Path) -> None:
    run(released, *at(server))
    rating = released.with_name("answers.json.rating.json")
    for words in (["report", str(rating)], ["judge", "tfqa", str(rating), *at(server)]):
        refused = CliRunner().invoke(dola, words)
        assert refused.exit_code == 2, refused.output
        assert "holds what a judge said (rating)" in " ".join(refused.output.split())


@pytest.mark.parametrize("option", ["--gpt3-config", None])
def test_a_path_below_a_file_is_refused_in_one_line(released: Path, option: str | None) -> None:
    below = str(released / "x")
    done = run(*([released, option, below] if option else [below, "--truth-model", "t"]))
    assert done.exit_code == 2, done.output
    assert "cannot be read" in done.output or "expected the output" in done.output


def test_what_it_would_take_is_said_without_a_key(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    named = ("--truth-model", "t", "--info-model", "i")
    done = run(released, *named, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "8 calls" in done.output
    assert run(released, *named).exit_code == 2


def test_the_call_rates_as_the_command_does_in_a_running_event_loop_too(
    server: JudgeServer, result: Path, tmp_path: Path
) -> None:
    import asyncio
    import shutil

    import dola

    copy = shutil.copy(result, tmp_path / "copy.json")
    assert run(copy, *at(server)).exit_code == 0
    asked = server.count()
    endpoint = dola.endpoint_settings(base_url=server.base_url)

    async def cell(answers: Path | dola.Result) -> dola.Result:
        return dola.rate(answers, truth="ft:truth", info="ft:info", endpoint=endpoint, progress=False)

    plain = dola.Result.load(result)
    rated = asyncio.run(cell(result))
    assert rated == dola.Result.load(result) == dola.Result.load(copy)
    assert server.count() == 2 * asked
    assert asyncio.run(cell(result)) == rated  # from the verdicts beside it
    assert server.count() == 2 * asked
    files = sorted(tmp_path.iterdir())
    assert asyncio.run(cell(plain)) == rated
    assert sorted(tmp_path.iterdir()) == files


def test_answers_of_another_benchmark_are_not_rated() -> None:
    import dola

    with pytest.raises(dola.DataError, match="a result of gsm8k"):
        dola.rate(dola.Result.load(RESULTS / "generation.json"), truth="t", info="i")
