"""What judges were asked and said: a line each as it arrives, found again by its content.

    {"key": "5f0e...", "judge": "completion at http://...", "model": "ft:...", "prompt": "Q: ...",
     "reply": {" yes": -0.02, " no": -4.1}, "malformed": null, "crc32": "81c8f1d0"}

Who asks the same judge the same thing again, in this run or in one after an interruption, pays nothing: the
key is a hash of judge, model and prompt, and of nothing else. A reply that makes no sense was paid for too:
it is kept as it came, under `malformed`, and asked for again only where that is wished.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import JudgeError
from dola.judges.refusals import RequestRefused
from dola.judges.replies import MalformedReply, was_cut
from dola.runs.journal import Records, open_journal, recorded
from dola.runs.versions import Versioned, version_of

_SUFFIX = ".verdicts"
# All that one file of verdicts has in common: each line says by itself what it is of.
_MANIFEST = {"task": "verdicts"}


@dataclass(frozen=True)
class Asked:
    """One question to a judge.

    Attributes:
        judge: how it is asked and where; everything beside model and prompt that a verdict depends on.
        prompt: what is asked, as text; of a conversation its JSON.
    """

    judge: str
    model: str
    prompt: str

    @property
    def key(self) -> str:
        """SHA-256 of the content."""
        content = json.dumps([self.judge, self.model, self.prompt], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def in_version(manner: str, judge: Versioned) -> str:
    """How a judge asks, told apart from how an earlier version of it asked: what that was told is not taken
    for an answer to this."""
    version = version_of(judge)
    return manner if version == 1 else f"{manner}, version {version}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line of the file.

    Attributes:
        reply: what the judge said, as JSON; None where that made no sense. A text that was cut is kept too.
        malformed: why it is no verdict: what came instead, as it came, or what cut it.
    """

    key: str
    judge: str
    model: str
    prompt: str
    reply: Any
    malformed: str | None

    @classmethod
    def of(cls, asked: Asked, reply: Any = None, *, malformed: str | None = None) -> Verdict:
        return cls(asked.key, asked.judge, asked.model, asked.prompt, reply, malformed)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Verdict:
        malformed = found["malformed"]
        return cls(
            key=str(found["key"]),
            judge=str(found["judge"]),
            model=str(found["model"]),
            prompt=str(found["prompt"]),
            reply=found["reply"],
            malformed=None if malformed is None else str(malformed),
        )


Verdicts = Records[Verdict]

# So many replies without sense and none with, or so many refusals that nothing explains: the wrong model, or
# asked in the wrong way, and nobody wants to pay for the rest.
_HOPELESS = 10
# Of a reply, how much a message shows.
_SHOWN = 200


def open_verdicts(output: Path, *, overwrite: bool = False) -> AbstractContextManager[Verdicts]:
    """The verdicts beside `output`, locked against other processes; those of earlier runs are in `done`.

    Args:
        overwrite: forget them, and pay for all of them again.

    Raises:
        RunError: another process has them.
        DataError: the file is not ours, or damaged elsewhere than in its last line's end.
    """
    return open_journal(Verdict, verdicts_of(output), _MANIFEST, overwrite=overwrite)


def recorded_verdicts(output: Path) -> dict[str, Verdict]:
    """The verdicts beside `output` by their key, where there are any; writes, cuts and locks nothing.

    Raises:
        DataError: the file is not ours, or damaged.
    """
    return recorded(Verdict, verdicts_of(output))


def verdicts_of(output: Path) -> Path:
    """What the file of verdicts beside `output` is named after."""
    return output.with_name(output.name + _SUFFIX)


def unanswered(
    asked: Iterable[Asked], done: Mapping[str, Verdict], *, ask_malformed_again: bool = False
) -> list[Asked]:
    """What a judge has yet to be asked, each content once, in order."""
    left: dict[str, Asked] = {}
    for one in asked:
        verdict = done.get(one.key)
        if verdict is None or (ask_malformed_again and verdict.malformed is not None):
            left.setdefault(one.key, one)
    return list(left.values())


async def ask_all(
    left: Sequence[Asked],
    ask: Callable[[Asked], Awaitable[Any]],
    verdicts: Verdicts,
    *,
    concurrency: int,
    on_verdict: Callable[[Verdict], None] = lambda _: None,
    readable: Callable[[Any], bool] = lambda _: True,
) -> None:
    """Ask for every verdict of `left`, `concurrency` at a time, and keep each as it arrives.

    Once the judge fails for good nothing more is asked, but what is under way is waited for and kept. A
    single request that is refused for its content is a verdict without sense; one that is refused for no
    reason that is known, or at which the server fails time and again, is so where others succeed after it,
    and otherwise nothing is kept of it. Ten replies without sense and no other are a failure too, those of
    earlier runs included.

    Args:
        ask: gives the reply as JSON, or raises `MalformedReply` or `JudgeError`.
        on_verdict: is told of each that is on the disk.
        readable: whether a verdict can be read from a reply.

    Raises:
        JudgeError: the judge's, with how many verdicts are kept.
    """
    asking = _Asking(left, ask, verdicts, on_verdict, readable)
    asking.refuse_hopeless()
    await asyncio.gather(*(asking.work() for _ in range(concurrency)))
    asking.settle()


class _Asking:
    """One run of `ask_all`: what was kept, and what went wrong."""

    def __init__(
        self,
        left: Sequence[Asked],
        ask: Callable[[Asked], Awaitable[Any]],
        verdicts: Verdicts,
        on_verdict: Callable[[Verdict], None],
        readable: Callable[[Any], bool],
    ) -> None:
        self._left, self._waiting = left, iter(left)
        self._ask, self._verdicts, self._on_verdict = ask, verdicts, on_verdict
        self._failures: list[Exception] = []
        # Refused for what may be the form of all requests, since the last reply that was none of these.
        self._unexplained: list[tuple[Asked, RequestRefused]] = []
        self._kept = 0
        self._hope = Hope(readable)
        asked_now = {one.key for one in left}
        judges = {_who(one) for one in left}
        for key, verdict in verdicts.done.items():
            if key not in asked_now and _who(verdict) in judges:
                self._hope.count(verdict)

    def refuse_hopeless(self) -> None:
        """
        Raises:
            JudgeError: earlier runs have ten replies without sense, and none with.
        """
        try:
            self._hope.check()
        except _Hopeless as error:
            raise self._stopped(error) from None

    async def work(self) -> None:
        """Ask one after the other, until nothing is left or the judge has failed."""
        for one in self._waiting:
            try:
                await self._one(one)
            except Exception as error:  # noqa: BLE001 (ours too: what others have under way is paid for)
                self._failures.append(error)
            if self._failures:
                return

    def settle(self) -> None:
        """Keep what was left open, or raise what went wrong.

        Raises:
            JudgeError: the judge's, with how many verdicts are kept.
        """
        for error in self._failures:
            if not isinstance(error, JudgeError):
                raise error
        # Nothing has succeeded since: it may be the server that fails, or the form that is refused.
        open_still = [
            error for _, error in self._unexplained if error.concerns == "failing" or not self._hope.sensible
        ]
        self._failures += open_still[: not self._failures]
        if self._failures:
            raise self._stopped(self._failures[0])
        self._explain()

    async def _one(self, one: Asked) -> None:
        try:
            verdict = Verdict.of(one, await self._ask(one))
        except MalformedReply as error:
            verdict = Verdict.of(one, error.text, malformed=error.raw)
        except RequestRefused as error:
            if error.concerns == "item":
                verdict = Verdict.of(one, malformed=str(error))
            elif error.concerns in ("unsure", "failing"):
                self._unexplained.append((one, error))
                if len(self._unexplained) >= _HOPELESS:
                    raise
                return
            else:
                raise
        if verdict.malformed is None:
            self._explain()
        self._keep(verdict)
        self._hope.check()

    def _explain(self) -> None:
        """Others have passed, so what was refused was refused for its content."""
        for one, error in self._unexplained:
            self._keep(Verdict.of(one, malformed=str(error)))
        self._unexplained.clear()

    def _keep(self, verdict: Verdict) -> None:
        self._verdicts.append(verdict)
        self._kept += 1
        self._hope.count(verdict)
        self._on_verdict(verdict)

    def _stopped(self, error: Exception) -> JudgeError:
        kept = f"{self._kept} of {len(self._left)} verdicts are kept in {self._verdicts.path}"
        goes_on = "" if isinstance(error, _Hopeless) else ": the same command goes on from there"
        return JudgeError(f"{error}. {kept}{goes_on}")


def _who(one: Asked | Verdict) -> tuple[str, str]:
    """Where a judge is and which model it is, without the settings that it is asked with."""
    return one.judge.partition(",")[0], one.model


class Hope:
    """Whether a judge that answers gives verdicts; `readable` says whether one can be read from a reply."""

    def __init__(self, readable: Callable[[Any], bool]) -> None:
        self.sensible = self.senseless = 0
        self._readable = readable
        self._last: Verdict | None = None

    def count(self, verdict: Verdict) -> None:
        if verdict.malformed is None and self._readable(verdict.reply):
            self.sensible += 1
        else:
            self.senseless += 1
            self._last = verdict

    def check(self) -> None:
        """
        Raises:
            JudgeError: ten replies without sense, and none with; one of them is shown.
        """
        if self._last is not None and self.senseless >= _HOPELESS and not self.sensible:
            raise _Hopeless.after(self._last)


def shown(verdict: Verdict) -> str:
    """What came in place of a verdict, for a message."""
    said = verdict.reply if isinstance(verdict.reply, str) and verdict.reply else None
    why = f"{verdict.malformed}: " if verdict.malformed and said else ""
    return f"{why}{(said or verdict.malformed or str(verdict.reply))[:_SHOWN]!r}"


class _Hopeless(JudgeError):
    """The judge answers, and no verdict can be read from what it says."""

    @classmethod
    def after(cls, last: Verdict) -> _Hopeless:
        remedy = "--max-tokens gives it more room, and" if was_cut(last.malformed) else "where it is,"
        return cls(
            f"{last.model}: none of the first {_HOPELESS} replies makes sense, the last one was"
            f" {shown(last)}; is it the right model, asked the right way? {remedy} --retry-failed asks for"
            " them again"
        )
