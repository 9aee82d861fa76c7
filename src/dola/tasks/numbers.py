"""Numbers as people write them, read out of a text as values: `$1,000.00`, `-5`, `minus 5`, `1 1/2`, `.5`.

What stands before and after one (a currency, a per cent sign, "million", a unit) is not read: GSM8K's answers
have none, and "how many per cent" and "how many million" are asked for in those. Of LaTeX and the like a text
is freed before (`plain_math`). Numbers in words are read in `number_words`.

Each reader here looks at a place of the text a bounded number of times, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

MINUS = "-\u2212\u2013\u2012\u2010\u2011\ufe63\uff0d"
_CURRENCY = r"(?:[A-Z]{0,3}[$€£¥₹₩]|(?:USD|EUR|GBP|INR|Rs\.?)(?![A-Za-z]))"
# A minus between two numbers is a subtraction, and a hyphen after a letter is one.
_SIGN = (
    rf"(?P<sign>(?<![\w)\]%])(?:[{MINUS}](?:{_CURRENCY}[ ]?)?|{_CURRENCY}[ ]?[{MINUS}])"
    rf"|(?<![\w)\]%])(?P<apart>[{MINUS}][ ])"
    rf"|\b(?P<word>negative|minus)[ ](?:{_CURRENCY}[ ]?)?)?"
)
# No number has more groups than that, and what is no group is looked at once for each number.
_NUMBER = re.compile(rf"{_SIGN}(?:(?P<run>\d++(?:,\d++){{0,15}}+)|(?<![\w.])(?P<only>\.\d++))", re.IGNORECASE)
# Thousands in threes, or as in India (1,00,000); "1, 2" and "12,5" are two numbers.
_GROUPED = re.compile(r"\d++|\d{1,3}(?:,\d{3})++|\d{1,3}(?:,\d{2})*,\d{3}")
_GROUPS_FIRST = re.compile(r"\d{1,3}(?:,\d{3}(?!\d))++|\d++")
# "9 500", but not "12 200-kilobyte videos".
_SPACED = re.compile(rf"(?:[ ]\d{{3}}(?!\d))++(?![\w/]|[{MINUS}]\w)")
_PART = re.compile(r"\.\d++")
_POWER = re.compile(r"(?:[eE]|\s?[×x*·]\s?10\s?\^\s?)(?P<power>[+−-]?\d{1,2})(?!\w|\.\d)")
_UNDER = r"/(?P<under>0*+[1-9]\d*+)(?!\d|/|\.\d|,\d{3})"
_OVER = re.compile(_UNDER)
_MIXED = re.compile(rf"[ ]{{1,2}}(?:and[ ])?(?P<over>\d{{1,9}}){_UNDER}")
_AND_A_PART = re.compile(r"[ ]and[ ](?:a|one)[ ](?P<part>half|third|quarter)\b", re.IGNORECASE)
_PARTS = {"half": Decimal(2), "third": Decimal(3), "quarter": Decimal(4)}
# What "minus" stands after when it is a sign; after anything else it takes away ("10 apples minus 5").
_BEFORE_SIGN = re.compile(
    r"(?:\A|[:=≈(,;*$\n]|\b(?:is|are|was|be|equals?|to|of|by|at|about|exactly|answer|gets?|becomes))\s*\Z",
    re.IGNORECASE,
)
# "It is - 5", but "10 - 5" and a list's "- 5".
_BEFORE_SIGN_APART = re.compile(r"(?:[=≈:]|\b(?:is|be|was|equals?))[ $]*\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A number in a text: its value, and where it starts and ends there."""

    value: Decimal
    start: int
    end: int

    @property
    def shown(self) -> str:
        """The value in the plainest form: `18` for 18.0, `-0.5` for -.5, `1000` for 1,000."""
        return plain(self.value)


def numbers_in(text: str, start: int = 0) -> Iterator[Number]:
    """The numbers in digits from `start` on, in order."""
    while match := _NUMBER.search(text, start):
        signed = bool(match["sign"]) and _is_sign(match)
        first = match.start("only") if match["only"] else match.start("run")
        value, start = (
            (Decimal(match["only"]), match.end()) if match["only"] else _numeral(text, first, match.end())
        )
        yield Number(-value if signed else value, match.start() if signed else first, start)


def is_sign(text: str, start: int) -> bool:
    """Whether a "minus" that starts here is a sign, and takes nothing away."""
    return _BEFORE_SIGN.search(text[max(0, start - 24) : start]) is not None


def plain(value: Decimal) -> str:
    """A number without an exponent and without digits that say nothing."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _is_sign(match: re.Match[str]) -> bool:
    if match["apart"]:
        start = match.start()
        return _BEFORE_SIGN_APART.search(match.string[max(0, start - 12) : start]) is not None
    word = match["word"]
    return word is None or word.lower() == "negative" or is_sign(match.string, match.start())


def _numeral(text: str, start: int, end: int) -> tuple[Decimal, int]:
    """The number whose digits and commas lie between `start` and `end`, and where it really ends."""
    run = text[start:end]
    if not _GROUPED.fullmatch(run):
        first = _GROUPS_FIRST.match(run)
        end = start + (first.end() if first else len(run))
    spaced = _SPACED.match(text, end) if end - start <= 3 and text[start] != "0" else None
    end = spaced.end() if spaced else end
    whole = text[start:end].replace(",", "").replace(" ", "")
    part = _PART.match(text, end)
    if part:
        value, end = Decimal(whole + part[0]), part.end()
    else:
        value, end = _with_fraction(Decimal(whole), text, end)
    power = _POWER.match(text, end)
    if power:
        value, end = value.scaleb(int(power["power"].replace("−", "-"))), power.end()
    return value, end


def _with_fraction(whole: Decimal, text: str, end: int) -> tuple[Decimal, int]:
    """`3` before "/4" is 0.75; before " 1/2", "and 1/2" or "and a half" it is 3.5."""
    over = _OVER.match(text, end)
    if over:
        return whole / Decimal(over["under"]), over.end()
    mixed = _MIXED.match(text, end)
    if mixed and int(mixed["over"]) < Decimal(mixed["under"]):
        return whole + Decimal(mixed["over"]) / Decimal(mixed["under"]), mixed.end()
    spoken = _AND_A_PART.match(text, end)
    if spoken:
        return whole + 1 / _PARTS[spoken["part"].lower()], spoken.end()
    return whole, end
