"""How a chat model wants to be asked, as far as its refusals have told.

max_tokens, temperature and a system message                          what most servers take
max_completion_tokens, no temperature, all told by the user           the o and gpt-5 families, at worst
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dola.judges.refusals import RequestRefused

# A model that thinks aloud needs some thousand tokens before its first word.
ROOM_TO_THINK = 8192

_LENGTHS: tuple[str | None, ...] = ("max_tokens", "max_completion_tokens", None)


@dataclass(frozen=True)
class ChatSettings:
    """How one reply is asked for.

    Attributes:
        max_tokens: of the reply, the thought before it included.
        enough: how many do where a model has no more; None: no fewer than `max_tokens`.
        size: of the conversation, in characters.
    """

    temperature: float = 0.0
    max_tokens: int = 1024
    enough: int | None = None
    size: int = 0


@dataclass(frozen=True)
class Dialect:
    """What is sent.

    Attributes:
        length: the name of the parameter for the longest reply; None: it is left out.
        temperature: whether it is sent.
        system: whether a message may be of the role `system`; otherwise the user tells it.
        room: whether a thought gets room beyond the reply that is asked for.
    """

    length: str | None = "max_tokens"
    temperature: bool = True
    system: bool = True
    room: bool = True

    def request(self, messages: Sequence[Mapping[str, str]], settings: ChatSettings) -> dict[str, Any]:
        """The parameters of a chat completion, without the model."""
        asked: dict[str, Any] = {"messages": self._messages(messages)}
        if self.temperature:
            asked["temperature"] = settings.temperature
        if self.length is not None:
            asked[self.length] = self.longest(settings)
        return asked

    def longest(self, settings: ChatSettings) -> int:
        """How many tokens a reply may have."""
        return settings.max_tokens if self.room or settings.enough is None else settings.enough

    def after(self, refused: RequestRefused, settings: ChatSettings) -> tuple[Dialect, str] | None:
        """How to ask instead, and what is to be said about that; None: there is no other way."""
        if refused.too_much:
            fewer = replace(self, room=False)
            if fewer.longest(settings) >= self.longest(settings):
                return None
            return fewer, (
                f"the judge has no room for a reply of {self.longest(settings)} tokens, so it is asked for"
                f" {fewer.longest(settings)}"
            )
        if refused.parameter == "temperature" and self.temperature:
            told = f"the judge refuses temperature {settings.temperature:g}, so it is asked without any"
            return replace(self, temperature=False), told
        if refused.parameter == "system" and self.system:
            return replace(self, system=False), "the judge refuses a system message, so the user tells it"
        if refused.parameter == "max_tokens" and self.length is not None:
            other = _LENGTHS[_LENGTHS.index(self.length) + 1]
            instead = f"asked with {other}" if other else "asked for a reply of any length"
            return replace(self, length=other), f"the judge refuses {self.length}, so it is {instead}"
        return None

    def _messages(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        if self.system or not any(each["role"] == "system" for each in messages):
            return [dict(each) for each in messages]
        return told_by_the_user(messages)


def told_by_the_user(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The conversation without a system role: its text stands before the user's first."""
    system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
    first, *others = (dict(each) for each in messages if each["role"] != "system")
    return [{**first, "content": f"{system}\n\n{first['content']}"}, *others]
