"""What an endpoint's refusal is about: one request's content, the form of all requests, or one parameter.

Every server words it in its own way; these are those of OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, LM
Studio, TGI, DeepSeek, and of gateways that hand on what these say:

    {"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. ...",
               "param": "max_tokens", "code": "unsupported_parameter"}}
    {"object": "error", "message": "This model's maximum context length is 8192 tokens. ...", "code": 400}
    {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048"}
    {"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs are not permitted"}]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dola.errors import JudgeError

# "item": this request's content; "form": how all requests are made, or who makes them; "unsure": either;
# "failing": the server fails at it after all retries, which may be for this request or for all that follow.
Concern = Literal["item", "form", "unsure", "failing"]
# What can be asked otherwise, or not at all.
Parameter = Literal["max_tokens", "temperature", "system"]


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE | re.DOTALL)


_LENGTH = r"max_(?:completion_|new_|output_)?tokens"
_TOO_LONG = _any(
    r"context[ _-]?(?:length|window|size|limit)",
    r"context the overflows",
    r"max(?:imum)? (?:model|input|sequence|prompt|allowed) (?:input )?length",
    r"max(?:imum)?[ _-]?model[ _-]?len",
    r"(?:prompt|input|request) (?:is )?too (?:long|large)",
    r"too many (?:input |prompt )?tokens",
    r"exceed\w* the (?:available |allowed |maximum )+\w* ?length",
    r"exceed_context|string_above_max_length",
    r"inputs?`? tokens \+|inputs?`? must have less than",
    r"reduce (?:the|your) (?:length|prompt|input)",
    r"input or output tokens must be reduced",
    r"max_tokens must be at least 1, got -",
    r"longer than the (?:maximum|model)",
)
_TOO_MUCH_ASKED = _any(
    rf"{_LENGTH}\W* (?:is|are) too (?:large|high|big)",
    rf"valid range of {_LENGTH}",
    r"at most \d+ (?:completion|output) tokens",
    rf"{_LENGTH}.{{0,60}}(?:<=|less than|at most|maximum|exceed|greater than)",
)
_FILTERED = _any(
    r"content[ _-]?(?:filter|policy|management)",
    r"responsible[ _-]?ai",
    r"usage polic|moderation|flagged|safety system|guardrail|high risk",
    r"inappropriate content|prohibited[ _]content|content exists risk|sensitive (?:content|information)",
    r"data_inspection|invalid_prompt",
)
_SYSTEM_ROLE = _any(
    r"does not support ['\"`]?system['\"`]?",
    r"system (?:role|message|prompt|instruction)s?\b.{0,40}(?:not |un)(?:be )?(?:supported|allowed)",
    r"(?:unsupported|unexpected|invalid|unknown) (?:value|role).{0,40}['\"`]system['\"`]",
    r"developer instruction is not enabled|roles must alternate",
)
# A parameter is refused by such words beside its name: the name alone may only be quoted.
_REFUSED = _any(
    r"(?:un|not |n't )(?:supported?|permitted|allowed|recogni[sz]ed|known|expected|accepted|available)",
    r"extra (?:input|field)|forbidden|deprecated|removed|does not support|only the default|strictly positive",
    r"must be|should be|only|invalid|cannot|incompatible|use '?max_completion",
)
_NAMED: dict[str, Parameter] = {
    "max_completion_tokens": "max_tokens",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
}
# The parameters that hold what is asked: a refusal of theirs may be one item's.
_CONTENT = ("messages", "prompt", "input")
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})


class RequestRefused(JudgeError):
    """The endpoint answered by an error, after all retries where it may pass.

    Attributes:
        status: HTTP's, or what stands for it in a reply of status 200.
        concerns: what it is about.
        parameter: the parameter that is refused, where one is that can be asked otherwise.
        too_much: that the longest reply that was asked for is more than there can be.
    """

    def __init__(
        self,
        message: str,
        status: int,
        concerns: Concern | None = None,
        *,
        parameter: Parameter | None = None,
        too_much: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.concerns: Concern = concerns or ("unsure" if status in (400, 422) else "form")
        self.parameter = parameter
        self.too_much = too_much


@dataclass(frozen=True)
class Refusal:
    """What a refusal says: its words, and what it is about."""

    said: str
    concerns: Concern
    parameter: Parameter | None = None
    too_much: bool = False


def refusal(status: int, body: str) -> Refusal:
    """What an answer of this status, with this body, is about."""
    found = _innermost(_parsed(body))
    said = _printable(_message(found) or body) or "nothing"
    codes = _codes(found)
    told = " ".join([said, *codes])
    if status == 413 or (status in (400, 422, 429, 500) and _TOO_LONG.search(told)):
        return Refusal(said, "item", too_much=_mentions_reply(said))
    if status in (400, 403, 422, 451) and _FILTERED.search(told):
        return Refusal(said, "item")
    if status in (400, 422, 500) and _SYSTEM_ROLE.search(said):
        return Refusal(said, "form", "system")
    if status not in (400, 422):
        return Refusal(said, "failing" if status == 500 else "form")
    if _TOO_MUCH_ASKED.search(said):
        return Refusal(said, "form", "max_tokens", too_much=True)
    param = str(_error(found).get("param") or "")
    parameter = _parameter(param, said)
    by_name = bool(param) and not param.startswith(_CONTENT)
    return Refusal(said, "form" if parameter or by_name or _UNSUPPORTED & set(codes) else "unsure", parameter)


def _printable(text: str) -> str:
    """In one line, and nothing in it that a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _parsed(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, dict) else {}


def _error(found: Mapping[str, Any]) -> Mapping[str, Any]:
    error = found.get("error", found)
    return error if isinstance(error, dict) else {}


def _innermost(found: dict[str, Any]) -> dict[str, Any]:
    """What the server behind a gateway said, where the gateway hands it on (OpenRouter's `metadata.raw`)."""
    metadata = _error(found).get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str) or not raw:
        return found
    return _parsed(raw) or {"message": raw}


def _message(found: Mapping[str, Any]) -> str:
    """The words of a refusal, wherever a server puts them."""
    if isinstance(found.get("error"), str):
        return str(found["error"])
    error = _error(found)
    told = next((error[key] for key in ("message", "detail", "msg") if error.get(key)), "")
    if isinstance(told, list):  # FastAPI's: where, and what
        told = "; ".join(
            f"{'.'.join(map(str, each.get('loc', ())))}: {each.get('msg')}"
            for each in told
            if isinstance(each, dict)
        )
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _codes(found: Mapping[str, Any]) -> list[str]:
    """The words for the kind of an error that a server keeps apart from its message."""
    error = _error(found)
    inner = error.get("innererror")
    places = (found, error, inner if isinstance(inner, dict) else {})
    named = (place.get(key) for place in places for key in ("code", "type", "error_type"))
    return [each.lower() for each in named if isinstance(each, str)]


def _mentions_reply(said: str) -> bool:
    """Whether it is the prompt with the reply that is too long."""
    return re.search(rf"in the completion|{_LENGTH}|(?:output|completion) tokens", said) is not None


def _parameter(param: str, said: str) -> Parameter | None:
    """Which of our parameters is refused."""
    if param:
        return _NAMED.get(param)
    said = said.lower()
    # The one that is named first: a remedy names another ("use 'max_completion_tokens' instead").
    places = {said.find(name): parameter for name, parameter in _NAMED.items() if name in said}
    return places[min(places)] if places and _REFUSED.search(said) else None
