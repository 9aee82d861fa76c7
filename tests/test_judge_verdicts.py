"""Verdicts are paid for once: kept as they arrive, found by their content, whatever happens."""

from __future__ import annotations

import asyncio
import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest

from dola.errors import DataError, JudgeError, RunError
from dola.judges.endpoint import MalformedReply, RequestRefused
from dola.runs.results import write_text
from dola.runs.verdicts import Asked, Verdict, ask_all, open_verdicts, recorded_verdicts, unanswered

ASKED = [Asked("completion at http://a/v1", "judge", f"Q: {number}") for number in range(6)]


class Replies:
    """A judge that keeps count, and fails on chosen prompts."""

    def __init__(self, **by_prompt: Exception) -> None:
        self.failures = {f"Q: {name[1:]}": error for name, error in by_prompt.items()}
        self.asked: list[str] = []

    async def __call__(self, asked: Asked) -> Any:
        self.asked.append(asked.prompt)
        await asyncio.sleep(0.001)
        if asked.prompt in self.failures:
            raise self.failures[asked.prompt]
        return {" yes": -0.5}


def ask(output: Path, judge: Replies, *, concurrency: int = 2, again: bool = False) -> dict[str, Verdict]:
    with open_verdicts(output) as verdicts:
        left = unanswered(ASKED, verdicts.done, ask_malformed_again=again)
        asyncio.run(ask_all(left, judge, verdicts, concurrency=concurrency))
        return verdicts.done


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    first, second = Replies(), Replies()
    ask(tmp_path / "out.json", first)
    done = ask(tmp_path / "out.json", second)
    assert sorted(first.asked) == [one.prompt for one in ASKED]
    assert second.asked == []
    assert done[ASKED[3].key].reply == {" yes": -0.5}


def test_the_same_content_is_asked_once_and_any_other_again() -> None:
    one = ASKED[0]
    others = [Asked("elsewhere", one.model, one.prompt), Asked(one.judge, "other", one.prompt)]
    assert unanswered([one, Asked(one.judge, one.model, one.prompt), *others], {}) == [one, *others]
    assert len({each.key for each in [one, *others]}) == 3


def test_a_reply_without_sense_is_kept_and_asked_for_again_only_where_wished(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    done = ask(output, Replies(q2=MalformedReply("JSON", "<html>")))
    assert (done[ASKED[2].key].reply, done[ASKED[2].key].malformed) == (None, "<html>")
    assert len(done) == len(ASKED)
    judge = Replies()
    assert ask(output, judge)[ASKED[2].key].malformed == "<html>"
    assert judge.asked == []
    assert ask(output, judge, again=True)[ASKED[2].key].reply == {" yes": -0.5}
    assert judge.asked == ["Q: 2"]


def test_a_judge_that_fails_is_asked_no_more_and_what_is_under_way_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    judge = Replies(q2=JudgeError("http://a/v1 answered 401: no"))
    with pytest.raises(JudgeError, match=r"401: no\. 3 of 6 verdicts are kept in .*same command"):
        ask(output, judge, concurrency=2)
    assert len(judge.asked) == 4  # two done, then the failing one with one beside it
    kept = recorded_verdicts(output)
    assert {verdict.prompt for verdict in kept.values()} == {"Q: 0", "Q: 1", "Q: 3"}
    rest = Replies()
    ask(output, rest)
    assert sorted(rest.asked) == ["Q: 2", "Q: 4", "Q: 5"]


def test_a_request_refused_for_its_content_is_one_verdict_without_sense(tmp_path: Path) -> None:
    judge = Replies(q2=RequestRefused("http://a/v1 answered 400: filtered", 400))
    done = ask(tmp_path / "out.json", judge)
    assert done[ASKED[2].key].malformed == "http://a/v1 answered 400: filtered"
    assert len(done) == len(ASKED)


def test_a_judge_that_makes_no_sense_at_all_is_not_paid_for_the_rest(tmp_path: Path) -> None:
    asked = [Asked("a", "wrong-model", f"Q: {number}") for number in range(30)]
    judge = Replies(**{f"q{number}": MalformedReply("logprobs", "{}") for number in range(30)})
    with (
        open_verdicts(tmp_path / "out.json") as verdicts,
        pytest.raises(JudgeError, match="wrong-model: none of the first 10 replies makes sense"),
    ):
        asyncio.run(ask_all(asked, judge, verdicts, concurrency=1))
    assert len(judge.asked) == len(recorded_verdicts(tmp_path / "out.json")) == 10


def test_a_line_that_a_kill_cut_short_is_asked_for_again(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    ask(output, Replies(), concurrency=1)
    (path,) = tmp_path.glob("*.jsonl")
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    judge = Replies()
    ask(output, judge)
    assert judge.asked == ["Q: 5"]


def test_a_damaged_file_is_an_error_and_not_paid_for_again(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    ask(output, Replies())
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "nonsense\n", *lines[2:]]))
    with pytest.raises(DataError, match=":2"):
        ask(output, Replies())


def test_two_processes_do_not_pay_for_the_same_verdicts(tmp_path: Path) -> None:
    with open_verdicts(tmp_path / "out.json"), pytest.raises(RunError, match="another process"):
        ask(tmp_path / "out.json", Replies())


def test_to_look_what_there_is_makes_no_file(tmp_path: Path) -> None:
    assert recorded_verdicts(tmp_path / "out.json") == {}
    assert list(tmp_path.iterdir()) == []


def test_every_line_says_by_itself_what_it_is_of(tmp_path: Path) -> None:
    ask(tmp_path / "out.json", Replies())
    (path,) = tmp_path.glob("*.jsonl")
    line = json.loads(path.read_text().splitlines()[1])
    assert {"judge", "model", "prompt", "reply", "malformed", "key", "crc32"} == set(line)


def test_a_line_that_a_full_disk_cut_short_spoils_none_that_follow(tmp_path: Path) -> None:
    class Full(io.FileIO):
        """A disk with room for half a line, and later for more."""

        room = 30

        def write(self, line: Any) -> int:
            if self.room == 30:
                self.room = 0
                return super().write(line[:30])
            if self.room == 0:
                self.room = 1_000_000
                raise OSError(errno.ENOSPC, "no space")
            return super().write(line)

    output = tmp_path / "out.json"
    with open_verdicts(output) as verdicts:
        verdicts._stream = Full(verdicts.path, "a+b")
        with pytest.raises(OSError, match="no space"):
            verdicts.append(Verdict.of(ASKED[0], {" yes": -0.5}))
        verdicts.append(Verdict.of(ASKED[1], {" yes": -0.5}))
        verdicts._stream.close()
    assert list(recorded_verdicts(output)) == [ASKED[1].key]


def test_half_a_character_in_a_reply_that_was_paid_for_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    with open_verdicts(output) as verdicts:
        verdicts.append(Verdict.of(ASKED[0], "9 4\ud83d"))
    assert recorded_verdicts(output)[ASKED[0].key].reply == "9 4\ud83d"
    write_text(tmp_path / "review.jsonl", json.dumps({"text": "9 4\ud83d"}, ensure_ascii=False))
    assert json.loads((tmp_path / "review.jsonl").read_text(encoding="utf-8")) == {"text": "9 4\ud83d"}
