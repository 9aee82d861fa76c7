"""A judge that is talked to, at an endpoint or on this machine: asked for what is missing, reply by reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

from dola.errors import ModelError
from dola.judges.settings import EndpointSettings
from dola.models.placement import Placement
from dola.runs.event_loop import finished
from dola.runs.fingerprint import model_identity
from dola.runs.verdicts import Asked, Verdict, Verdicts, ask_all, in_version

if TYPE_CHECKING:
    from dola.language_model import LanguageModel

OnVerdict = Callable[[Verdict], None]


@dataclass(frozen=True)
class ChatCall:
    """One conversation that a judge is to go on with; `max_tokens` of reply at most."""

    messages: tuple[Mapping[str, str], ...]
    temperature: float
    max_tokens: int

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

    def asked(self, call: ChatCall) -> Asked:
        """What is recorded of a call. Uses no network."""

    def reply(self, calls: Sequence[ChatCall], verdicts: Verdicts, on_verdict: OnVerdict) -> None:
        """Have it reply to all calls, and keep each reply as it comes.

        Raises:
            JudgeError: it cannot be asked; what it said so far is kept.
        """


@dataclass(frozen=True)
class EndpointChat:
    """A chat model at an OpenAI-compatible endpoint."""

    version: ClassVar[int] = 1

    name: str
    settings: EndpointSettings

    def asked(self, call: ChatCall) -> Asked:
        manner = in_version(f"chat at {self.settings.address}, {call.manner}", self)
        return Asked(manner, self.name, call.text)

    def reply(self, calls: Sequence[ChatCall], verdicts: Verdicts, on_verdict: OnVerdict) -> None:
        finished(self._reply({self.asked(call): call for call in calls}, verdicts, on_verdict))

    async def _reply(
        self, calls: Mapping[Asked, ChatCall], verdicts: Verdicts, on_verdict: OnVerdict
    ) -> None:
        from dola.judges.endpoint import Endpoint

        async with Endpoint(self.settings) as endpoint:
            await ask_all(
                list(calls),
                lambda one: endpoint.chat(
                    self.name,
                    calls[one].messages,
                    temperature=calls[one].temperature,
                    max_tokens=calls[one].max_tokens,
                ),
                verdicts,
                concurrency=self.settings.concurrency,
                on_verdict=on_verdict,
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

    def asked(self, call: ChatCall) -> Asked:
        manner = in_version(f"local chat, {call.manner}, seed {self.seed}", self)
        return Asked(manner, self._identity, call.text)

    def reply(self, calls: Sequence[ChatCall], verdicts: Verdicts, on_verdict: OnVerdict) -> None:
        lm = self.load()
        # All prompts first: a model without a chat template is no judge.
        prompts = [_prompt(lm, call) for call in calls]
        for temperature, max_tokens in dict.fromkeys((call.temperature, call.max_tokens) for call in calls):
            places = [
                place
                for place, call in enumerate(calls)
                if (call.temperature, call.max_tokens) == (temperature, max_tokens)
            ]
            made = lm.iter_generate(
                [prompts[place] for place in places],
                max_new_tokens=max_tokens,
                do_sample=temperature > 0,
                temperature=temperature or 1.0,
                seed=self.seed,
            )
            for index, generation in made:
                verdict = Verdict.of(self.asked(calls[places[index]]), generation.text)
                verdicts.append(verdict)
                on_verdict(verdict)

    @cached_property
    def _identity(self) -> str:
        from dola.models.loading import dtype_here

        dtype = dtype_here(self.name, self.placement, trust_remote_code=self.trust_remote_code)
        return f"{model_identity(self.name)}, {dtype}"


def _prompt(lm: LanguageModel, call: ChatCall) -> str:
    """The conversation in the model's chat template; one that knows no system role is told by the user."""
    try:
        return lm.chat_prompt(call.messages)
    except ModelError:
        system = "\n\n".join(each["content"] for each in call.messages if each["role"] == "system")
        first, *others = (each for each in call.messages if each["role"] != "system")
        told = {"role": first["role"], "content": f"{system}\n\n{first['content']}"}
        return lm.chat_prompt([told, *others])
