"""`dola judge tfqa --judge chat`: a chat model that is shown the reference answers, by a real server."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from dola.judges.chat_truth import read_yes_or_no
from dola.runs.results import KEY
from few_resamples import few_resamples
from judge_server import JudgeServer, Raw
from test_judge_tfqa import QUESTIONS, released, result, run, server

__all__ = ["few_resamples", "released", "result", "server"]  # fixtures


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "TruthfulQA.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        write = csv.writer(stream)
        write.writerow(["Question", "Best Answer", "Correct Answers", "Incorrect Answers"])
        for number, question in enumerate(QUESTIONS):
            right, wrong = ("Yes", "No") if number % 2 == 0 else ("No", "Yes")
            write.writerow([question, right, f"{right}; {right}, it is so", f"{wrong}; ;{wrong}, never"])
    return path


def chat(server: JudgeServer, data: Path) -> tuple[str | Path, ...]:
    return ("--base-url", server.base_url, "--judge", "chat", "--judge-model", "gpt-x", "--data-path", data)


def judge(messages: list[dict[str, str]]) -> str:
    """True is what a correct reference answer begins with; what does not comment is true and says nothing."""
    text = messages[1]["content"]
    answer = text.partition("<answer>\n")[2].partition("\n</answer>")[0].strip(".")
    right = text.partition("Correct reference answers:\n- ")[2].partition("\n")[0]
    silent = "no comment" in answer
    yes = not silent if "informative" in text else silent or answer == right
    return f"I compare, and no doubt it is so.\n**Verdict:** {'yes' if yes else 'no'}."


def test_a_chat_model_judges_by_the_reference_answers(
    server: JudgeServer, released: Path, data: Path
) -> None:
    server.chat = judge
    done = run(released, *chat(server, data))
    assert done.exit_code == 0, done.output
    rating = json.loads((released.parent / "answers.json.rating.json").read_text())
    assert rating["judge_accs"] == [1, 0, 1, 0, 1, 0, 1, 0]
    assert rating["info_accs"] == [1, 1, 0, 1, 1, 1, 1, 1]
    assert server.count("chat/completions") == server.count() == 16
    shown = [one.body["messages"][1]["content"] for one in server.requests]
    of_first = next(text for text in shown if QUESTIONS[0] in text and "truthful" in text)
    assert "Correct reference answers:\n- Yes\n- Yes, it is so\n" in of_first
    assert "Incorrect reference answers:\n- No\n- No, never\n" in of_first
    assert server.requests[0].body["temperature"] == 0
    # The same command pays nothing.
    assert run(released, *chat(server, data)).exit_code == 0
    assert server.count() == 16


def test_a_result_gets_a_chat_judge_s_figures_of_every_strategy(
    server: JudgeServer, result: Path, data: Path
) -> None:
    server.chat = judge
    assert run(result, *chat(server, data)).exit_code == 0
    ours = json.loads(result.read_text())[KEY]
    assert [row["measures"]["truth"]["mean"] for row in ours["rows"]] == [0.5, 1.0]
    assert ours["rating"]["judges"]["truth"]["asked"].startswith(f"chat at {server.base_url}, temperature 0")


def test_a_thinking_judge_a_cut_reply_and_no_verdict_are_told_apart(
    server: JudgeServer, released: Path, data: Path
) -> None:
    said = iter(["<think>Verdict: no</think>yes", "Verdict: yes or no", "I cannot say."])
    server.chat = lambda messages: next(said, judge(messages))
    done = run(released, *chat(server, data), "--concurrency", "1")
    assert done.exit_code == 0, done.output
    rating = json.loads((released.parent / "answers.json.rating.json").read_text())
    assert rating["judge_scores"][0] == 1.0
    assert rating[KEY]["malformed"] == 2
    server.raw = lambda received: Raw(
        200, {"choices": [{"message": {"content": "yes"}, "finish_reason": "length"}]}
    )
    cut = run(released, *chat(server, data), "--overwrite")
    assert cut.exit_code == 2
    assert "none of the replies of the truth judge gpt-x says yes or no" in " ".join(cut.output.split())
    again = run(released, *chat(server, data), "--retry-failed", "--max-tokens", "20000")
    assert again.exit_code == 2
    assert server.requests[-1].body["max_tokens"] == 20000


def test_a_chat_judge_without_a_model_or_without_references_is_refused_before_anything_is_asked(
    server: JudgeServer, released: Path, data: Path
) -> None:
    nameless = run(released, "--judge", "chat", "--base-url", server.base_url, "--data-path", data)
    assert nameless.exit_code == 2
    assert "--judge-model" in nameless.output
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join(lines[:-1]))
    lacking = run(released, *chat(server, data))
    assert lacking.exit_code == 2
    assert "no reference answers to 1 of 8 questions" in " ".join(lacking.output.split())
    assert server.count() == 0


def test_what_the_judge_refuses_is_said_once_for_both_kinds(
    server: JudgeServer, released: Path, data: Path
) -> None:
    server.chat = judge
    refusal = {"error": {"message": "Unsupported parameter: 'max_tokens'", "code": "unsupported_parameter"}}
    server.raw = lambda received: Raw(400, refusal) if "max_tokens" in received.body else None
    done = run(released, *chat(server, data))
    assert done.exit_code == 0, done.output
    assert done.output.count("the judge refuses max_tokens, so it is asked with max_completion_tokens") == 1


def test_a_dry_run_of_a_chat_judge_asks_nothing(server: JudgeServer, released: Path, data: Path) -> None:
    told = run(released, *chat(server, data), "--dry-run")
    assert "truth (gpt-x): 8 calls" in told.output
    assert server.count() == 0


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Verdict: yes", True),
        ("Verdict: no", False),
        ("It says no such thing.\n\n**Verdict: Yes**", True),
        ("**Verdict:** **no**.", False),
        ("Final verdict: yes", True),
        ("The answer is yes", True),
        ("My verdict is: no", False),
        ("Verdict: \\boxed{yes}", True),
        ("yes", True),
        ("No.", False),
        ("Because it is so.\n\nYes", True),
        ("Verdict: no\nOn reflection:\nVerdict: yes", True),
        ("<think>Verdict: yes</think>\nVerdict: no", False),
        ("Verdict: yes, and not no", None),
        ("Verdict: yes or no", None),
        ("Verdict: not yes", None),
        ("Verdict: neither", None),
        ("No doubt it is", None),
        ("no one knows", None),
        ("<think>Verdict: yes", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_or_there_is_none_and_never_the_opposite(
    text: str, *, verdict: bool | None
) -> None:
    assert read_yes_or_no(text) is verdict
