"""`dola judge pairwise` against a real server that misbehaves, with the real client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dola.cli.main import dola
from judge_server import JudgeServer

JUDGES = Path(__file__).parent / "data" / "judges"
SECRET = "sk-a-key-that-nobody-may-see"
REVIEW_KEYS = [
    *("review_id", "question_id", "answer1_id", "answer2_id"),
    *("reviewer_id", "metadata", "text", "score"),
]
QUESTIONS = 6


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with JudgeServer() as server:
        server.chat = better("good")
        yield server


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Six questions of two categories, the answers of a good model and of a bad one."""
    questions = [
        {"question_id": i, "text": f"Why {i}?", "category": "coding" if i > 4 else "fermi"}
        for i in range(1, QUESTIONS + 1)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions))
    for name in ("good", "bad"):
        rows = (
            {"question_id": i, "text": f"{name} {i}", "answer_id": f"{name}-{i}", "model_id": name}
            for i in range(1, QUESTIONS + 1)
        )
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def shown(messages: list[dict[str, str]]) -> tuple[int, str, str]:
    """Which question a judge was asked, and the two answers as they stood."""
    lines = messages[1]["content"].splitlines()
    return int(lines[0].strip("Q: Why?")), lines[1].removeprefix("1: "), lines[2].removeprefix("2: ")


def better(name: str) -> Callable[[list[dict[str, str]]], str]:
    """A judge that finds this model's answers better, in the form that it is asked for."""

    def judge(messages: list[dict[str, str]]) -> str:
        first = shown(messages)[1].startswith(name)
        if "[[A]]" in messages[0]["content"]:
            return "[[A]]" if first else "[[B]]"
        return "9 4\nBecause." if first else "4 9\nBecause."

    return judge


def arguments(files: Path, server: JudgeServer, *more: str) -> list[str]:
    return [
        *("judge", "pairwise", "--question-file", str(files / "q.jsonl")),
        *("--answer-file", str(files / "good.jsonl"), str(files / "bad.jsonl")),
        *(
            "--prompt-file",
            str(JUDGES),
            "--base-url",
            server.base_url,
            "--output-path",
            str(files / "o.jsonl"),
        ),
        *more,
    ]


def run(files: Path, server: JudgeServer, *more: str) -> Result:
    command = arguments(files, server, *more)
    return CliRunner().invoke(dola, command, prog_name="dola", env={"COLUMNS": "120"})


def reviewed(files: Path, server: JudgeServer, *more: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    result = run(files, server, *more)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (files / "o.jsonl").read_text().splitlines()]
    return lines, json.loads((files / "o.summary.json").read_text())["dola"]


def test_every_pair_is_shown_in_both_orders_and_the_better_wins(files: Path, server: JudgeServer) -> None:
    _, summary = reviewed(files, server)
    assert server.count() == 2 * QUESTIONS
    seen = sorted(shown(request.body["messages"]) for request in server.requests)
    expected = [
        (i, *pair)
        for i in range(1, QUESTIONS + 1)
        for pair in ((f"bad {i}", f"good {i}"), (f"good {i}", f"bad {i}"))
    ]
    assert seen == expected
    assert summary["overall"]["outcomes"] == {
        "win": 6,
        "loss": 0,
        "tie": 0,
        "inconsistent": 0,
        "malformed": 0,
    }
    assert summary["overall"]["win_rate"]["mean"] == 1.0
    assert summary["overall"]["p"] == pytest.approx(2 * 0.5**6)
    assert {name: tally["matches"] for name, tally in summary["categories"].items()} == {
        "fermi": 4,
        "coding": 2,
    }
    assert summary["scores"]["a"]["mean"] == 9.0
    assert (summary["a"]["label"], summary["b"]["label"]) == ("good", "bad")


def test_the_review_file_is_fastchat_s(files: Path, server: JudgeServer) -> None:
    lines, _ = reviewed(files, server)
    assert [list(line) for line in lines] == [REVIEW_KEYS] * 12
    first, second, *_, last = lines
    assert {key: first[key] for key in REVIEW_KEYS[1:]} == {
        "question_id": 1,
        "answer1_id": "good-1",
        "answer2_id": "bad-1",
        "reviewer_id": 1,
        "metadata": {},
        "text": "9 4\nBecause.",
        "score": [9.0, 4.0],
    }
    assert (second["answer1_id"], second["score"]) == ("bad-1", [4.0, 9.0])
    assert (last["question_id"], last["reviewer_id"]) == (6, 2)
    assert len({line["review_id"] for line in lines}) == 12
    # The reviewer's temperature, as asked; the length lets a thinking model finish.
    by_question = {shown(each.body["messages"])[0]: each.body for each in server.requests}
    assert (by_question[1]["temperature"], by_question[1]["max_tokens"]) == (0.2, 8192)
    assert (by_question[6]["temperature"], by_question[6]["max_tokens"]) == (0.1, 8192)


def test_one_order_is_fastchat_s_own_review(files: Path, server: JudgeServer) -> None:
    lines, summary = reviewed(files, server, "--one-order")
    assert server.count() == len(lines) == QUESTIONS
    assert {line["answer1_id"] for line in lines} == {f"good-{i}" for i in range(1, QUESTIONS + 1)}
    assert summary["overall"]["outcomes"]["win"] == 6


def test_the_pair_judgement_writes_both_games_on_a_line(files: Path, server: JudgeServer) -> None:
    lines, summary = reviewed(files, server, "--form", "pair")
    assert len(lines) == QUESTIONS
    line = lines[0]
    assert (line["model_1"], line["model_2"], line["judge"], line["turn"]) == (
        "good",
        "bad",
        ["gpt-4", "pair-v2"],
        1,
    )
    assert (line["g1_winner"], line["g2_winner"]) == ("model_1", "model_1")
    assert (line["g1_judgment"], line["g2_judgment"]) == ("[[A]]", "[[B]]")
    assert line["g2_user_prompt"] == "Q: Why 1?\n1: bad 1\n2: good 1"
    assert summary["scores"] is None
    assert server.requests[0].body["temperature"] == 0


def test_ties_orders_and_nonsense_are_told_apart_and_all_counted(files: Path, server: JudgeServer) -> None:
    def judge(messages: list[dict[str, str]]) -> str:
        number, first, _ = shown(messages)
        by_text = "9 4" if first.startswith("good") else "4 9"
        # By the text, a tie, by the place, a tie once, never to be read, and read once.
        return {
            1: by_text,
            2: "7 7",
            3: "8 5",
            4: by_text if first.startswith("good") else "6 6",
            5: "Both are fine.",
            6: by_text if first.startswith("good") else "Well...",
        }[number]

    server.chat = judge
    lines, summary = reviewed(files, server)
    assert [match["outcome"] for match in summary["matches"]] == [
        *("win", "tie", "inconsistent", "inconsistent", "malformed", "malformed")
    ]
    assert summary["overall"]["reversed"] == 1
    assert summary["overall"]["win_rate"]["mean"] == pytest.approx((1 + 5 * 0.5) / 6)
    assert summary["places"] == {"first": 5, "second": 1, "tie": 3, "malformed": 3}
    assert len(lines) == 2 * QUESTIONS
    assert [line["score"] for line in lines if line["text"] in ("Both are fine.", "Well...")] == [
        [-1, -1]
    ] * 3


def test_what_passes_is_asked_again_and_what_makes_no_sense_is_kept(files: Path, server: JudgeServer) -> None:
    server.misbehave("429", "500", "cut", "invalid_json", "malformed")
    lines, summary = reviewed(files, server, "--concurrency", "1")
    # Three that the client tried again; two whose reply came, and was none.
    assert server.count() == 2 * QUESTIONS + 3
    assert summary["places"]["malformed"] == 2
    kept = [line["text"] for line in lines if line["score"] == [-1, -1]]
    assert len(kept) == 2
    assert any("this is no JSON" in text for text in kept)
    before = server.count()
    _, again = reviewed(files, server, "--ask-malformed-again")
    assert server.count() == before + 2
    assert again["places"]["malformed"] == 0


def test_a_second_run_pays_nothing_and_writes_the_same(files: Path, server: JudgeServer) -> None:
    once = reviewed(files, server)
    paid = server.count()
    assert reviewed(files, server) == once
    assert server.count() == paid
    reviewed(files, server, "--overwrite")
    assert server.count() == 2 * paid


def test_calling_the_models_the_other_way_round_pays_nothing_and_mirrors(
    files: Path, server: JudgeServer
) -> None:
    _, once = reviewed(files, server)
    paid = server.count()
    swapped = [str(files / "bad.jsonl"), str(files / "good.jsonl")]
    _, turned = reviewed(files, server, "--answer-file", *swapped)
    assert server.count() == paid
    assert turned["overall"]["outcomes"]["loss"] == once["overall"]["outcomes"]["win"]
    assert turned["overall"]["win_rate"]["mean"] == 1 - once["overall"]["win_rate"]["mean"]


def test_another_judge_or_other_settings_are_asked_anew(files: Path, server: JudgeServer) -> None:
    reviewed(files, server)
    paid = server.count()
    reviewed(files, server, "--judge-model", "another")
    assert server.count() == 2 * paid
    reviewed(files, server, "--temperature", "0.7")
    assert server.count() == 3 * paid
    assert server.requests[-1].body["temperature"] == 0.7


def test_no_more_calls_at_a_time_than_asked_for(files: Path, server: JudgeServer) -> None:
    server.delay = 0.05
    reviewed(files, server, "--concurrency", "3")
    assert 1 < server.most_at_once <= 3


def test_a_refusal_stops_the_run_and_the_same_command_goes_on(files: Path, server: JudgeServer) -> None:
    server.misbehave("ok", "ok", "ok", "401")
    result = run(files, server, "--concurrency", "1")
    assert result.exit_code == 2
    assert "401" in result.output
    assert "3 of 12 verdicts are kept" in " ".join(result.output.split())
    assert not (files / "o.jsonl").exists()
    assert server.count() == 4
    reviewed(files, server)
    assert server.count() == 4 + 9


def test_what_a_killed_run_has_paid_for_is_not_paid_for_again(files: Path, server: JudgeServer) -> None:
    server.delay = 0.2
    command = [sys.executable, "-m", "dola", *arguments(files, server, "--concurrency", "2")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    records = files / "o.jsonl.verdicts.records.jsonl"
    until = time.monotonic() + 60
    while not records.exists() or records.read_bytes().count(b"\n") < 4:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = records.read_bytes().count(b"\n") - 1
    time.sleep(0.3)  # what was under way arrives nowhere
    before, server.delay = server.count(), 0.0
    _, summary = reviewed(files, server)
    assert server.count() - before == 2 * QUESTIONS - kept
    assert summary["overall"]["matches"] == QUESTIONS


def test_a_dry_run_asks_nothing_writes_nothing_and_counts_what_is_left(
    files: Path, server: JudgeServer
) -> None:
    before = sorted(files.iterdir())
    result = run(files, server, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "12 calls" in result.output
    assert server.count() == 0
    assert sorted(files.iterdir()) == before
    reviewed(files, server, "--first-n", "2")
    assert "8 calls" in run(files, server, "--dry-run").output


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("bad.jsonl", '{"question_id": 1, "text": "x"}', "5 have none"),
        ("bad.jsonl", '{"question_id": 1', "bad.jsonl:1: is not JSON"),
        ("q.jsonl", '{"question_id": 1, "text": "x"}', "not in the question file: question_id 2"),
        ("q.jsonl", "", "the file is empty"),
    ],
)
def test_bad_files_are_refused_before_anything_is_asked(
    files: Path, server: JudgeServer, name: str, content: str, told: str
) -> None:
    (files / name).write_text(content)
    result = run(files, server)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert server.count() == 0


def test_a_form_that_the_prompt_file_has_not_is_refused(files: Path, server: JudgeServer) -> None:
    wrong = run(files, server, "--form", "review", "--prompt-file", str(JUDGES / "judge_prompts.jsonl"))
    assert wrong.exit_code == 2
    assert "--form review needs other prompts" in wrong.output
    lines, _ = reviewed(files, server, "--prompt-file", str(JUDGES / "judge_prompts.jsonl"))
    assert lines[0]["judge"] == ["gpt-4", "pair-v2"]


def test_the_key_is_in_no_output(files: Path, server: JudgeServer) -> None:
    server.misbehave("ok", "echo_key")
    refused = run(files, server, "--concurrency", "1")
    done = run(files, server)
    assert SECRET not in refused.output + done.output
    for path in files.iterdir():
        assert SECRET not in path.read_text()


def test_two_judges_at_once_are_refused(files: Path, server: JudgeServer) -> None:
    result = run(files, server, "--judge-model", "m", "--local-judge", "n")
    assert result.exit_code == 2
    assert "name one of them" in result.output


@pytest.mark.parametrize("name", ["good.jsonl", "q.jsonl"])
def test_what_is_judged_is_not_written_over(files: Path, server: JudgeServer, name: str) -> None:
    before = (files / name).read_bytes()
    result = run(files, server, "-o", str(files / name))
    assert result.exit_code == 2, result.output
    assert "is read" in result.output
    assert server.count() == 0
    assert (files / name).read_bytes() == before


def test_a_prompt_without_a_name_is_refused(files: Path, server: JudgeServer) -> None:
    prompt = {
        "type": "pairwise",
        "system_prompt": "s",
        "prompt_template": "{question}",
        "output_format": "[[A]]",
    }
    (files / "p.jsonl").write_text(json.dumps(prompt))
    result = run(files, server, "--form", "pair", "--prompt-file", str(files / "p.jsonl"))
    assert result.exit_code == 2, result.output
    assert "pair-v2" in result.output


@pytest.mark.parametrize("option", ["--temperature", "--timeout"])
def test_what_is_no_number_is_refused(files: Path, server: JudgeServer, option: str) -> None:
    result = run(files, server, option, "nan")
    assert result.exit_code == 2, result.output
    assert "not a finite number" in result.output
    assert server.count() == 0
