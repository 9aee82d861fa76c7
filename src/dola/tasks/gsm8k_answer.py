"""Which number a GSM8K completion answers with: the released script's rule, and the corrected one.

The demonstrations end with "The answer is 18.", and so does a solution that follows them.
"""

from __future__ import annotations

import re
from collections import deque
from decimal import Decimal

from dola.tasks.equation import Result, result_in
from dola.tasks.number_words import may_begin_number, word_numbers_in
from dola.tasks.numbers import MINUS, Number, numbers_in
from dola.tasks.plain_math import BOX, BOX_END, plain_math
from dola.tasks.reply import replies, sentence_end

_RELEASED_TRIGGER = "the answer is"
_RELEASED_NUMBER = re.compile(r"-?\d+\.?\d*")
_RELEASED_GOLD = re.compile(r"#### (-?[0-9.,]+)")

# How a text says that its answer follows: "the answer (to that) is", "Answer:", "####", a box.
_CONCLUSION = re.compile(
    r"(?:\b(?:the|my|our|final|correct|right)|^[ \t>#_\"]*+|[.!?]|\b(?:so|thus|hence|therefore),?)"
    r"[ \t\n]{0,20}"
    r"\banswer\b(?:(?:[ ]to\b|,|[ ]\()[^.!?:=\n]{0,80}?)??\s{0,20}(?:"
    r"\b(?:is|was|equals|comes to|becomes|(?:would|should|must|will) be)\b(?!\s+(?:[a-z]+\s+)?not\b)"
    rf"|(?P<mark>[:=]))|(?P<hashes>(?<!\#)\#{{4}}(?!\#))|(?P<box>{BOX})",
    re.IGNORECASE | re.MULTILINE,
)
_FIRST = re.compile(r"[^\s:*]")
# Where a conclusion's first line is one of several, or a heading, its number counts lines.
_LIST_ITEM = re.compile(r"\d{1,2}[.)]\s+[A-Za-z]")
_SIGNS = rf"(?:(?:about|exactly|approximately|[A-Z]{{0,3}}[$€£¥₹₩]|[{MINUS}]|negative|minus)[ \t]*){{0,3}}"
_OPENING = re.compile(rf"[\s:*\"“(]*{_SIGNS}", re.IGNORECASE)
_LINE_OPENING = re.compile(rf"[ \t:*\"“(]*{_SIGNS}", re.IGNORECASE)
_DIGIT = re.compile(r"\.?\d")
# At most a unit stands between a number that is the whole answer and the end of its sentence.
_REST = re.compile(r"\s?[%$€£¢]?(?:\s*[A-Za-z]+){0,4}\s*(?:[.,;:!(\n$#<]|\Z)")


def released_answer(raw: str) -> str | None:
    """The released rule, to the letter: the first number between the first "the answer is" and the second, or
    without one the last number of all; None where the script says "[invalid]".

    It compares texts, so "18.0" is not "18", and reads "23-15" as 23 and -15.
    """
    parts = raw.lower().split(_RELEASED_TRIGGER)
    concluded = len(parts) > 1
    found = _RELEASED_NUMBER.findall((parts[1] if concluded else parts[-1]).replace(",", ""))
    if not found:
        return None
    number: str = found[0] if concluded else found[-1]
    return number.removesuffix(".")


def released_gold(solution: str) -> str | None:
    """What the released script compares with: the number after "#### ", without commas."""
    match = _RELEASED_GOLD.search(solution)
    return None if match is None else match[1].replace(",", "")


def gold_value(solution: str) -> Decimal | None:
    """The number that the solution's last line is after "#### "; None where it is no number, or more than
    that, or there are several such lines."""
    steps, mark, number = solution.rstrip().rpartition("#### ")
    return value_of(number.strip()) if mark and "####" not in steps + number else None


def value_of(text: str) -> Decimal | None:
    """The value of a text that is one number in digits and nothing else."""
    number = next(numbers_in(text), None)
    alone = number is not None and (number.start, number.end) == (0, len(text.removesuffix(".")))
    return number.value if number is not None and alone else None


def answer(text: str) -> str | None:
    """The corrected rule: the number of the first conclusion that has one, in its plainest form.

    A conclusion is what follows in the sentence, or line, after "the answer is" (or "was", "would be", with
    up to a few words in between), "####", "Answer:", or what is boxed; after a mark ("####", "Answer:") the
    number must come at once. The first conclusion, since what follows it answers a question that the model
    went on to ask itself. An equation counts with its result: "5 + 3 = 8" is 8. Without any conclusion, the
    last number in digits, else in words, of what stands before such a question. A thought in `<think>` is
    passed over.
    """
    for reply in replies(text):
        number = _answer_of(plain_math(reply))
        if number is not None:
            return number.shown
    return None


def _answer_of(marked: str) -> Number | None:
    text = marked.replace(BOX, " ").replace(BOX_END, " ")
    read = 0
    for match in _CONCLUSION.finditer(marked):
        if match["box"]:
            found = _boxed(marked, text, match.end())
        elif match["hashes"] or match["mark"]:
            found = _at_once(text, match)
        elif match.end() > read:  # else it is part of a sentence that has no number
            found, read = _concluded(marked, text, match.end())
        else:
            continue
        if found is not None:
            return found.number
    for numbers in (numbers_in(text), word_numbers_in(text)):
        last = deque(numbers, maxlen=1)
        if last:
            return last[0]
    return None


def _concluded(marked: str, text: str, after: int) -> tuple[Result | None, int]:
    """The number of the sentence that goes on here, or below the line ("The answer is:" and a line break);
    and how far was read."""
    first = _FIRST.search(text, after)
    if first is None:
        return None, len(text)
    start = first.start()
    end = sentence_end(text, start)
    # What is boxed later in the sentence is what it concludes with, and a list is no sentence.
    if BOX in marked[after:end] or ("\n" in text[after:start] and _LIST_ITEM.match(text, start)):
        return None, start
    return result_in(text, start, end, end), end


def _boxed(marked: str, text: str, start: int) -> Result | None:
    """What is boxed; an equation's result may stand behind the box."""
    end = max(start, marked.find(BOX_END, start))
    if result_in(text, start, end, end) is None:
        return None
    return result_in(text, start, end, sentence_end(text, end))


def _at_once(text: str, match: re.Match[str]) -> Result | None:
    """The number after "####" (on its line) or "Answer:", where it comes at once and is no heading's
    ("#### 1. Add")."""
    opening = (_LINE_OPENING if match["hashes"] else _OPENING).match(text, match.end())
    start = opening.end() if opening else match.end()
    if _LIST_ITEM.match(text, start) or not (_DIGIT.match(text, start) or may_begin_number(text, start)):
        return None
    end = sentence_end(text, start)
    # With what opens it, where a sign may be.
    result = result_in(text, match.end(), start + 1, end)
    return result if result and _REST.match(text, result.end) else None
