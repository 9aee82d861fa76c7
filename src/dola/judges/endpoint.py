"""An OpenAI-compatible endpoint, asked by the `openai` client: its retries, its backoff, its connections.

    async with Endpoint(endpoint_settings(base_url="http://localhost:8000/v1")) as endpoint:
        await endpoint.completion_logprobs("judge", "Q: ...\\nA: ...\\nTrue:")
        await endpoint.chat("judge", [{"role": "user", "content": "..."}], max_tokens=1024)

Ours are: no more requests at a time than asked for, bounds (`bounded_http.py`), what a model's refusals
teach of how it wants to be asked (`dialect.py`), failures told in one line without the key, and a reply that
makes no sense handed back, so that it can be kept and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from dola.errors import JudgeError
from dola.judges.bounded_http import (
    bounded_client,
    check_installed,
    connection_advice,
    fault_of,
    was_reached,
)
from dola.judges.dialect import ChatSettings, Dialect
from dola.judges.refusals import Parameter, RequestRefused, refusal
from dola.judges.replies import KEPT, TOLD, MalformedReply, as_text, chat_text, parsed, top_logprobs
from dola.judges.settings import KEY_VARIABLE, EndpointSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError

__all__ = ["Endpoint", "MalformedReply", "RequestRefused", "check_installed"]

_T = TypeVar("_T")
_Request = Callable[["AsyncOpenAI"], Awaitable[Any]]


class Endpoint:
    """One endpoint with its connections; to be entered once, in the event loop that asks it.

    Args:
        tell: hears, once each, what the endpoint refused and how it is asked instead.

    Raises:
        MissingExtraError: the package `openai` is not installed.
        JudgeError: a proxy or a certificate of the environment that the client refuses.
    """

    def __init__(self, settings: EndpointSettings, *, tell: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self._client = bounded_client(settings)
        self._free = asyncio.Semaphore(settings.concurrency)
        self._tell = tell
        self._told: set[str] = set()
        self._dialect = Dialect()
        # From this many characters on a prompt leaves no room for a thought.
        self._crowded: int | None = None

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
            RequestRefused: answered, but by an error, or without any log-probabilities.
            JudgeError: not reached, or failing after all retries.
            MalformedReply: a reply in which there is something else.
        """

        def request(dialect: Dialect) -> _Request:
            warmth: Any = {"temperature": 0} if dialect.temperature else {}
            return lambda client: client.completions.with_raw_response.create(
                model=model, prompt=prompt, max_tokens=1, logprobs=2, **warmth
            )

        reply, raw = await self._learning(request, ChatSettings(max_tokens=1), mendable=("temperature",))
        found = top_logprobs(reply, raw)
        if found is None:
            raise RequestRefused(
                f"{self.settings.address} completes, but without log-probabilities (logprobs: null), and this"
                " judge is read by them: switch them on at the server (vLLM: --max-logprobs of 2 or more), or"
                " name an endpoint that has them at /completions",
                200,
                "unsure",
            )
        return {self.settings.hide(token): logprob for token, logprob in found.items()}

    async def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        enough: int | None = None,
    ) -> str:
        """What the model replies to a conversation.

        Args:
            max_tokens: of the reply, the thought before it included.
            enough: how many are asked for where a model has not so many; None: no fewer.

        Raises:
            RequestRefused: answered, but by an error that another way to ask does not mend.
            JudgeError: not reached, or failing after all retries.
            MalformedReply: a reply without text, or one that was cut.
        """
        size = sum(len(message["content"]) for message in messages)
        settings = ChatSettings(temperature, max_tokens, enough, size)

        def request(dialect: Dialect) -> _Request:
            asked: Any = dialect.request(messages, settings)
            return lambda client: client.chat.completions.with_raw_response.create(model=model, **asked)

        reply, raw = await self._learning(request, settings)
        try:
            return self.settings.hide(chat_text(reply, raw))
        except MalformedReply as error:
            raise self._hidden(error) from None

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
            except Exception as error:  # noqa: BLE001 (whatever a strange reply does to the client)
                failure = MalformedReply(
                    "a reply", f"the client cannot read the reply ({type(error).__name__})"
                )
        # Raised outside the handlers: the client's own error, which may hold the key, is not chained to it.
        raise failure

    async def _learning(
        self,
        request: Callable[[Dialect], _Request],
        settings: ChatSettings,
        mendable: Sequence[Parameter] = ("max_tokens", "temperature", "system"),
    ) -> tuple[Any, str]:
        """A reply as JSON and as text, asked for in the way that the refusals so far have taught."""
        crowded = self._crowded is not None and settings.size >= self._crowded
        while True:
            known = self._dialect
            dialect = replace(known, room=False) if crowded else known
            try:
                return self._read(await self.call(request(dialect)))
            except RequestRefused as refused:
                if self._dialect is not known:  # another request has learnt something meanwhile
                    continue
                learnt = dialect.after(refused, settings)
                if learnt is None or (refused.parameter or "max_tokens") not in mendable:
                    raise
                other, told = learnt
                if refused.concerns == "item":
                    # Of this prompt and its reply together: one that is no shorter has no room either.
                    crowded = True
                    self._crowded = min(
                        settings.size, settings.size if self._crowded is None else self._crowded
                    )
                else:
                    self._dialect = other if refused.too_much else replace(other, room=known.room)
                self._tell_once(told)

    def _read(self, response: Any) -> tuple[Any, str]:
        """
        Raises:
            MalformedReply: no JSON, or a body at fault.
            RequestRefused: an error in a reply of status 200.
        """
        http = response.http_response
        content = self._without_key(http.content)
        text = content.decode("utf-8", "replace")
        fault = fault_of(http)
        if fault is not None:
            raise MalformedReply("a reply", f"{fault}, which begins {text[:KEPT]!r}")
        reply = parsed(content)
        if isinstance(reply, dict) and reply.get("error") and not reply.get("choices"):
            error = reply["error"]
            code = error.get("code") if isinstance(error, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 400
            raise self._refused(status, text)
        return reply, self.settings.hide(as_text(reply, text))

    def _failure(self, error: OpenAIError) -> Exception:
        from openai import APIResponseValidationError, APIStatusError

        if isinstance(error, APIResponseValidationError):
            return MalformedReply("JSON", self.settings.hide(error.response.text))
        where = self.settings.address
        if not isinstance(error, APIStatusError):
            told = (
                f"{where}: {self.settings.hide(str(error)).rstrip('.')} after {self.settings.max_retries}"
                f" retries: {connection_advice(error)}"
            )
            return RequestRefused(told, 0, "failing") if was_reached(error) else JudgeError(told)
        status = error.status_code
        if 300 <= status < 400:
            there = self.settings.hide(_host(error.response.headers.get("location", "")))
            return RequestRefused(
                f"{where} answered {status}, a redirect to {there!r}, which is not followed, since the key"
                " would go with it: give that address by --base-url, if it is the judge's",
                status,
            )
        return self._refused(status, error.response.text)

    def _refused(self, status: int, body: str) -> RequestRefused:
        found = refusal(status, self.settings.hide(body))
        return RequestRefused(
            f"{self.settings.address} answered {status}: {found.said[:TOLD]}{_advice(status)}",
            status,
            found.concerns,
            parameter=found.parameter,
            too_much=found.too_much,
        )

    def _without_key(self, content: bytes) -> bytes:
        text = content.decode("utf-8", "surrogateescape")
        return self.settings.hide(text).encode("utf-8", "surrogateescape")

    def _hidden(self, error: MalformedReply) -> MalformedReply:
        """The same without a key that was written by escapes."""
        text = None if error.text is None else self.settings.hide(error.text)
        return MalformedReply("a chat completion with text", self.settings.hide(error.raw), text=text)

    def _tell_once(self, told: str) -> None:
        if told not in self._told:
            self._told.add(told)
            self._tell(told)


def _host(location: str) -> str:
    """Where an address leads, without what may be a key in it."""
    try:
        found = urlsplit(location)
        return found.hostname or found.path
    except ValueError:
        return "nowhere"


def _advice(status: int) -> str:
    if status in (401, 403):
        return f' (the key is {KEY_VARIABLE}, or "api_key" in the config file)'
    if status == 404:
        return " (is the model's name right, and does the endpoint speak this protocol?)"
    return ""
