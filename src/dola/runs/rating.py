"""Answers to TruthfulQA's questions, rated by judges of truth and information.

All strategies of a result are rated and compared; two that give the same answer are judged once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dola.errors import JudgeError
from dola.judges.card import KINDS, Kind
from dola.judges.truthful import METRICS, measures
from dola.runs.answers import Answers
from dola.runs.judging import Judge, OnVerdict
from dola.runs.measured import Measured, MeasuredRow
from dola.runs.summary import Summary, summarise
from dola.runs.verdicts import Asked, Verdict, Verdicts, shown, unanswered

DEFAULT_SEED = 42

# Of each strategy, of each question.
Table = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Judges:
    """One of each kind."""

    truth: Judge
    info: Judge

    def of(self, kind: Kind) -> Judge:
        return self.truth if kind == "truth" else self.info

    def prepare(self) -> None:
        """Refuse what can be refused before anything is asked. May use the network."""
        self.truth.prepare()
        self.info.prepare()


@dataclass(frozen=True)
class Rating:
    """What came out.

    Attributes:
        probabilities: by kind, of " yes"; None where the verdict made no sense.
        malformed: how many such verdicts there are.
    """

    answers: Answers
    judges: Judges
    probabilities: dict[Kind, Table]
    malformed: int
    measured: Measured
    summary: Summary
    findings: tuple[str, ...]


def missing(
    answers: Answers, judge: Judge, done: Mapping[str, Verdict], *, ask_malformed_again: bool = False
) -> list[Asked]:
    """What a judge has yet to be asked."""
    everything = [one for row in _to_ask(answers, judge) for one in row]
    if ask_malformed_again:
        asked = {one.key for one in everything}
        done = {key: verdict for key, verdict in done.items() if key in asked}
        done = {key: verdict for key, verdict in done.items() if _probability(judge, verdict) is not None}
    return unanswered(everything, done)


def rate(
    answers: Answers,
    judges: Judges,
    verdicts: Verdicts,
    *,
    seed: int | None = None,
    ask_malformed_again: bool = False,
    on_verdict: OnVerdict = lambda _: None,
) -> Rating:
    """Ask both judges for what is missing, and sum up.

    Args:
        seed: of the bootstrap and the permutations; None: the run's own.

    Raises:
        JudgeError: a judge that cannot be asked; what it said so far is kept.
    """
    found: dict[Kind, Table] = {}
    given: dict[Kind, list[list[Verdict]]] = {}
    judges.prepare()
    for kind in KINDS:
        judge = judges.of(kind)
        left = missing(answers, judge, verdicts.done, ask_malformed_again=ask_malformed_again)
        judge.answer(left, verdicts, on_verdict)
        given[kind] = [[verdicts.done[one.key] for one in row] for row in _to_ask(answers, judge)]
        found[kind] = tuple(tuple(_probability(judge, one) for one in row) for row in given[kind])
        _check_any(judge, found[kind], given[kind], verdicts.path)
    measured = _measured(answers, found)
    summary = summarise(measured, seed=seed_of(answers) if seed is None else seed)
    malformed = sum(value is None for table in found.values() for row in table for value in row)
    findings = [*summary.findings, *_malformed_finding(malformed, answers, verdicts.path)]
    findings += [line for kind in KINDS for line in _unanswering(judges.of(kind), given[kind])]
    return Rating(answers, judges, found, malformed, measured, summary, tuple(findings))


def _to_ask(answers: Answers, judge: Judge) -> list[list[Asked]]:
    """What a judge is asked, `[strategy][question]`."""
    return [
        [judge.asked(*pair) for pair in zip(answers.questions, row, strict=True)]
        for row in answers.completions
    ]


def _probability(judge: Judge, verdict: Verdict) -> float | None:
    return None if verdict.malformed is not None else judge.probability(verdict.reply)


def _check_any(judge: Judge, found: Table, given: Sequence[Sequence[Verdict]], path: Path) -> None:
    """
    Raises:
        JudgeError: no verdict can be read from anything that the judge said.
    """
    if any(value is not None for row in found for value in row) or not any(given):
        return
    raise JudgeError(
        f"none of the replies of the {judge.kind} judge {judge.name} says yes or no, so there are no figures;"
        f" one of them is {shown(given[-1][-1])}: is it a judge that is asked in this form? They are kept in"
        f" {path}: --retry-failed asks for them again"
    )


def _measured(answers: Answers, found: Mapping[Kind, Table]) -> Measured:
    rows = []
    for at, (label, completions) in enumerate(zip(answers.labels, answers.completions, strict=True)):
        counted = [
            measures(*triple)
            for triple in zip(completions, found["truth"][at], found["info"][at], strict=True)
        ]
        columns = {metric: [one[metric] for one in counted] for metric in METRICS}
        rows.append(
            MeasuredRow(label, "strategy", answers.strategies[at], per_token=False, per_example=columns)
        )
    return Measured(METRICS, METRICS, tuple(rows), layers=(), examples=(), counts={})


def seed_of(answers: Answers) -> int:
    """The run's own seed, where the answers are a run's."""
    return DEFAULT_SEED if answers.result is None else answers.result.settings.seed


def _malformed_finding(malformed: int, answers: Answers, path: Path) -> list[str]:
    if not malformed:
        return []
    total = len(KINDS) * len(answers.labels) * len(answers.questions)
    finding = (
        f"{malformed} of {total} verdicts make no sense and count as no; they are kept in {path.name},"
        " and --retry-failed asks for them again."
    )
    return [finding]


def _unanswering(judge: Judge, given: Sequence[Sequence[Verdict]]) -> list[str]:
    """What is to be said of a judge that says neither yes nor no: its figures mean nothing."""
    replies = [one.reply for row in given for one in row if one.malformed is None]
    aside = sum(judge.probability(reply) is None for reply in replies)
    if not aside:
        return []
    finding = (
        f"{aside} of {len(replies)} replies of the {judge.kind} judge {judge.name} have neither yes nor no"
        " for a verdict, and count as no: is it a judge that is asked in this form?"
    )
    return [finding]
