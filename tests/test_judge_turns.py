"""Questions of two turns, answers that are none, and a local judge that is known by its commit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dola.judges.pair_files import Answer
from dola.judges.pair_verdicts import OUTCOMES
from dola.runs.chat_judges import ChatCall, LocalChat
from dola.runs.pairwise_summary import findings, summarise_pairs
from few_resamples import few_resamples
from judge_server import JudgeServer
from test_judge_pair_verdicts import match
from test_judge_pairwise import files, reviewed, run, server

__all__ = ["few_resamples", "files", "server"]  # fixtures


def rows(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))


@pytest.fixture
def two_turns(files: Path) -> Path:
    """Three questions, the last two of two turns."""
    rows(
        files / "q.jsonl",
        [
            {"question_id": 1, "text": "Why 1?", "category": "fermi"},
            {"question_id": 2, "turns": ["Why 2?", "And so 2?"], "category": "fermi"},
            {"question_id": 3, "turns": ["Why 3?", "And so 3?"], "category": "fermi"},
        ],
    )
    for name in ("good", "bad"):
        turns = [[f"{name} {i}", f"{name} then {i}"] for i in (1, 2, 3)]
        rows(
            files / f"{name}.jsonl",
            [
                {"question_id": i, "model_id": name, "choices": [{"turns": each}]}
                for i, each in zip((1, 2, 3), turns, strict=True)
            ],
        )
    return files


def good_first(text: str) -> bool:
    return text.find("good") < text.find("bad")


def asked_of(server: JudgeServer) -> list[str]:
    return [request.body["messages"][-1]["content"] for request in server.requests]


def test_a_review_shows_both_turns_at_once(two_turns: Path, server: JudgeServer) -> None:
    server.chat = lambda messages: "9 4" if good_first(messages[1]["content"]) else "4 9"
    lines, summary = reviewed(two_turns, server)
    assert server.count() == len(lines) == 2 * 3
    of_two = next(text for text in asked_of(server) if "Why 2?" in text and good_first(text))
    assert of_two.startswith(
        "Q: Turn 1: Why 2?\n\nTurn 2: And so 2?\n"
        "1: Turn 1: good 2\n\nTurn 2: good then 2\n2: Turn 1: bad 2\n\nTurn 2: bad then 2\n"
    )
    assert summary["overall"]["outcomes"]["win"] == summary["overall"]["matches"] == 3
    # A question of one turn is shown as it always was.
    assert any(text.startswith("Q: Why 1?\n1: good 1\n2: bad 1\n") for text in asked_of(server))


def test_a_pair_judgement_judges_both_turns_and_they_count_as_one_question(
    two_turns: Path, server: JudgeServer
) -> None:
    def judge(messages: list[dict[str, str]]) -> str:
        text = messages[1]["content"]
        first = good_first(text)
        if "And so 3" in text:
            return "[[B]]" if first else "[[A]]"
        return "[[A]]" if first else "[[B]]"

    server.chat = judge
    lines, summary = reviewed(two_turns, server, "--form", "pair")
    assert server.count() == 2 * 5
    assert [(line["question_id"], line["turn"]) for line in lines] == [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert any("And so 2?" in text and "bad then 2" in text for text in asked_of(server))
    # The third question is won in one turn and lost in the other.
    assert (summary["overall"]["matches"], summary["turns"]) == (3, 5)
    assert summary["overall"]["outcomes"] == {
        "win": 2,
        "loss": 0,
        "tie": 1,
        "inconsistent": 0,
        "malformed": 0,
    }
    assert summary["overall"]["win_rate"]["mean"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert summary["overall"]["p"] == pytest.approx(0.5)  # two wins of two, not three of five


def of_turns(*outcomes: str) -> Any:
    from dola.judges.pairwise import JudgedMatch

    return [JudgedMatch(match("verdict", 1, "x", "y"), {}, outcome) for outcome in outcomes]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("turns", "outcome", "value"),
    [
        (("win", "win"), "win", 1.0),
        (("win", "tie"), "win", 0.75),
        (("loss", "inconsistent"), "loss", 0.25),
        (("win", "loss"), "tie", 0.5),
        (("tie", "inconsistent"), "tie", 0.5),
        (("inconsistent", "inconsistent"), "inconsistent", 0.5),
        (("malformed", "win"), "win", 1.0),
        (("malformed", "malformed"), "malformed", 0.5),
    ],
)
def test_what_two_turns_come_to(turns: tuple[str, ...], outcome: str, value: float) -> None:
    tally = summarise_pairs(of_turns(*turns), seed=1).overall
    assert {name: count for name, count in tally.outcomes.items() if count} == {outcome: 1}
    assert set(tally.outcomes) == set(OUTCOMES)
    assert tally.win_rate.mean == value


def test_one_order_of_two_turns_says_nothing_of_the_place(two_turns: Path, server: JudgeServer) -> None:
    server.chat = lambda messages: "[[A]]"
    _, summary = reviewed(two_turns, server, "--form", "pair", "--one-order")
    assert not any("favours a place" in line for line in summary["findings"])


@pytest.mark.parametrize("text", ["$ERROR$", "", "  \n"])
def test_an_answer_that_is_none_is_told_of_and_not_compared(
    files: Path, server: JudgeServer, text: str
) -> None:
    lines = [json.loads(line) for line in (files / "bad.jsonl").read_text().splitlines()]
    lines[2]["text"] = text
    rows(files / "bad.jsonl", lines)
    _, summary = reviewed(files, server)
    assert summary["overall"]["matches"] == 5
    told = next(line for line in summary["findings"] if "not compared" in line)
    assert told.startswith(
        "1 question is not compared, since an answer is an error, empty or cut: 3 (bad.jsonl:"
    )
    assert server.count() == 10
    assert "1 question is not compared" in run(files, server, "--dry-run").output
    _, all_of_them = reviewed(files, server, "--compare-failed")
    assert all_of_them["overall"]["matches"] == 6
    assert server.count() == 12


@pytest.mark.parametrize("place", ["metadata", "row", "choice"])
def test_a_cut_answer_is_told_of_and_not_compared(files: Path, server: JudgeServer, place: str) -> None:
    lines = [json.loads(line) for line in (files / "good.jsonl").read_text().splitlines()]
    cut = {"finish_reason": "length"}
    if place == "choice":
        del lines[0]["text"]
        lines[0]["choices"] = [{"turns": ["good 1"], **cut}]
    else:
        lines[0] |= {"metadata": cut} if place == "metadata" else cut
    rows(files / "good.jsonl", lines)
    _, summary = reviewed(files, server)
    assert summary["overall"]["matches"] == 5
    assert any("1 (good.jsonl: cut (length))" in line for line in summary["findings"])


def test_where_no_pair_is_left_to_compare_that_is_said(files: Path, server: JudgeServer) -> None:
    lines = [json.loads(line) for line in (files / "bad.jsonl").read_text().splitlines()]
    rows(files / "bad.jsonl", [{**line, "text": "$ERROR$"} for line in lines])
    result = run(files, server)
    assert result.exit_code == 2
    assert "nothing to compare" in result.output
    assert server.count() == 0


def test_an_answer_of_several_turns_fails_by_any_of_them() -> None:
    assert Answer("1", "m", ("Yes.", "$ERROR$")).failure == "$ERROR$"
    assert Answer("1", "m", ("Yes.", " ")).failure == "empty"
    assert Answer("1", "m", ("Yes.", "No."), "stop").failure is None


def test_a_local_judge_by_hub_id_is_known_by_its_commit_before_anything_is_recorded(
    monkeypatch: pytest.MonkeyPatch, files: Path, server: JudgeServer
) -> None:
    """Before its configuration is fetched a hub id is only a name: a second run would know another judge."""
    fetched: list[str] = []
    monkeypatch.setattr("dola.models.loading.find_source", lambda name, **_: name)
    monkeypatch.setattr("dola.models.loading.load_depth", lambda name, **_: fetched.append(name))
    monkeypatch.setattr("dola.models.loading.dtype_here", lambda *_, **__: "float32")
    monkeypatch.setattr(
        "dola.runs.chat_judges.model_identity", lambda name: "commit c0ffee" if fetched else f"name {name}"
    )
    seen: list[str] = []

    def reply(self: LocalChat, calls: list[ChatCall], *_: Any, **__: Any) -> None:
        seen.extend(self.asked(call).model for call in calls)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalChat, "reply", reply)
    run(files, server, "--local-judge", "some/model", "--device", "cpu")
    assert {model.partition(",")[0] for model in seen} == {"commit c0ffee"}


def test_findings_count_questions_not_turns() -> None:
    summary = summarise_pairs(of_turns("win", "win"), seed=1)
    assert findings(summary, ("x", "y"))[0].startswith("x wins 1 and loses 0 of 1 against y")
