"""What a reply of an endpoint holds: read from its bytes, whatever they are.

A reply that came may have been paid for: what cannot be used is handed on as it came, with the reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Of a reply that makes no sense, how much is kept; how much of it is told.
KEPT = 2000
TOLD = 300

# A log-probability of 0 may come a little above it.
_ROUNDING = 1e-3
# How servers say that a reply came to its end: OpenAI's word first, then TGI's, Anthropic's and others'.
_ENDED = frozenset(
    {
        *("", "none", "null", "stop", "eos", "eos_token", "stop_sequence", "end_turn", "stop_token"),
        *("end", "done", "complete", "completed", "finished", "finish", "success", "endoftext", "eosfound"),
    }
)
_CUT = "cut"


class MalformedReply(Exception):
    """A reply that came, and may have been paid for, but is not what was asked for.

    Attributes:
        raw: what it was, or why it is none.
        text: of a reply that has a text all the same, that.
    """

    def __init__(self, expected: str, raw: str, *, text: str | None = None) -> None:
        super().__init__(f"expected {expected}, found {raw[:TOLD]!r}")
        self.raw = raw[:KEPT] or "nothing"
        self.text = text


def ended(reason: Any) -> bool:
    """Whether a text came to its end, by its `finish_reason`; a server that gives none is believed."""
    return str("" if reason is None else reason).strip().lower() in _ENDED


@dataclass(frozen=True)
class CutShort:
    """Why a reply is not whole."""

    reason: str

    @property
    def told(self) -> str:
        return f"{_CUT} (finish_reason {self.reason!r})"


def was_cut(malformed: str | None) -> bool:
    """Whether what is kept of a malformed reply says that it was cut."""
    return (malformed or "").startswith(f"{_CUT} (finish_reason ")


def parsed(content: bytes) -> Any:
    """JSON out of whatever bytes.

    Raises:
        MalformedReply: they are none, or more deeply nested or of more digits than Python reads.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise MalformedReply("JSON", content[: 4 * KEPT].decode("utf-8", "replace")) from None


def as_text(reply: Any, otherwise: str) -> str:
    """JSON as it is kept: in one line, without spaces."""
    try:
        return json.dumps(reply, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return otherwise


def chat_text(reply: Any, raw: str) -> str:
    """The text of a chat completion.

    Raises:
        MalformedReply: there is none, or it was cut.
    """
    choice = _first(reply, "choices")
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    text = _joined(content)
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise MalformedReply("a chat completion with text", raw)
    reason = choice.get("finish_reason")
    if not ended(reason):
        cut = CutShort(str(reason)[:40])
        raise MalformedReply("a whole reply", cut.told if text else f"{cut.told} {raw}", text=text or None)
    if not text:
        raise MalformedReply("a chat completion with text", raw)
    return text


def top_logprobs(reply: Any, raw: str) -> dict[str, float] | None:
    """The likeliest first tokens of a completion; None where the server gives none at all.

    Raises:
        MalformedReply: a reply without, or with what are no log-probabilities.
    """
    choice = _first(reply, "choices")
    logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
    if isinstance(choice, dict) and "text" in choice and not _any_in(logprobs):
        return None
    found = _first_tokens(logprobs) if isinstance(logprobs, dict) else None
    if not isinstance(found, Mapping):
        raise MalformedReply("a completion with `top_logprobs`", raw)
    try:
        named = {str(token): float(logprob) for token, logprob in found.items()}
    except (TypeError, ValueError, OverflowError):
        raise MalformedReply("a completion with `top_logprobs`", raw) from None
    if not all(-math.inf < logprob < _ROUNDING for logprob in named.values()):
        raise MalformedReply("log-probabilities, finite and not above 0", raw)
    return named


def _any_in(logprobs: Any) -> bool:
    """Whether a server gives any: some leave the object there and its lists empty."""
    return any(logprobs.values()) if isinstance(logprobs, dict) else bool(logprobs)


def _first_tokens(logprobs: Mapping[str, Any]) -> Any:
    """The first position's tokens: of a completion's own form, of a chat completion's (llama.cpp's server has
    it for both), or the one token that was chosen, where a server tells no other."""
    if _first(logprobs, "top_logprobs") is not None:
        return _first(logprobs, "top_logprobs")
    said = _first(logprobs, "content")
    if isinstance(said, dict):
        tokens = said.get("top_logprobs") or [said]
        pairs = [(each.get("token"), each.get("logprob")) for each in tokens if isinstance(each, dict)]
        return dict(reversed(pairs))
    token, logprob = _first(logprobs, "tokens"), _first(logprobs, "token_logprobs")
    return {token: logprob} if isinstance(token, str) and logprob is not None else None


def _first(found: Any, key: str) -> Any:
    """The first of the list under a key; None where there is no such thing."""
    listed = found.get(key) if isinstance(found, dict) else None
    return listed[0] if isinstance(listed, list) and listed else None


def _joined(content: Any) -> str:
    """A text, or the texts among its parts: a thought may stand beside them as a part of another type."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (
        part for part in content if isinstance(part, dict) and part.get("type") in ("text", "output_text")
    )
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
