"""Whatever a judge's server does: what is no verdict is none, what was paid for is kept, and the run ends."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from few_resamples import few_resamples
from judge_server import JudgeServer, Raw, Received
from test_judge_pairwise import QUESTIONS, SECRET, better, files, reviewed, run, server, shown

__all__ = ["few_resamples", "files", "server"]  # fixtures

BARE = {"error": {"message": "Bad request", "type": "invalid_request_error"}}


def records(files: Path) -> list[dict[str, Any]]:
    """The verdicts on the disk."""
    path = files / "o.jsonl.verdicts.records.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()[1:]] if path.exists() else []


def told(result: Any) -> str:
    return " ".join(result.output.split())


def for_item(number: int, answer: Raw) -> Callable[[Received], Raw | None]:
    """One question's requests get this."""
    return lambda received: answer if shown(received.body["messages"])[0] == number else None


def reply(content: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more}
    return {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


# Refusals.


@pytest.mark.parametrize("questions", ["4", "6"])
def test_a_refusal_of_all_requests_stops_the_run_and_nothing_is_kept_of_it(
    files: Path, server: JudgeServer, questions: str
) -> None:
    server.raw = lambda received: Raw(400, BARE)
    for _ in range(2):
        result = run(files, server, "--first-n", questions)
        assert result.exit_code == 2
        assert "answered 400: Bad request" in told(result)
        assert "win rate" not in result.output
        assert records(files) == []


@pytest.mark.parametrize(
    "answer",
    [
        Raw(400, BARE),
        Raw(422, BARE),
        Raw(413, {}),
        Raw(400, {"error": {"message": "Too long", "code": "context_length_exceeded"}}),
        Raw(400, {"error": {"message": "No", "code": "content_filter"}}),
    ],
)
def test_a_refusal_of_one_item_is_counted_and_not_asked_again_unless_wished(
    files: Path, server: JudgeServer, answer: Raw
) -> None:
    server.raw = for_item(6, answer)
    _, summary = reviewed(files, server, "--concurrency", "1")
    assert summary["overall"]["outcomes"]["malformed"] == 1
    assert summary["overall"]["outcomes"]["win"] == QUESTIONS - 1
    assert summary["places"]["malformed"] == 2
    before = server.count()
    reviewed(files, server)
    assert server.count() == before
    server.raw = lambda received: None
    _, again = reviewed(files, server, "--retry-failed")
    assert server.count() == before + 2
    assert again["overall"]["outcomes"]["win"] == QUESTIONS


def test_a_category_without_any_verdict_has_no_figure(files: Path, server: JudgeServer) -> None:
    server.raw = lambda received: Raw(413, {}) if shown(received.body["messages"])[0] > 4 else None
    _, summary = reviewed(files, server)
    assert summary["categories"]["coding"]["win_rate"] is None
    assert summary["categories"]["fermi"]["win_rate"]["mean"] == 1.0
    assert "no verdict" in told(run(files, server))


@pytest.mark.parametrize("how", ["500", "slow:3", "cut"])
def test_an_item_at_which_the_server_always_fails_is_its_own_where_others_succeed_after_it(
    files: Path, server: JudgeServer, how: str
) -> None:
    server.fails = lambda received: how if shown(received.body["messages"])[0] == 2 else None
    settings = ("--timeout", "1", "--max-retries", "1", "--concurrency", "2")
    _, summary = reviewed(files, server, *settings)
    assert summary["overall"]["outcomes"]["malformed"] == 1
    assert summary["overall"]["outcomes"]["win"] == QUESTIONS - 1
    assert server.count() == 2 * QUESTIONS + 2


def test_a_server_that_fails_from_some_time_on_stops_the_run_and_nothing_is_kept_of_that(
    files: Path, server: JudgeServer
) -> None:
    server.fails = lambda received: "500" if server.count() > 6 else None
    result = run(files, server, "--max-retries", "0", "--concurrency", "1")
    assert result.exit_code == 2
    assert "answered 500" in result.output
    assert len(records(files)) == 6
    server.fails = lambda received: None
    assert reviewed(files, server)[1]["overall"]["outcomes"]["win"] == QUESTIONS
    assert server.count() == 2 * QUESTIONS + 6


def test_what_a_terminal_would_obey_is_not_shown(files: Path, server: JudgeServer) -> None:
    server.raw = lambda received: Raw(401, {"error": {"message": "\x1b[2J\x07away\r\n\u202e"}})
    output = run(files, server).output
    assert "away" in output
    assert not {"\x1b", "\x07", "\u202e"} & set(output)


# Cut replies, and thoughts.


@pytest.mark.parametrize("reason", ["length", "content_filter", "max_tokens", "error", "model_length", "odd"])
@pytest.mark.parametrize("form", ["review", "pair"])
def test_a_cut_reply_is_no_verdict_and_the_remedy_is_told(
    files: Path, server: JudgeServer, reason: str, form: str
) -> None:
    text = "9 4\nBecause [[A]]"
    server.raw = for_item(6, Raw(200, reply(text, reason)))
    lines, summary = reviewed(files, server, "--form", form)
    assert summary["overall"]["outcomes"]["malformed"] == 1
    assert summary["cut"] == 2
    assert any("--max-tokens" in line for line in summary["findings"])
    assert text in json.dumps(lines[-1]).replace("\\n", "\n")
    assert {each["reply"] for each in records(files) if each["malformed"]} == {text}


@pytest.mark.parametrize("reason", ["stop", "eos_token", "end_turn", "STOP", None])
def test_a_reply_that_came_to_its_end_is_one_in_every_server_s_word(
    files: Path, server: JudgeServer, reason: str | None
) -> None:
    server.raw = for_item(6, Raw(200, reply("7 7\n[[C]]", reason)))
    assert reviewed(files, server)[1]["overall"]["outcomes"]["malformed"] == 0


def test_the_first_ten_replies_without_a_verdict_stop_the_run_and_one_is_shown(
    files: Path, server: JudgeServer
) -> None:
    server.raw = lambda received: Raw(200, reply("<think>\nWell, the first", "length"))
    result = run(files, server, "--concurrency", "1")
    assert result.exit_code == 2
    assert server.count() == len(records(files)) == 10
    assert "none of the first 10 replies makes sense" in told(result)
    assert "Well, the first" in result.output
    assert "--max-tokens" in result.output
    # The same command pays for no more of them.
    assert run(files, server).exit_code == 2
    assert server.count() == 10
    server.raw = lambda received: None
    assert reviewed(files, server, "--retry-failed")[1]["overall"]["outcomes"]["win"] == QUESTIONS


def test_where_nothing_was_judged_there_is_no_figure(files: Path, server: JudgeServer) -> None:
    server.chat = lambda messages: "Both are fine."
    result = run(files, server, "--first-n", "3")
    assert result.exit_code == 2
    assert "none of 6 replies holds a verdict" in told(result)
    assert "Both are fine." in result.output
    assert not (files / "o.summary.json").exists()
    assert len(records(files)) == 6


THOUGHTS = [
    "<think>\nPerhaps 4 9, or [[C]].\n</think>\n\n{}",
    "Perhaps 4 9, or [[C]].\n</think>\n\n{}",
    "<thinking>4 9 [[C]]</thinking>{}",
    "[THINK]4 9 [[C]][/THINK]{}",
    "◁think▷4 9 [[C]]◁/think▷{}",
    "<seed:think>4 9</seed:think>{}",
    "<think>4 9</think><answer>{}</answer>",
    "<think>It quotes </think>\n4 9\n [[C]] so</think>\n{}",
    "<|channel|>analysis<|message|>4 9 [[C]]<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "I weigh both.\n\n**Final answer:** {}",
    "I weigh both.\n\nFinal verdict:\n{}",
    "I weigh both.\n\n### Final scores\n\\boxed{{{}}}",
]


@pytest.mark.parametrize("thought", THOUGHTS)
@pytest.mark.parametrize("form", ["review", "pair"])
def test_a_thinking_judge_is_read_after_its_thought(
    files: Path, server: JudgeServer, thought: str, form: str
) -> None:
    judge = better("good")
    server.chat = lambda messages: thought.format(judge(messages).partition("\n")[0])
    _, summary = reviewed(files, server, "--form", form, "--first-n", "1")
    assert summary["overall"]["outcomes"]["win"] == 1


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_thought_beside_the_reply_is_no_verdict(files: Path, server: JudgeServer, name: str) -> None:
    judge = better("good")

    def beside(received: Received) -> Raw:
        number = shown(received.body["messages"])[0]
        content = None if number == 6 else judge(received.body["messages"])
        return Raw(200, reply(content, **{name: "Perhaps\n4 9\n[[C]]"}))

    server.raw = beside
    _, summary = reviewed(files, server)
    outcomes = summary["overall"]["outcomes"]
    assert (outcomes["win"], outcomes["malformed"]) == (QUESTIONS - 1, 1)


def test_a_reply_in_parts_is_read_without_its_thought(files: Path, server: JudgeServer) -> None:
    judge = better("good")

    def parts(received: Received) -> Raw:
        said = {"type": "text", "text": judge(received.body["messages"])}
        return Raw(200, reply([{"type": "thinking", "thinking": [{"type": "text", "text": "4 9"}]}, said]))

    server.raw = parts
    assert reviewed(files, server)[1]["overall"]["outcomes"]["win"] == QUESTIONS


@pytest.mark.parametrize("form", ["review", "pair"])
def test_a_thought_without_an_end_is_no_verdict(files: Path, server: JudgeServer, form: str) -> None:
    server.raw = for_item(6, Raw(200, reply("<think>9 4 [[A]]")))
    assert reviewed(files, server, "--form", form)[1]["overall"]["outcomes"]["malformed"] == 1


# Bodies.


def bomb(size: int) -> Iterator[bytes]:
    """A gzip stream of so many megabytes of spaces."""
    packing = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    for _ in range(size):
        yield packing.compress(b" " * 2**20)
    yield packing.flush()


BODIES = {
    "digits": Raw(200, b'{"choices": ' + b"9" * 5000 + b"}"),
    "no utf-8": Raw(200, b'{"choices": "\xff\xfe9 4"}'),
    "nested": Raw(200, b"[" * 200_000),
    "nested objects": Raw(200, b'{"choices":' * 100_000 + b"1" + b"}" * 100_000),
    "infinite": Raw(200, b'{"choices": [{"message": {"content": 1e999}}]}'),
    "null": Raw(200, b"null"),
    "empty": Raw(200, b""),
    "no charset": Raw(200, b"\xff\xff", {"Content-Type": "text/html; charset=nonsense"}),
    "odd forms": Raw(200, b'{"choices": [[], {"message": []}], "error": []}'),
    "no gzip": Raw(200, b"9 4", {"Content-Encoding": "gzip"}),
    "not asked for": Raw(200, b"9 4", {"Content-Encoding": "br"}),
    "events": Raw(200, b'data: {"choices": []}\n\ndata: [DONE]\n\n', {"Content-Type": "text/event-stream"}),
}


@pytest.mark.parametrize("body", list(BODIES))
def test_a_body_that_cannot_be_read_fails_one_item_and_the_others_are_kept(
    files: Path, server: JudgeServer, body: str
) -> None:
    server.raw = for_item(2, BODIES[body])
    _, summary = reviewed(files, server)
    assert summary["overall"]["outcomes"] == {
        "win": 5,
        "loss": 0,
        "tie": 0,
        "inconsistent": 0,
        "malformed": 1,
    }
    assert server.count() == len(records(files)) == 2 * QUESTIONS


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (lambda: Raw(200, bomb(4096), {"Content-Encoding": "gzip"}), "a body of more than 8388608 bytes"),
        (lambda: Raw(200, itertools.repeat(b'{"choices": [' * 4096)), "a body of more than 8388608 bytes"),
        (lambda: Raw(200, itertools.repeat(b" "), pause=0.1), "a body that was not whole in the time"),
        (
            lambda: Raw(200, itertools.chain([b'{"choices": '], itertools.repeat(b" ")), pause=0.1),
            "a body that was not whole in the time",
        ),
    ],
    ids=["bomb", "endless", "trickled", "begun and trickled"],
)
def test_a_body_without_an_end_fails_one_item_in_time(
    files: Path, server: JudgeServer, body: Callable[[], Raw], why: str
) -> None:
    server.raw = lambda received: body() if shown(received.body["messages"])[0] == 2 else None
    _, summary = reviewed(files, server, "--timeout", "2")
    assert summary["overall"]["outcomes"]["malformed"] == 1
    assert summary["overall"]["outcomes"]["win"] == QUESTIONS - 1
    assert all(each["malformed"].startswith(why) for each in records(files) if each["malformed"])
    assert server.count() == 2 * QUESTIONS  # what came may have been paid for: not asked for again


def test_a_packed_body_is_read(files: Path, server: JudgeServer) -> None:
    packed = gzip.compress(json.dumps(reply("7 7")).encode())
    server.raw = for_item(2, Raw(200, packed, {"Content-Encoding": "gzip"}))
    assert reviewed(files, server)[1]["overall"]["outcomes"]["tie"] == 1


# Keys.


def test_a_key_that_a_reply_repeats_is_in_no_file(files: Path, server: JudgeServer) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    body = json.dumps(reply("9 4\nYour key is KEY.")).replace("KEY", escaped).encode()
    judge = better("good")
    server.chat = lambda messages: f"{judge(messages)} {SECRET}"
    server.raw = for_item(6, Raw(200, body))
    result = run(files, server)
    assert result.exit_code == 0
    for path in files.iterdir():
        assert SECRET not in path.read_text()
    assert SECRET not in result.output


def test_a_key_in_the_address_is_asked_with_and_is_in_no_file(files: Path, server: JudgeServer) -> None:
    address = f"{server.base_url}?api-key=a-key-in-the-address&api-version=1"
    server.raw = for_item(
        6, Raw(400, {"error": {"message": "no a-key-in-the-address", "code": "content_filter"}})
    )
    result = run(files, server, "--base-url", address)
    assert result.exit_code == 0, result.output
    assert all(each.path.endswith("?api-key=a-key-in-the-address&api-version=1") for each in server.requests)
    assert {each["judge"].partition(",")[0] for each in records(files)} == {f"chat at {server.base_url}"}
    for path in files.iterdir():
        assert "a-key-in-the-address" not in path.read_text()
    # Another key is no other judge.
    before = server.count()
    run(files, server, "--base-url", f"{server.base_url}?api-key=another-key-of-mine")
    assert server.count() == before


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_never_carries_the_key(files: Path, server: JudgeServer, status: int) -> None:
    with JudgeServer() as elsewhere:
        there = f"{elsewhere.base_url}/chat/completions"
        server.raw = lambda received: Raw(status, {}, {"Location": there})
        result = run(files, server)
        assert elsewhere.count() == 0
    assert result.exit_code == 2
    assert f"answered {status}, a redirect to '127.0.0.1'" in told(result)
    assert records(files) == []


@pytest.mark.parametrize("location", ["http://[bad", "http://a:99999999/", "", "nonsense"])
def test_a_redirect_to_nowhere_is_one_line(files: Path, server: JudgeServer, location: str) -> None:
    server.raw = lambda received: Raw(302, {}, {"Location": location} if location else {})
    result = run(files, server)
    assert result.exit_code == 2
    assert "answered 302, a redirect to" in told(result)


def test_a_config_that_all_can_read_is_warned_of(files: Path, server: JudgeServer) -> None:
    config = files / "config.json"
    config.write_text(json.dumps({"api_key": SECRET}))
    config.chmod(0o644)
    warned = run(files, server, "--judge-config", str(config))
    assert warned.exit_code == 0
    assert f"chmod 600 {config}" in told(warned)
    config.chmod(0o600)
    assert "chmod" not in run(files, server, "--judge-config", str(config)).output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "nonsense://user:hidden-word@x"),
        ("ALL_PROXY", "http://[hidden-word"),
        ("SSL_CERT_FILE", "/none/hidden-word.pem"),
    ],
)
def test_a_proxy_or_certificate_that_the_client_refuses_is_named_by_its_variable(
    files: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    result = run(files, server, "--max-retries", "0")
    assert result.exit_code == 2
    assert name in result.output
    assert "hidden-word" not in result.output
    assert result.output.count("\n") <= 2


def test_an_empty_address_variable_is_unset_and_replies_are_of_the_address_that_gave_them(
    files: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dola.judges.bounded_http import bounded_client
    from dola.judges.settings import endpoint_settings

    monkeypatch.setenv("OPENAI_BASE_URL", "")
    settings = endpoint_settings()
    assert (settings.base_url, settings.address) == (None, "api.openai.com")
    assert str(bounded_client(settings).base_url) == "https://api.openai.com/v1/"
    # One that the client would take by itself, behind our back.
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert str(bounded_client(settings).base_url) == "https://api.openai.com/v1/"
    reviewed(files, server, "--first-n", "1")
    assert {each["judge"].partition(",")[0] for each in records(files)} == {f"chat at {server.base_url}"}
