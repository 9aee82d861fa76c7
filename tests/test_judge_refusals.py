"""What servers say when they refuse, and what it is about; by the real client against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from dola.judges.endpoint import Endpoint
from dola.judges.refusals import RequestRefused, refusal
from dola.judges.settings import EndpointSettings
from judge_server import JudgeServer, Raw, Received

SYSTEM = {"role": "system", "content": "Judge."}
USER = {"role": "user", "content": "Which?"}


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        yield server


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def vllm(message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}


def tgi(message: str) -> dict[str, Any]:
    return {"error": message, "error_type": "validation"}


def fastapi(name: str, message: str) -> dict[str, Any]:
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": message, "input": 0.2}]}


def gateway(body: dict[str, Any]) -> dict[str, Any]:
    metadata = {"raw": json.dumps(body), "provider_name": "OpenAI"}
    return {"error": {"message": "Provider returned error", "code": 400, "metadata": metadata}}


NO_LENGTH = openai(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
    " instead.",
    param="max_tokens",
    code="unsupported_parameter",
)
NO_WARMTH = openai(
    "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is"
    " supported.",
    param="temperature",
    code="unsupported_value",
)


@pytest.mark.parametrize(
    ("status", "body", "parameter"),
    [
        (400, NO_LENGTH, "max_tokens"),
        (400, openai("Unsupported parameter: 'max_tokens'", code="invalid_request_body"), "max_tokens"),
        (400, gateway(NO_LENGTH), "max_tokens"),
        (400, openai("Unrecognized request argument supplied: max_completion_tokens"), "max_tokens"),
        (422, fastapi("max_completion_tokens", "Extra inputs are not permitted"), "max_tokens"),
        (400, NO_WARMTH, "temperature"),
        (400, gateway(NO_WARMTH), "temperature"),
        (
            400,
            openai("Unsupported parameter: 'temperature' is not supported with this model."),
            "temperature",
        ),
        (400, openai("`temperature` is deprecated for this model."), "temperature"),
        (422, tgi("Input validation error: `temperature` must be strictly positive"), "temperature"),
        (400, openai("invalid temperature: only 1 is allowed for this model"), "temperature"),
        (400, openai("property 'max_tokens' is unsupported"), "max_tokens"),
        (422, fastapi("temperature", "Extra inputs are not permitted"), "temperature"),
        (
            400,
            openai("openai does not support parameters: {'temperature': 0.2}, for model=o3"),
            "temperature",
        ),
        (
            400,
            openai("Unsupported value: 'messages[0].role' does not support 'system' with this model."),
            "system",
        ),
        (400, vllm("System role not supported"), "system"),
        (400, vllm("Conversation roles must alternate user/assistant/user/assistant/..."), "system"),
    ],
)
def test_a_refused_parameter_is_known_in_every_server_s_words(status: int, body: Any, parameter: str) -> None:
    found = refusal(status, json.dumps(body))
    assert (found.concerns, found.parameter) == ("form", parameter)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, openai("Input is over the limit.", code="context_length_exceeded")),
        (
            400,
            vllm("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."),
        ),
        (400, vllm("max_tokens must be at least 1, got -186.")),
        (400, vllm("The decoder prompt (length 10127) is longer than the maximum model length of 8192.")),
        (400, vllm("The input (61709 tokens) is longer than the model's context length (40960 tokens).")),
        (400, vllm("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).")),
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "request (4390 tokens) exceeds the available context size (4096 tokens)",
                    "type": "exceed_context_size_error",
                }
            },
        ),
        (500, {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}),
        (400, {"error": "Trying to keep the first 15857 tokens when context the overflows."}),
        (422, tgi("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3474")),
        (400, openai("prompt is too long: 209000 tokens > 200000 maximum")),
        (413, "<html>Request Entity Too Large</html>"),
        (429, openai("Request too large for gpt-4: the input or output tokens must be reduced.")),
        (400, {"error": {"message": "Filtered.", "code": "content_filter", "param": "prompt"}}),
        (
            400,
            {
                "error": {
                    "message": "No.",
                    "code": "x",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
        ),
        (
            400,
            openai(
                "Your prompt was flagged as potentially violating our usage policy", code="invalid_prompt"
            ),
        ),
        (403, openai("The model requires moderation. Your input was flagged for violence.")),
        (400, openai("Content Exists Risk")),
        (400, gateway(openai("The input may contain inappropriate content", code="data_inspection_failed"))),
    ],
)
def test_what_is_too_long_or_filtered_is_one_item_s_in_every_server_s_words(status: int, body: Any) -> None:
    assert refusal(status, body if isinstance(body, str) else json.dumps(body)).concerns == "item"


@pytest.mark.parametrize(
    ("status", "body", "concerns"),
    [
        (400, openai("The model `gpt-9` does not work like that"), "unsure"),
        (422, "nonsense", "unsure"),
        (400, "", "unsure"),
        (400, '[["', "unsure"),
        (400, openai("What is said of the question: is temperature a number?"), "unsure"),
        (400, openai("Unknown parameter", param="messages[0].name", code="unknown_parameter"), "form"),
        (400, openai("Bad value", param="top_p"), "form"),
        (400, openai("Bad value", param="messages[0].content"), "unsure"),
        (500, openai("Internal error"), "failing"),
        (401, openai("Incorrect API key"), "form"),
        (402, openai("Insufficient credits"), "form"),
        (404, openai("The model does not exist"), "form"),
        (429, openai("Rate limit reached"), "form"),
        (503, openai("overloaded"), "form"),
    ],
)
def test_what_is_not_known_to_be_one_item_s_is_not_taken_for_it(
    status: int, body: Any, concerns: str
) -> None:
    found = refusal(status, body if isinstance(body, str) else json.dumps(body))
    assert (found.concerns, found.parameter) == (concerns, None)


def ask(server: JudgeServer, *, times: int = 1, **how: Any) -> tuple[list[str], list[str]]:
    """The replies, and what was told."""
    told: list[str] = []

    async def asked() -> list[str]:
        settings = EndpointSettings("sk-a-key-of-tests", server.base_url, max_retries=0, timeout=5.0)
        async with Endpoint(settings, tell=told.append) as endpoint:
            chats = (endpoint.chat("m", [SYSTEM, USER], temperature=0.2, **how) for _ in range(times))
            return list(await asyncio.gather(*chats))

    return asyncio.run(asked()), told


def strict(server: JudgeServer, *, without: tuple[str, ...], body: dict[str, Any]) -> Any:
    """Refuses requests with any of these parameters."""

    def answer(received: Received) -> Raw | None:
        return Raw(400, body) if any(name in received.body for name in without) else None

    return answer


def test_a_model_of_the_o_family_is_asked_as_it_wants_and_told_of_once(server: JudgeServer) -> None:
    def o1(received: Received) -> Raw | None:
        body = received.body
        if "max_tokens" in body:
            return Raw(400, NO_LENGTH)
        if body.get("temperature", 1) != 1:
            return Raw(400, NO_WARMTH)
        if body["messages"][0]["role"] == "system":
            return Raw(400, openai("'messages[0].role' does not support 'system' with this model."))
        return None

    server.raw = o1
    replies, told = ask(server, times=12, max_tokens=9000)
    assert replies == ["The answer is 42."] * 12
    assert len(told) == len(set(told)) == 3
    last = server.requests[-1].body
    assert (last["max_completion_tokens"], "temperature" in last) == (9000, False)
    assert last["messages"] == [{"role": "user", "content": "Judge.\n\nWhich?"}]


def test_where_every_name_of_the_length_is_refused_none_is_sent(server: JudgeServer) -> None:
    body = openai("Extra inputs are not permitted: max_tokens, max_completion_tokens")
    server.raw = strict(server, without=("max_tokens", "max_completion_tokens"), body=body)
    replies, told = ask(server)
    assert replies == ["The answer is 42."]
    assert not {"max_tokens", "max_completion_tokens"} & set(server.requests[-1].body)
    assert len(told) == 2


@pytest.mark.parametrize(
    "body",
    [
        openai("max_tokens is too large: 8192. This model supports at most 4096 completion tokens."),
        openai("Invalid max_tokens value, the valid range of max_tokens is [1, 4096]"),
        openai(
            "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for this model"
        ),
        vllm("Over the context length: you asked 8300 tokens (108 in the messages, 8192 in the completion)."),
        vllm("max_tokens=8192 cannot be greater than max_model_len=4096"),
        tgi(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 108 and 8192"
        ),
    ],
)
def test_a_model_with_no_room_for_a_thought_is_asked_for_the_reply_alone(
    server: JudgeServer, body: Any
) -> None:
    server.raw = lambda received: Raw(400, body) if received.body["max_tokens"] > 4096 else None
    replies, told = ask(server, max_tokens=8192, enough=1024)
    assert replies == ["The answer is 42."]
    assert [each.body["max_tokens"] for each in server.requests] == [8192, 1024]
    assert len(told) == 1
    with pytest.raises(RequestRefused):
        ask(server, max_tokens=8192)  # where the user has said so, it is not cut


def test_of_prompts_with_no_room_for_a_thought_the_longer_are_asked_for_the_reply_at_once(
    server: JudgeServer,
) -> None:
    """A context of 9,000: what is too long for a thought is found out, and not again for what is longer."""

    def small(received: Received) -> Raw | None:
        asked = received.body["max_tokens"] + len(received.body["messages"][0]["content"])
        told = f"maximum context length is 9000 tokens, you requested {asked} (8192 in the completion)"
        return Raw(400, vllm(told)) if asked > 9000 else None

    server.raw = small

    async def asked() -> None:
        settings = EndpointSettings("sk-a-key-of-tests", server.base_url, max_retries=0, timeout=5.0)
        async with Endpoint(settings) as endpoint:
            for size in (2000, 3000, 100, 4000, 1500):
                message = {"role": "user", "content": "x" * size}
                await endpoint.chat("m", [message], max_tokens=8192, enough=1024)

    asyncio.run(asked())
    lengths = [one.body["max_tokens"] for one in server.requests]
    assert lengths == [8192, 1024, 1024, 8192, 1024, 8192, 1024]


def test_a_parameter_that_stays_refused_ends_in_one_error(server: JudgeServer) -> None:
    server.raw = lambda received: Raw(400, NO_LENGTH)
    with pytest.raises(RequestRefused, match="Unsupported parameter") as caught:
        ask(server, times=8)
    assert caught.value.concerns == "form"
    assert server.count() <= 4 * 8


def test_an_error_in_a_reply_of_status_200_is_a_refusal(server: JudgeServer) -> None:
    server.raw = lambda received: Raw(200, NO_LENGTH) if "max_tokens" in received.body else None
    assert ask(server)[0] == ["The answer is 42."]
    server.raw = lambda received: Raw(200, {"error": {"message": "No credits", "code": 402}})
    with pytest.raises(RequestRefused, match="answered 402: No credits"):
        ask(server)
