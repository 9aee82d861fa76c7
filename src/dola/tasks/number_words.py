"""Numbers in English words: `eighteen`, `twenty-five`, `one hundred and five`, `two and a half`.

A numeral in words is read whole: "five million" is 5,000,000. (In digits "million" is a unit: `numbers`.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from dola.tasks.numbers import Number, is_sign

_SMALL = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
    )
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10,
}  # fmt: skip

_BEGINNINGS = frozenset((*_SMALL, *_TENS, "a", "an", "half", "negative", "minus"))

_WORD = re.compile(r"[A-Za-z]++")
_JOINT = re.compile(r"[ \t]{1,3}|[-‐‑]")
# "No one", "each one", "one of them" count nothing.
_PRONOUN_AFTER = re.compile(r"\b(?:no|any|every|each|some|which|this|that|the|another)[ -]\Z", re.IGNORECASE)
_PRONOUN_BEFORE = re.compile(r"[ ](?:of|another|by|day|can|must|should|has)\b|['’]", re.IGNORECASE)


@dataclass(frozen=True)
class _Read:
    """What the words so far come to.

    Attributes:
        done: of the scales that are past ("two thousand ...").
        group: below the next scale.
        below: the next word must be worth less than this.
        scale: the next scale must be below this.
    """

    done: int = 0
    group: int = 0
    below: int = 1000
    scale: int = 10**15

    @property
    def value(self) -> int:
        return self.done + self.group

    def then(self, word: str) -> _Read | None:
        """With one more word; None where it cannot follow ("five twenty")."""
        simple = _SMALL.get(word, _TENS.get(word))
        if simple is not None and simple < self.below and (simple or self == _Read()):
            below = 10 if word in _TENS else 0
            return replace(self, group=self.group + simple, below=below)
        if word == "hundred" and 0 < self.group < 10:
            return replace(self, group=100 * self.group, below=100)
        if word in _SCALES and self.group and _SCALES[word] < self.scale:
            return _Read(self.done + self.group * _SCALES[word], 0, 1000, _SCALES[word])
        return None


def word_numbers_in(text: str, start: int = 0) -> Iterator[Number]:
    """The numbers in words from `start` on, in order."""
    while match := _WORD.search(text, start):
        number = _number(text, match)
        start = match.end() if number is None else number.end
        if number is not None:
            yield number


def may_begin_number(text: str, start: int) -> bool:
    """Whether the word that starts here is one that a number in words may begin with."""
    word = _WORD.match(text, start)
    return word is not None and word[0].lower() in _BEGINNINGS


def _number(text: str, first: re.Match[str]) -> Number | None:
    word = first[0].lower()
    if word in ("negative", "minus"):
        after = _next(text, first.end())
        number = _unsigned(text, after) if after else None
        signed = word == "negative" or is_sign(text, first.start())
        return replace(number, value=-number.value, start=first.start()) if number and signed else None
    return _unsigned(text, first)


def _unsigned(text: str, first: re.Match[str]) -> Number | None:
    word = first[0].lower()
    if word == "half" or word in ("a", "an"):
        return _with_article(text, first, word)
    read, end = _words(text, first, _Read())
    if read is None or (word == "one" and _is_pronoun(text, first.start(), end)):
        return None
    value, end = _with_part(Decimal(read.value), text, end)
    return Number(value, first.start(), end)


def _with_article(text: str, first: re.Match[str], word: str) -> Number | None:
    """ "Half", "a half", "a hundred and five", "a dozen"; "a" before anything else counts nothing."""
    after = _next(text, first.end())
    following = after[0].lower() if after else ""
    if word == "half":
        return Number(Decimal("0.5"), first.start(), first.end())
    if after and following in ("half", "third", "quarter"):
        return Number(1 / Decimal(_PARTS[following]), first.start(), after.end())
    if after and (following == "hundred" or following in _SCALES):
        read, end = _words(text, after, _Read(group=1))
        return Number(Decimal(read.value), first.start(), end) if read else None
    return None


def _words(text: str, first: re.Match[str], read: _Read) -> tuple[_Read | None, int]:
    """The longest numeral from this word on, and its end; None where the word begins none."""
    found: _Read | None = None
    end = first.end()
    word: re.Match[str] | None = first
    while word:
        following = read.then(word[0].lower())
        if following is None:
            joined = word[0].lower() == "and" and found is not None and read.below >= 100
            after = _next(text, word.end()) if joined else None
            following = read.then(after[0].lower()) if after else None
            word = after
        if following is None or word is None:
            break
        found = read = following
        end = word.end()
        word = _next(text, end)
    return found, end


def _with_part(value: Decimal, text: str, end: int) -> tuple[Decimal, int]:
    """ "Three quarters" is 0.75, "two and a half" 2.5."""
    after = _next(text, end)
    if after and after[0].lower() in _PARTS:
        return value / _PARTS[after[0].lower()], after.end()
    if after and after[0].lower() == "and":
        article = _next(text, after.end())
        part = _next(text, article.end()) if article and article[0].lower() in ("a", "one") else None
        if part and part[0].lower() in ("half", "third", "quarter"):
            return value + 1 / Decimal(_PARTS[part[0].lower()]), part.end()
    return value, end


def _next(text: str, end: int) -> re.Match[str] | None:
    """The word after a space or a hyphen."""
    joint = _JOINT.match(text, end)
    return _WORD.match(text, joint.end()) if joint else None


def _is_pronoun(text: str, start: int, end: int) -> bool:
    before = _PRONOUN_AFTER.search(text[max(0, start - 10) : start])
    return bool(before or _PRONOUN_BEFORE.match(text, end))
