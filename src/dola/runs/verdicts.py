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
from dola.judges.endpoint import MalformedReply, RequestRefused
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
        reply: what the judge said, as JSON; None where that made no sense.
        malformed: what it said instead, as it came.
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

# So many replies without sense and none with: the wrong model, and nobody wants to pay for the rest.
_HOPELESS = 10


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
) -> None:
    """Ask for every verdict of `left`, `concurrency` at a time, and keep each as it arrives.

    Once the judge fails for good nothing more is asked, but what is under way is waited for and kept. A
    single request that is refused for its content is a verdict without sense. Ten of those and no other are
    a failure too.

    Args:
        ask: gives the reply as JSON, or raises `MalformedReply` or `JudgeError`.
        on_verdict: is told of each that is on the disk.

    Raises:
        JudgeError: the judge's, with how many verdicts are kept.
    """
    waiting = iter(left)
    failures: list[JudgeError] = []
    kept = sensible = 0

    async def work() -> None:
        nonlocal kept, sensible
        for one in waiting:
            try:
                verdict = await _verdict(one, ask)
            except JudgeError as error:
                failures.append(error)
                return
            verdicts.append(verdict)
            kept += 1
            sensible += verdict.malformed is None
            on_verdict(verdict)
            if kept == _HOPELESS and not sensible:
                failures.append(_hopeless(verdict))
            if failures:
                return

    await asyncio.gather(*(work() for _ in range(concurrency)))
    if failures:
        raise JudgeError(
            f"{failures[0]}. {kept} of {len(left)} verdicts are kept in {verdicts.path}: the same command"
            " goes on from there"
        )


async def _verdict(asked: Asked, ask: Callable[[Asked], Awaitable[Any]]) -> Verdict:
    try:
        return Verdict.of(asked, await ask(asked))
    except MalformedReply as error:
        return Verdict.of(asked, malformed=error.raw)
    except RequestRefused as error:
        if not error.of_content:
            raise
        return Verdict.of(asked, malformed=str(error))


def _hopeless(last: Verdict) -> JudgeError:
    return JudgeError(
        f"{last.model}: none of the first {_HOPELESS} replies makes sense, the last one was"
        f" {(last.malformed or '')[:200]!r}; is it the right model, asked the right way? Where it is,"
        " --ask-malformed-again asks for them again"
    )
