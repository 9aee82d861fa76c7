"""What a judge's reply says about two answers, and what two replies in both orders come to.

A reply is read by our rule, and by FastChat's beside it: its review wants the two scores parted by a single
space or comma, so that `8, 9` is none, and its pair judgement takes [[A]] wherever it stands before it looks
for another, so that "I will not say [[A]] only because it is longer: [[B]]" is a verdict for A.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dola.judges.pair_prompts import Form
from dola.judges.thought import after_thought, thinks

Winner = Literal["first", "second", "tie"]
# Of the two models, whichever was shown first.
Side = Literal["a", "b", "tie"]
Outcome = Literal["win", "loss", "tie", "inconsistent", "malformed"]

OUTCOMES: tuple[Outcome, ...] = ("win", "loss", "tie", "inconsistent", "malformed")
HIGHEST = 10.0

_NUMBER = r"(\d+(?:\.\d+)?)"
# Emphasis and brackets around them do no harm; a sign or a word does.
_SCORES = re.compile(rf"[\s*_(\[]*{_NUMBER}(?:\s*[,;|]\s*|\s+){_NUMBER}[\s*_)\].]*")
_MARK = re.compile(r"\[\[([ABC])\]\]")
# Where a model that reasons first says that what follows is its answer.
_ANSWER = re.compile(
    r"^[\W_]*(?:(?:my|the|so|thus|therefore|hence)[\s,:]+)*(?:final|overall)\s+"
    r"(?:answers?|verdicts?|scores?|ratings?|judge?ments?|decisions?|evaluations?|results?|outputs?)\b"
    r"(?:\s+(?:is|are))?[\s:*_.=-]*",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_MARKED: dict[str, Winner] = {"A": "first", "B": "second", "C": "tie"}


@dataclass(frozen=True)
class Verdict:
    """What one reply says.

    Attributes:
        winner: None: malformed, nothing that could be read.
        scores: of the answer shown first and of the other, by a review.
        released: the winner by FastChat's own rule.
    """

    winner: Winner | None
    scores: tuple[float, float] | None = None
    released: Winner | None = None

    def for_side(self, order: str) -> Side | None:
        """The winner by its model; `order` is "ab", or "ba" where model b was shown first."""
        if self.winner is None or self.winner == "tie":
            return self.winner
        return "a" if (self.winner == "first") == (order == "ab") else "b"


MALFORMED = Verdict(None)


def read_reply(form: Form, text: str) -> Verdict:
    """What a reply says, by the form of the prompt that it replies to; what it says after its thought, where
    it thinks aloud."""
    return _read_scores(text) if form == "scores" else _read_mark(text)


def outcome_for_a(sides: Sequence[Side | None]) -> Outcome:
    """What the verdicts on one pair of answers, in one order or in both, come to for model a.

    One that is malformed makes the outcome malformed; two that differ make it inconsistent, be it that they
    name different winners or that one is a tie.
    """
    if None in sides:
        return "malformed"
    if len(set(sides)) > 1:
        return "inconsistent"
    outcomes: dict[Side | None, Outcome] = {"a": "win", "b": "loss", "tie": "tie"}
    return outcomes[sides[0]]


def released_scores(text: str) -> list[float]:
    """The scores as FastChat's review file has them: [-1, -1] where its rule finds none."""
    parts = text.split("\n")[0].replace(",", " ").split(" ")
    try:
        first, second = (float(part) for part in parts)
    except ValueError:
        return [-1, -1]
    # `nan` is a number to FastChat, and none to JSON.
    return [first, second] if math.isfinite(first) and math.isfinite(second) else [-1, -1]


def _read_scores(text: str) -> Verdict:
    """Two numbers from 0 to 10, and nothing else but signs, on the first line that is not empty."""
    first, second = released_scores(text)
    released = None if (first, second) == (-1, -1) else _higher(first, second)
    scores = _scores_of(text)
    if scores is None:
        return Verdict(None, None, released)
    return Verdict(_higher(*scores), scores, released)


def _scores_of(text: str) -> tuple[float, float] | None:
    said = after_thought(text)
    scores = None if said is None else (_first_line_scores(said) or _final_scores(said))
    # An answer that quotes such a tag is no thought: the scores stand first all the same.
    return scores or (_first_line_scores(text) if thinks(text) else None)


def _first_line_scores(said: str) -> tuple[float, float] | None:
    lines = said.strip().splitlines()
    return _pair(lines[0]) if lines else None


def _final_scores(said: str) -> tuple[float, float] | None:
    """The scores that the last "final answer" names, on its line or on the next."""
    announced = list(_ANSWER.finditer(said))
    return _first_line_scores(said[announced[-1].end() :]) if announced else None


def _pair(line: str) -> tuple[float, float] | None:
    found = _SCORES.fullmatch(_BOXED.sub(r"\1", line).strip().strip("$"))
    if found is None:
        return None
    scores = (float(found[1]), float(found[2]))
    return None if max(scores) > HIGHEST else scores


def _higher(first: float, second: float) -> Winner:
    if first == second:
        return "tie"
    return "first" if first > second else "second"


def _read_mark(text: str) -> Verdict:
    """The last mark: it is the final verdict that the prompt asks for."""
    marks = _MARK.findall(after_thought(text) or "")
    everywhere = _MARK.findall(text)
    released = _MARKED[min(everywhere)] if everywhere else None
    return Verdict(_MARKED[marks[-1]] if marks else None, None, released)
