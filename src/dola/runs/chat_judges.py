"""A judge that is talked to, at an endpoint or on this machine: asked for what is missing, reply by reply."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dola.errors import ModelError
from dola.judges.dialect import ROOM_TO_THINK, told_by_the_user
from dola.judges.replies import CutShort
from dola.judges.settings import EndpointSettings
from dola.models.placement import Placement
from dola.runs.event_loop import finished
from dola.runs.fingerprint import model_identity
from dola.runs.verdicts import Asked, Hope, Verdict, Verdicts, ask_all, in_version

if TYPE_CHECKING:
    from dola.judges.endpoint import Endpoint
    from dola.language_model import LanguageModel

OnVerdict = Callable[[Verdict], None]
Readable = Callable[[Any], bool]


@dataclass(frozen=True)
class ChatCall:
    """One conversation that a judge is to go on with.

    Attributes:
        max_tokens: of reply, as its prompt has it.
        longest: the tokens that reply and thought may have together; None: as many as a thought needs where
            the model is at an endpoint. A reply that comes to its end does not depend on it, so it is no part
            of what is recorded.
    """

    messages: tuple[Mapping[str, str], ...]
    temperature: float
    max_tokens: int
    longest: int | None = None

    @property
    def text(self) -> str:
        """The conversation as JSON."""
        return json.dumps([dict(message) for message in self.messages], ensure_ascii=False)

    @property
    def manner(self) -> str:
        """The settings in words: a part of what a reply depends on."""
        return f"temperature {self.temperature:g}, {self.max_tokens} tokens"


class ChatJudge(Protocol):
    """Whoever replies to conversations."""

    @property
    def name(self) -> str:
        """As it was given."""

    @property
    def version(self) -> int:
        """Counted up where it comes to ask otherwise than judge, model and conversation say."""

    def prepare(self) -> None:
        """See what it is, before anything is recorded of it. May use the network."""

    def asked(self, call: ChatCall) -> Asked:
        """What is recorded of a call. Uses no network."""

    def reply(
        self,
        calls: Sequence[ChatCall],
        verdicts: Verdicts,
        on_verdict: OnVerdict,
        *,
        readable: Readable = lambda _: True,
    ) -> None:
        """Have it reply to all calls, and keep each reply as it comes.

        Args:
            readable: whether a verdict can be read from a reply: where none can, the judge is asked no more.

        Raises:
            JudgeError: it cannot be asked; what it said so far is kept.
        """


@dataclass(frozen=True)
class EndpointChat:
    """A chat model at an OpenAI-compatible endpoint; `tell` hears how it wants to be asked."""

    version: ClassVar[int] = 1

    name: str
    settings: EndpointSettings
    tell: Callable[[str], None] = lambda _: None

    def prepare(self) -> None:
        """See that the client is installed; the first request tells the rest."""
        from dola.judges.bounded_http import check_installed

        check_installed()

    def asked(self, call: ChatCall) -> Asked:
        manner = in_version(f"chat at {self.settings.address}, {call.manner}", self)
        return Asked(manner, self.name, call.text)

    def reply(
        self,
        calls: Sequence[ChatCall],
        verdicts: Verdicts,
        on_verdict: OnVerdict,
        *,
        readable: Readable = lambda _: True,
    ) -> None:
        finished(self._reply({self.asked(call): call for call in calls}, verdicts, on_verdict, readable))

    async def _reply(
        self, calls: Mapping[Asked, ChatCall], verdicts: Verdicts, on_verdict: OnVerdict, readable: Readable
    ) -> None:
        from dola.judges.endpoint import Endpoint

        async with Endpoint(self.settings, tell=self.tell) as endpoint:
            await ask_all(
                list(calls),
                lambda one: _ask(endpoint, one.model, calls[one]),
                verdicts,
                concurrency=self.settings.concurrency,
                on_verdict=on_verdict,
                readable=readable,
            )


@dataclass(frozen=True)
class LocalChat:
    """A chat model on this machine. Its replies are kept by what the weights are, not by their path.

    Attributes:
        load: gives the model; called once there is something to ask.
        seed: of the sampling, where a prompt asks for a temperature.
    """

    version: ClassVar[int] = 1

    name: str
    placement: Placement
    load: Callable[[], LanguageModel]
    seed: int = 0
    trust_remote_code: bool = False
    progress: Callable[[str], None] = lambda _: None

    def prepare(self) -> None:
        """Fetch the configuration: which commit a hub id stands for is not known before."""
        from dola.models.loading import find_source, load_depth

        load_depth(find_source(self.name, progress=self.progress), trust_remote_code=self.trust_remote_code)

    def asked(self, call: ChatCall) -> Asked:
        manner = in_version(f"local chat, {call.manner}, seed {self.seed}", self)
        return Asked(manner, self._identity, call.text)

    def reply(
        self,
        calls: Sequence[ChatCall],
        verdicts: Verdicts,
        on_verdict: OnVerdict,
        *,
        readable: Readable = lambda _: True,
    ) -> None:
        lm = self.load()
        # All prompts first: a model without a chat template is no judge.
        prompts = [_prompt(lm, call) for call in calls]
        hope = Hope(readable)
        manners = [(call.temperature, call.longest or call.max_tokens) for call in calls]
        for temperature, limit in dict.fromkeys(manners):
            places = [place for place, manner in enumerate(manners) if manner == (temperature, limit)]
            made = lm.iter_generate(
                [prompts[place] for place in places],
                max_new_tokens=limit,
                do_sample=temperature > 0,
                temperature=temperature or 1.0,
                seed=self.seed,
            )
            for index, generation in made:
                cut = None if generation.finish_reason != "length" else CutShort("length").told
                verdict = Verdict.of(self.asked(calls[places[index]]), generation.text, malformed=cut)
                verdicts.append(verdict)
                on_verdict(verdict)
                hope.count(verdict)
                hope.check()

    @cached_property
    def _identity(self) -> str:
        from dola.models.loading import dtype_here

        dtype = dtype_here(self.name, self.placement, trust_remote_code=self.trust_remote_code)
        return f"{model_identity(self.name)}, {dtype}"


def _ask(endpoint: Endpoint, model: str, call: ChatCall) -> Awaitable[str]:
    if call.longest is not None:
        return endpoint.chat(model, call.messages, temperature=call.temperature, max_tokens=call.longest)
    return endpoint.chat(
        model,
        call.messages,
        temperature=call.temperature,
        max_tokens=max(call.max_tokens, ROOM_TO_THINK),
        enough=call.max_tokens,
    )


def _prompt(lm: LanguageModel, call: ChatCall) -> str:
    """The conversation in the model's chat template; one that knows no system role is told by the user."""
    try:
        return lm.chat_prompt(call.messages)
    except ModelError:
        return lm.chat_prompt(told_by_the_user(call.messages))
