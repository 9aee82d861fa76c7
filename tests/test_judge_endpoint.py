"""The endpoint, by the real client against a real server that misbehaves."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dola.errors import DataError, JudgeError
from dola.judges.endpoint import Endpoint, MalformedReply
from dola.judges.settings import EndpointSettings, JudgeConfig, endpoint_settings, read_config
from judge_server import JudgeServer

SECRET = "sk-a-key-that-nobody-may-see"


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        yield server


REPLIES = [("invalid_json", "{this is no JSON"), ("malformed", '"choices":[]'), ("html", "<html>Sign in")]


def ask(
    server: JudgeServer, what: Callable[[Endpoint], Awaitable[Any]], *, retries: int = 3, timeout: float = 5.0
) -> Any:
    async def asked() -> Any:
        settings = EndpointSettings(SECRET, server.base_url, retries, timeout, concurrency=2)
        async with Endpoint(settings) as endpoint:
            return await what(endpoint)

    return asyncio.run(asked())


def logprobs(endpoint: Endpoint) -> Awaitable[dict[str, float]]:
    return endpoint.completion_logprobs("judge", "Q: a\nA: b\nTrue:")


def chat(endpoint: Endpoint) -> Awaitable[str]:
    return endpoint.chat("judge", [{"role": "user", "content": "Which?"}], temperature=0.2, max_tokens=7)


def test_a_completion_is_asked_for_as_the_released_rating_asks(server: JudgeServer) -> None:
    server.completion = lambda prompt: {" yes": -0.25, " no": -1.5}
    assert ask(server, logprobs) == {" yes": -0.25, " no": -1.5}
    (received,) = server.requests
    assert received.body == {
        "model": "judge",
        "prompt": "Q: a\nA: b\nTrue:",
        "max_tokens": 1,
        "logprobs": 2,
        "temperature": 0,
    }
    assert received.headers["authorization"] == f"Bearer {SECRET}"


def test_a_chat_hands_its_messages_and_settings_over(server: JudgeServer) -> None:
    server.chat = lambda messages: messages[0]["content"].upper()
    assert ask(server, chat) == "WHICH?"
    (received,) = server.requests
    assert (received.body["temperature"], received.body["max_tokens"]) == (0.2, 7)


@pytest.mark.parametrize("how", [("429",), ("500", "503"), ("cut",), ("slow:0.6",)])
def test_what_passes_is_tried_again(server: JudgeServer, how: tuple[str, ...]) -> None:
    server.misbehave(*how)
    timeout = 0.3 if how[0].startswith("slow") else 5.0
    assert ask(server, logprobs, timeout=timeout)
    assert server.count("/completions") == len(how) + 1


@pytest.mark.parametrize("how", ["429", "500"])
def test_after_all_retries_the_failure_is_told_in_one_line(server: JudgeServer, how: str) -> None:
    server.misbehave_always(how)
    with pytest.raises(JudgeError, match=f"answered {how}: scripted {how}"):
        ask(server, logprobs, retries=2)
    assert server.count() == 3


def test_an_address_where_nobody_listens_is_told_with_the_address() -> None:
    with JudgeServer() as gone:
        pass
    with pytest.raises(JudgeError, match=r"http://127\.0\.0\.1:\d+/v1: Connection error after.*--base-url"):
        ask(gone, logprobs, retries=0)


@pytest.mark.parametrize("how", ["400", "401", "404"])
def test_what_will_not_pass_is_not_tried_again(server: JudgeServer, how: str) -> None:
    server.misbehave(how)
    with pytest.raises(JudgeError, match=how):
        ask(server, logprobs)
    assert server.count() == 1


@pytest.mark.parametrize("asked", [logprobs, chat])
@pytest.mark.parametrize(
    ("how", "raw"), [("invalid_json", "{this is no JSON"), ("malformed", '"choices":[]')]
)
def test_a_reply_that_makes_no_sense_is_handed_back_whole(
    server: JudgeServer, asked: Any, how: str, raw: str
) -> None:
    server.misbehave(how)
    with pytest.raises(MalformedReply) as caught:
        ask(server, asked)
    assert raw in caught.value.raw
    assert server.count() == 1


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf, 800.0, "high", None])
def test_what_is_no_log_probability_makes_no_sense(server: JudgeServer, logprob: Any) -> None:
    server.completion = lambda prompt: {" yes": logprob}
    with pytest.raises(MalformedReply):
        ask(server, logprobs)


def test_no_more_requests_are_under_way_than_asked_for() -> None:
    async def many(endpoint: Endpoint) -> list[dict[str, float]]:
        prompts = (f"Q: {number}" for number in range(12))
        return await asyncio.gather(*(endpoint.completion_logprobs("judge", prompt) for prompt in prompts))

    with JudgeServer(delay=0.05) as server:
        assert len(ask(server, many)) == 12
        assert server.most_at_once == 2


@pytest.mark.parametrize("how", ["echo_key", "500", "invalid_json", "cut"])
def test_the_key_is_in_no_message_repr_log_or_traceback(
    server: JudgeServer, how: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    server.misbehave_always(how)
    told = []

    async def asked() -> None:
        async with Endpoint(EndpointSettings(SECRET, server.base_url, 1, 5.0)) as endpoint:
            told.extend([repr(endpoint), str(endpoint), repr(endpoint.settings)])
            await logprobs(endpoint)

    with caplog.at_level(logging.DEBUG), pytest.raises((JudgeError, MalformedReply)) as caught:
        asyncio.run(asked())
    told += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    told += [str(caught.value), repr(caught.value), caplog.text, *capfd.readouterr()]
    assert {"openai", "httpcore"} <= {record.name.split(".")[0].strip("2") for record in caplog.records}
    assert SECRET not in "".join(told)


def test_a_released_config_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "gpt3.config.json"
    path.write_text('{"gpt_info": "curie:ft-i", "gpt_truth": "curie:ft-t", "api_key": "sk-1"}')
    assert read_config(path) == JudgeConfig("curie:ft-t", "curie:ft-i", None, "sk-1")
    assert "sk-1" not in repr(read_config(path))


@pytest.mark.parametrize("content", ["", "[1]", '{"api_key": "sk-1"', '{"api_key": ["sk-1"]}'])
def test_a_config_that_is_none_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "sk-1" not in "".join(traceback.format_exception(caught.value))


def test_the_key_comes_from_the_config_then_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(JudgeError, match="OPENAI_API_KEY"):
        endpoint_settings()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    assert endpoint_settings().api_key == "sk-environment"
    assert endpoint_settings(JudgeConfig(api_key="sk-config")).api_key == "sk-config"
    assert (
        endpoint_settings(JudgeConfig(base_url="http://a/v1"), base_url="http://b/v1").base_url
        == "http://b/v1"
    )


def test_a_password_in_the_address_is_refused_unseen() -> None:
    with pytest.raises(JudgeError, match="user name or password") as caught:
        EndpointSettings("k", "https://user:word@host:1/v1")
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-1\n2", "sk-ключ", "sk 1", ""])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str) -> None:
    with pytest.raises(JudgeError, match="key") as caught:
        EndpointSettings(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["localhost:8000/v1", "http://[::1", "http://a:b/v1", "http:///v1", "ftp://a/v1"]
)
def test_an_address_that_is_none_is_refused_before_anything_is_asked(address: str) -> None:
    with pytest.raises(JudgeError, match="expected one as http"):
        EndpointSettings("k", address)
