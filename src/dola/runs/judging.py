"""A judge of truth or information, wherever it is: asked for what is missing, verdict by verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from dola.judges.card import Kind, is_judge, judge_prompt, read_card
from dola.judges.settings import EndpointSettings
from dola.judges.truthful import yes_of_pieces
from dola.models.placement import Placement
from dola.runs.event_loop import finished
from dola.runs.fingerprint import model_identity
from dola.runs.verdicts import Asked, Verdict, Verdicts, ask_all, in_version

OnVerdict = Callable[[Verdict], None]


class Judge(Protocol):
    """Judges one of both, truth or information."""

    @property
    def kind(self) -> Kind: ...

    @property
    def name(self) -> str:
        """As it was given."""

    @property
    def version(self) -> int:
        """Counted up where it comes to ask otherwise than judge, model and prompt say: nothing that an
        earlier version was told is taken for an answer then."""

    @property
    def longest_reply(self) -> int:
        """How many tokens a reply has at most."""

    def prepare(self) -> None:
        """Refuse what can be refused before anything is asked. May use the network."""

    def asked(self, question: str, answer: str) -> Asked:
        """What it is asked of an answer. Uses no network."""

    def answer(self, left: Sequence[Asked], verdicts: Verdicts, on_verdict: OnVerdict) -> None:
        """Ask it all of this, and keep each verdict as it comes."""

    def probability(self, reply: Any) -> float | None:
        """What it gives " yes", from a reply that was kept; None where the reply says neither yes nor no."""


@dataclass(frozen=True)
class EndpointJudge:
    """A completion model at an endpoint, asked as the released rating asks. `name`: the endpoint's; `tell`
    hears how it wants to be asked."""

    version: ClassVar[int] = 1

    kind: Kind
    name: str
    settings: EndpointSettings
    tell: Callable[[str], None] = lambda _: None

    longest_reply = 1

    def prepare(self) -> None:
        """See that the client is installed; the first request tells the rest."""
        from dola.judges.bounded_http import check_installed

        check_installed()

    def asked(self, question: str, answer: str) -> Asked:
        where = f"completion at {self.settings.address}"
        return Asked(in_version(where, self), self.name, judge_prompt(self.kind, question, answer))

    def answer(self, left: Sequence[Asked], verdicts: Verdicts, on_verdict: OnVerdict) -> None:
        if left:
            finished(self._answer(left, verdicts, on_verdict))

    async def _answer(self, left: Sequence[Asked], verdicts: Verdicts, on_verdict: OnVerdict) -> None:
        from dola.judges.endpoint import Endpoint

        async with Endpoint(self.settings, tell=self.tell) as endpoint:
            await ask_all(
                left,
                lambda one: endpoint.completion_logprobs(one.model, one.prompt),
                verdicts,
                concurrency=self.settings.concurrency,
                on_verdict=on_verdict,
                readable=lambda reply: self.probability(reply) is not None,
            )

    def probability(self, reply: Mapping[str, float]) -> float | None:
        return yes_of_pieces(reply)


@dataclass(frozen=True)
class LocalModelJudge:
    """A model on this machine. Its verdicts are kept by what the weights are, not by their path."""

    version: ClassVar[int] = 1

    kind: Kind
    name: str
    placement: Placement
    trust_remote_code: bool = False
    progress: Callable[[str], None] = lambda _: None

    longest_reply = 1

    def prepare(self) -> None:
        """Fetch the configuration: what a hub id stands for is not known before."""
        from dola.judges.local import check_kind
        from dola.models.loading import find_source, load_depth

        name, folder = self.name, Path(self.name).expanduser()
        if is_judge(folder):
            check_kind(folder, self.kind)
            name = read_card(folder).base_model
        source = find_source(name, progress=self.progress)
        load_depth(source, trust_remote_code=self.trust_remote_code)

    def asked(self, question: str, answer: str) -> Asked:
        return Asked(in_version("local", self), self._identity, judge_prompt(self.kind, question, answer))

    def answer(self, left: Sequence[Asked], verdicts: Verdicts, on_verdict: OnVerdict) -> None:
        if not left:
            return
        from dola.judges.local import load_local_judge

        judge = load_local_judge(
            self.name,
            self.kind,
            self.placement,
            trust_remote_code=self.trust_remote_code,
            progress=self.progress,
        )
        for which, probability in judge.probabilities_of_yes([one.prompt for one in left]):
            # A probability that is no number comes from weights or a dtype that do not fit the model.
            finite = math.isfinite(probability)
            verdict = (
                Verdict.of(left[which], {"probability": probability})
                if finite
                else Verdict.of(left[which], malformed=str(probability))
            )
            verdicts.append(verdict)
            on_verdict(verdict)

    def probability(self, reply: Mapping[str, float]) -> float | None:
        return float(reply["probability"])

    @cached_property
    def _identity(self) -> str:
        folder = Path(self.name).expanduser()
        if is_judge(folder):
            self.placement.load_arguments_here()  # that the device is there is the cheapest to see
            card = read_card(folder)
            return f"{card.identity} with {model_identity(self.name)}, {self.placement.dtype or card.dtype}"
        from dola.models.loading import dtype_here

        dtype = dtype_here(self.name, self.placement, trust_remote_code=self.trust_remote_code)
        return f"{model_identity(self.name)}, {dtype}"
