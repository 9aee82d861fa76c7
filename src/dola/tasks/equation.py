"""The number that a stretch of text comes to: its first, or the result of the equation that it begins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dola.tasks.number_words import word_numbers_in
from dola.tasks.numbers import MINUS, Number, numbers_in

_EQUALS = r"=|≈|→|[-=]>|,?\s*(?:which\s+)?(?:is(?:\s+equal\s+to)?|equals|makes|gives)\b"
_OPERATORS = rf"[{MINUS}+*/x×·÷^]|(?:plus|minus|times|multiplied\s+by|divided\s+by)\b"
# With a word or three between the number and it: "5 red apples + 3 apples".
_OPERATOR = re.compile(
    rf"(?:\s*[a-z%]+){{0,3}}?[\s$€£()]*(?:(?P<equals>{_EQUALS})|{_OPERATORS})[\s$€£()]*\Z", re.IGNORECASE
)
# Of what is between two numbers of an equation.
_LONGEST = 60
# A sign is known by what stands before it.
_BEFORE = 40


@dataclass(frozen=True)
class Result:
    """`first`: where the first number starts; `end`: where the result ends."""

    number: Number
    first: int
    end: int


def result_in(text: str, start: int, begin_by: int, end: int) -> Result | None:
    """The first number from `start` on, of those that begin before `begin_by`; of an equation that it begins,
    "5 + 3 = 8", the number behind the last equals sign before `end`.

    Digits go before words, which may count nothing ("that one child gets 5"), but not before a number in
    words that the stretch begins with, or where there are no digits.
    """
    back = max(0, start - _BEFORE)
    sentence = text[back:end]
    words = list(word_numbers_in(sentence, start - back))
    digits = list(numbers_in(sentence, start - back))
    numbers = sorted(digits + words, key=lambda number: number.start)
    begins = bool(words) and words[0].start == start - back
    first = (words if begins or not digits else digits)[:1]
    if not first or first[0].start >= begin_by - back:
        return None
    number = _equated(sentence, numbers[numbers.index(first[0]) :])
    return Result(number, first[0].start + back, number.end + back)


def _equated(sentence: str, numbers: list[Number]) -> Number:
    result = previous = numbers[0]
    calculated = "/" in sentence[previous.start : previous.end]
    for number in numbers[1:]:
        equals = _is_equals(sentence, previous, number)
        if equals is None:
            break
        if not equals:
            calculated = True
        elif calculated:
            result = number
        previous = number
    return result


def _is_equals(sentence: str, one: Number, other: Number) -> bool | None:
    """Whether an equals sign joins the two; None where nothing does."""
    if other.start - one.end > _LONGEST:
        return None
    found = _OPERATOR.match(sentence, one.end, other.start)
    if found:
        return found["equals"] is not None
    # A minus just before a number is read as its sign.
    return False if sentence[other.start] in MINUS else None
