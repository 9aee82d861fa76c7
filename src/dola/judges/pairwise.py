"""Which of two models' answers a judge finds better: each pair of answers is shown in both orders.

A judge prefers the place as well as the answer (the first, mostly), so a verdict counts as a win only where
it holds in both orders; one that changes with the order counts for neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dola.judges.pair_files import Answer, Answers, Id, Question, check_same_questions
from dola.judges.pair_prompts import Form, Message, PairPrompt, PairPrompts
from dola.judges.pair_verdicts import MALFORMED, Outcome, Verdict, outcome_for_a, read_reply

# "ab": the first model's answer is shown first.
Order = Literal["ab", "ba"]
BOTH: tuple[Order, ...] = ("ab", "ba")


@dataclass(frozen=True)
class Match:
    """Two answers to one turn of a question, and the prompt that they are judged with; `longest`: the tokens
    that the judge's reply may have, where that is not left to the prompt."""

    question: Question
    prompt: PairPrompt
    form: Form
    a: Answer
    b: Answer
    reference: Answer | None = None
    longest: int | None = None

    def messages(self, order: Order) -> tuple[Message, ...]:
        """What the judge is shown.

        Raises:
            DataError: the prompt's template asks for something that there is not.
        """
        first, second = (self.a, self.b) if order == "ab" else (self.b, self.a)
        return self.prompt.messages(self.question, first, second, self.reference)


@dataclass(frozen=True)
class JudgedMatch:
    """What the verdicts on a match come to.

    Attributes:
        verdicts: what they say, by order.
        outcome: for model a.
    """

    match: Match
    verdicts: Mapping[Order, Verdict]
    outcome: Outcome

    @property
    def reversed(self) -> bool:
        """Whether another order made another winner: the judge went by the place."""
        return {verdict.for_side(order) for order, verdict in self.verdicts.items()} == {"a", "b"}

    def scores_for(self, side: Literal["a", "b"]) -> list[float]:
        """The scores of one model's answer, in each order; empty where any verdict has none."""
        found = [
            verdict.scores[order.index(side)]
            for order, verdict in self.verdicts.items()
            if verdict.scores is not None
        ]
        return found if len(found) == len(self.verdicts) else []


def matches_for(
    questions: Sequence[Question],
    a: Answers,
    b: Answers,
    prompts: PairPrompts,
    *,
    references: Answers | None = None,
    first_n: int | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
) -> tuple[Match, ...]:
    """All that is to be judged, in the questions' order; of several turns the form says how many matches.

    Args:
        first_n: of the questions; None: all.
        temperature: in place of the prompts' own.
        max_tokens: that a reply may have, thought included.

    Raises:
        DataError: answers missing, or to other questions; a prompt that is missing or cannot be filled.
    """
    for answers in (a, b):
        check_same_questions(questions, answers, first_n=first_n)
    found = []
    for question in questions[:first_n]:
        reference = references.by_question.get(question.id) if references else None
        for prompt in prompts.for_question(question, referenced=reference is not None):
            asked = replace(
                prompt,
                temperature=prompt.temperature if temperature is None else temperature,
            )
            match = Match(question, asked, prompts.form, a[question], b[question], reference, max_tokens)
            match.messages("ab")  # a template that cannot be filled is said before anything is paid for
            found.append(match)
    return tuple(found)


def failed_answers(
    questions: Sequence[Question], a: Answers, b: Answers, *, first_n: int | None = None
) -> dict[Id, str]:
    """The questions to which an answer is none (an error, empty, or cut), each with what it is.

    Raises:
        DataError: answers missing, or to other questions.
    """
    for answers in (a, b):
        check_same_questions(questions, answers, first_n=first_n)
    found: dict[Id, str] = {}
    for question in questions[:first_n]:
        told = [
            f"{answers.path.name}: {failure}" for answers in (a, b) if (failure := answers[question].failure)
        ]
        if told:
            found[question.id] = ", ".join(told)
    return found


def judged(match: Match, replies: Mapping[Order, str | None]) -> JudgedMatch:
    """Read the judge's replies to a match; a reply without text (None) is malformed."""
    verdicts = {
        order: MALFORMED if text is None else read_reply(match.form, text) for order, text in replies.items()
    }
    outcome = outcome_for_a([verdict.for_side(order) for order, verdict in verdicts.items()])
    return JudgedMatch(match, verdicts, outcome)
