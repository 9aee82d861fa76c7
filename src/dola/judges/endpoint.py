"""An OpenAI-compatible endpoint, asked by the `openai` client: its retries, its backoff, its timeouts.

    async with Endpoint(endpoint_settings(base_url="http://localhost:8000/v1")) as endpoint:
        await endpoint.completion_logprobs("judge", "Q: ...\\nA: ...\\nTrue:")
        await endpoint.chat("judge", [{"role": "user", "content": "..."}], max_tokens=1024)

Ours are three things only: no more requests at a time than asked for, failures told in one line without the
key, and a reply that makes no sense handed back whole, so that it can be kept and counted.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from dola.errors import JudgeError, MissingExtraError
from dola.judges.settings import KEY_VARIABLE, EndpointSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError

_T = TypeVar("_T")

# Of a reply that makes no sense, how much is kept.
_KEPT = 2000
# A log-probability of 0 may come a little above it.
_ROUNDING = 1e-3
# Of what a server says when it refuses, how much is told.
_TOLD = 300


class MalformedReply(Exception):
    """A reply that came, and may have been paid for, but is not what was asked for; `raw` is what it was."""

    def __init__(self, expected: str, raw: str) -> None:
        super().__init__(f"expected {expected}, found {raw[:_TOLD]!r}")
        self.raw = raw[:_KEPT]


class RequestRefused(JudgeError):
    """The endpoint answered by an error, after all retries where it may pass; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def of_content(self) -> bool:
        """Whether it is this request that is refused: too long, or filtered. Others may pass."""
        return self.status in (400, 422)


class Endpoint:
    """One endpoint with its connections; to be entered once, in the event loop that asks it.

    Raises:
        MissingExtraError: the package `openai` is not installed.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self._client = _client(settings)
        self._free = asyncio.Semaphore(settings.concurrency)

    def __repr__(self) -> str:
        return f"Endpoint({self.settings.address!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def completion_logprobs(self, model: str, prompt: str) -> dict[str, float]:
        """The likeliest next tokens and their log-probabilities: one token at temperature 0, `logprobs` 2, as
        the released rating asks.

        Raises:
            JudgeError: refused, not reached, or failing after all retries.
            MalformedReply: a reply without log-probabilities.
        """
        reply: Any = await self.call(
            lambda client: client.completions.create(
                model=model, prompt=prompt, max_tokens=1, logprobs=2, temperature=0
            )
        )
        try:
            found = reply.choices[0].logprobs.top_logprobs[0]
            logprobs = {str(token): float(logprob) for token, logprob in found.items()}
        except (AttributeError, IndexError, TypeError, ValueError):
            raise MalformedReply("a completion with `top_logprobs`", self._raw(reply)) from None
        if not all(-math.inf < logprob < _ROUNDING for logprob in logprobs.values()):
            raise MalformedReply("log-probabilities, finite and not above 0", self._raw(reply))
        return logprobs

    async def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        temperature: float = 0.0,
        max_tokens: int = 1024,
    ) -> str:
        """What the model replies to a conversation.

        Raises:
            JudgeError: refused, not reached, or failing after all retries.
            MalformedReply: a reply without text.
        """
        asked: Any = [dict(message) for message in messages]
        reply: Any = await self.call(
            lambda client: client.chat.completions.create(
                model=model, messages=asked, temperature=temperature, max_tokens=max_tokens
            )
        )
        try:
            text = reply.choices[0].message.content
        except (AttributeError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise MalformedReply("a chat completion with text", self._raw(reply))
        return text

    async def call(self, request: Callable[[AsyncOpenAI], Awaitable[_T]]) -> _T:
        """Any request of the client, as soon as there is room for one more.

        Raises:
            RequestRefused: answered, but by an error that trying again does not mend, or still by one.
            JudgeError: not reached, or no answer in time, after all retries.
            MalformedReply: a reply that is not JSON.
        """
        from openai import OpenAIError

        failure: Exception
        async with self._free:
            try:
                return await request(self._client)
            except OpenAIError as error:
                failure = self._failure(error)
            except json.JSONDecodeError as error:
                failure = MalformedReply("JSON", self.settings.hide(error.doc))
        # Raised outside the handlers: the client's own error, which may hold the key, is not chained to it.
        raise failure

    def _failure(self, error: OpenAIError) -> Exception:
        from openai import APIResponseValidationError, APIStatusError

        if isinstance(error, APIResponseValidationError):
            return MalformedReply("JSON", self.settings.hide(error.response.text))
        where = self.settings.address
        if not isinstance(error, APIStatusError):
            return JudgeError(
                f"{where}: {self.settings.hide(str(error)).rstrip('.')} after {self.settings.max_retries}"
                " retries: check the address (--base-url) and the network"
            )
        body = error.body if isinstance(error.body, dict) else {}
        said = self.settings.hide(str(body.get("message") or error.message))[:_TOLD]
        status = error.status_code
        return RequestRefused(f"{where} answered {status}: {said}{_advice(status)}", status)

    def _raw(self, reply: Any) -> str:
        """A reply as it came, as near as the client lets us see it."""
        text = reply.model_dump_json(warnings=False) if hasattr(reply, "model_dump_json") else str(reply)
        return self.settings.hide(text)


def check_installed() -> None:
    """See that the client is there.

    Raises:
        MissingExtraError: the package `openai` is not installed.
    """
    try:
        import openai  # noqa: F401
    except ImportError:
        raise MissingExtraError("A judge at an endpoint", "judge") from None


def _client(settings: EndpointSettings) -> AsyncOpenAI:
    check_installed()
    from openai import AsyncOpenAI

    return AsyncOpenAI(
        api_key=settings.api_key,
        base_url=settings.base_url,
        max_retries=settings.max_retries,
        timeout=settings.timeout,
    )


def _advice(status: int) -> str:
    if status in (401, 403):
        return f' (the key is {KEY_VARIABLE}, or "api_key" in the config file)'
    if status == 404:
        return " (is the model's name right, and does the endpoint speak this protocol?)"
    return ""
