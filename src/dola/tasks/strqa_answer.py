"""Whether a StrategyQA completion says yes or no: the released script's rule, and the corrected one.

The demonstrations end with "So the answer is yes.", and so does an answer that follows them.
"""

from __future__ import annotations

import re

_RELEASED_TRIGGER = "answer is"

_CONCLUSION = re.compile(r"\banswer\s+is\b(?!\s+not\b)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")
# Whole words, and neither of them in "yes or no", "yes/no", "no-one".
_NOT_AN_ANSWER = r"(?:yes\s*(?:or|/)\s*no|no\s*(?:or|/)\s*yes)\b"
_WORD = re.compile(rf"\b{_NOT_AN_ANSWER}|(?<![\w'’/-])(?P<word>yes|no)(?![\w'’/-])", re.IGNORECASE)
# "No" before another word says how many ("no frost"); before a stop, or alone at the end, it is an answer.
_STANDING = re.compile(
    rf"\b{_NOT_AN_ANSWER}|(?<![\w'’/-])(?P<word>yes|no)(?=\s*[.,;:!)\"”*])"
    r"|(?:\A|[.,;:!?\n])[\s*\"“]*(?P<last>yes|no)\s*\Z",
    re.IGNORECASE,
)


def released_answer(completion: str) -> bool | None:
    """The released rule, to the letter: what stands between the first "answer is" and the next full stop, if
    that is "yes" or "no" and nothing else; None otherwise, when the script tries again if it may.

    (Its other way, "Thus, yes.", is looked for in a text in small letters, so it is never found.)
    """
    _, trigger, rest = completion.lower().partition(_RELEASED_TRIGGER)
    said = rest.split(_RELEASED_TRIGGER)[0].split(".")[0].strip()
    return said == "yes" if trigger and said in ("yes", "no") else None


def released_guess(completion: str) -> bool:
    """What the released rule takes where it finds no answer and may not try again: no, if there was an
    "answer is"; without one, no if the letters "no" occur anywhere, in "know" or "not" too; else yes."""
    lowered = completion.lower()
    return _RELEASED_TRIGGER not in lowered and "no" not in lowered


def answer(text: str) -> bool | None:
    """The corrected rule: the first whole word yes or no in a sentence after "answer is", in the first such
    sentence that has one; else the last yes or no that stands as an answer ("Thus, yes."); else None.
    """
    for match in _CONCLUSION.finditer(text):
        end = _SENTENCE_END.search(text, match.end())
        said = _said(_WORD, text, match.end(), end.start() if end else len(text))
        if said:
            return said[0]
    said = _said(_STANDING, text, 0, len(text))
    return said[-1] if said else None


def _said(pattern: re.Pattern[str], text: str, start: int, end: int) -> list[bool]:
    words = (match.groupdict() for match in pattern.finditer(text, start, end))
    found = (groups["word"] or groups.get("last") for groups in words)
    return [word.lower() == "yes" for word in found if word]
