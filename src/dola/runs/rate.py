"""Answers rated by judges: asked for what is missing, kept as they answer, and added to the result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dola.errors import RunError
from dola.judges.card import KINDS, Kind
from dola.models.placement import Placement
from dola.result import Result
from dola.result.files import check_writable, write_json
from dola.runs.answers import Answers, answers_of, read_answers
from dola.runs.judging import EndpointJudge, Judge, LocalModelJudge, OnVerdict
from dola.runs.progress import silent, to_standard_error
from dola.runs.rated import rated_result, rating_json
from dola.runs.rating import Judges, Rating, missing
from dola.runs.rating import rate as rating_of
from dola.runs.verdicts import Verdicts, open_verdicts

if TYPE_CHECKING:
    from dola.judges.settings import EndpointSettings

# Shows how far asking is: given how many verdicts are to come, it gives what is to be called with each.
Asking = Callable[[int, Verdicts], AbstractContextManager[OnVerdict]]


def _unseen(total: int, verdicts: Verdicts) -> AbstractContextManager[OnVerdict]:  # noqa: ARG001
    return nullcontext(lambda _: None)


@dataclass(frozen=True)
class Again:
    """What of earlier verdicts is asked for again."""

    malformed: bool = False
    everything: bool = False


def rate(
    answers: str | Path | Result,
    *,
    truth: str,
    info: str,
    endpoint: EndpointSettings | None = None,
    device: str = "auto",
    dtype: str | None = None,
    verdicts: str | Path | None = None,
    ask_malformed_again: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Result:
    """Rate the answers of `dola.evaluate("tfqa", ...)`: %Truth, %Info, %Truth×Info and %Reject.

        dola.rate(result, truth="truth-judge", info="info-judge")                      judges on this machine
        dola.rate("out.json", truth="T", info="I", endpoint=dola.endpoint_settings(base_url=...))

    Args:
        answers: a result, or its file, to which the figures are then added.
        truth, info: the judges: folders of `dola judge train` or models, or, with `endpoint`, its models.
        verdicts: the file that verdicts are kept beside, so that nothing is asked (and paid for) twice; None:
            the result's own file, and of a result that is a value nothing.
        ask_malformed_again: ask again where a verdict made no sense; `overwrite`: for everything.

    Raises:
        DataError: no result of tfqa.
        JudgeError: a judge that cannot be asked; what it said so far is kept.
    """
    found = read_answers(Path(answers)) if isinstance(answers, str | Path) else answers_of(answers)
    if found.result is None:
        raise RunError(f"{answers} is no result of dola.evaluate: `dola judge tfqa` rates released output")
    path = None if isinstance(answers, Result) else Path(answers)
    tell = to_standard_error if progress else silent
    placement = Placement(device, dtype)

    def judge(kind: Kind, name: str) -> Judge:
        if endpoint is not None:
            return EndpointJudge(kind, name, endpoint)
        return LocalModelJudge(kind, name, placement, progress=tell)

    judges = Judges(judge("truth", truth), judge("info", info))
    again = Again(ask_malformed_again, overwrite)
    if path is not None:
        check_writable(path)
    with TemporaryDirectory() as folder:
        beside = Path(verdicts) if verdicts is not None else path or Path(folder) / "answers"
        rated = rated_result(found.result, run_rating(found, judges, beside, again))
    if path is not None:
        rated.save(path)
    return rated


def run_rating(
    answers: Answers, judges: Judges, beside: Path, again: Again, asking: Asking = _unseen
) -> Rating:
    """Ask for what has no verdict beside this file yet, and sum up."""
    judges.prepare()
    with open_verdicts(beside, overwrite=again.everything) as verdicts:
        total = sum(
            len(missing(answers, judges.of(kind), verdicts.done, ask_malformed_again=again.malformed))
            for kind in KINDS
        )
        with asking(total, verdicts) as advance:
            return rating_of(
                answers, judges, verdicts, ask_malformed_again=again.malformed, on_verdict=advance
            )


def write_rating(path: Path, answers: Answers, rating: Rating, released: Path) -> dict[str, Any]:
    """The released rating file, and the figures in the result at `path`, where it is one; gives the last."""
    written = rating_json(rating)
    write_json(released, written)
    if answers.result is not None:
        written = rated_result(answers.result, rating).to_json()
        write_json(path, written)
    return written
