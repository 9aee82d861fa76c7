"""Which number a GSM8K completion answers with: the released script's rule, and the corrected one.

The demonstrations end with "The answer is 18.", and so does a solution that follows them.
"""

from __future__ import annotations

import re
from decimal import Decimal

from dola.tasks.numbers import Number, numbers_in

_RELEASED_TRIGGER = "the answer is"
_RELEASED_NUMBER = re.compile(r"-?\d+\.?\d*")
_RELEASED_GOLD = re.compile(r"#### (-?[0-9.,]+)")

_CONCLUSION = re.compile(r"\bthe\s+(?:final\s+|correct\s+)?answer\s+is\b(?!\s+not\b)", re.IGNORECASE)
# A full stop within a number, or before the next letter at once ("e.g"), ends no sentence.
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")
_FIRST = re.compile(r"[^\s:*]")
_OPERATORS = "-−+*/x×·÷="
# With one word between the number and it: "5 apples + 3 apples".
_OPERATOR = re.compile(
    rf"(?:\s*[a-z%]+)?[\s$€£()]*(?P<operator>[{re.escape(_OPERATORS)}])[\s$€£()]*\Z", re.IGNORECASE
)


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
    """The number after "#### "; None where there is none."""
    gold = released_gold(solution)
    return None if gold is None else value_of(gold)


def value_of(text: str) -> Decimal | None:
    """The value of a text that is one number and nothing else."""
    number = next(numbers_in(text), None)
    alone = number is not None and (number.start, number.end) == (0, len(text.removesuffix(".")))
    return number.value if number is not None and alone else None


def answer(text: str) -> str | None:
    """The corrected rule: the number of the first conclusion that has one, in its plainest form.

    A conclusion is the rest of the sentence, or of the line, after "the (final) answer is". The first, since
    what follows it answers a question that the model went on to ask itself. An equation that it begins with
    counts with its result: "5 + 3 = 8" is 8. Without any conclusion, the last number of the text.
    """
    for match in _CONCLUSION.finditer(text):
        # Below the line, too: "The answer is:" and a line break.
        first = _FIRST.search(text, match.end())
        start = first.start() if first else len(text)
        end = _SENTENCE_END.search(text, start)
        number = _result(text[: end.start() if end else len(text)], start)
        if number is not None:
            return number.shown
    everything = list(numbers_in(text))
    return everything[-1].shown if everything else None


def _result(sentence: str, start: int) -> Number | None:
    """The first number from `start` on; of an equation that it begins, the number behind the last "="."""
    numbers = numbers_in(sentence, start)
    result = previous = next(numbers, None)
    if previous is None:
        return None
    calculated = "/" in sentence[previous.start : previous.end]
    for number in numbers:
        between = _OPERATOR.match(sentence, previous.end, number.start)
        # A minus just before a number is read as its sign.
        operator = between["operator"] if between else sentence[number.start]
        if operator not in _OPERATORS:
            break
        if operator != "=":
            calculated = True
        elif calculated:
            result = number
        previous = number
    return result
