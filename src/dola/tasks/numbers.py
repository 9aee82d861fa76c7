"""Numbers as people write them, read out of a text as values: `$1,000.00`, `-5`, `1 1/2`, `.5`, `18%`.

What stands before and after one (a currency, a per cent sign, "million", a unit) is not read: GSM8K's answers
have none, and "how many per cent" and "how many million" are asked for in those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

# A minus between two numbers is a subtraction, and a hyphen after a letter is one.
_SIGN = r"(?P<sign>(?<![\w)\]%])(?:[-−][$€£]?|[$€£][-−]))?"
# Thousands in threes, or as in India (1,00,000); "1, 2" and "12,5" are two numbers.
_WHOLE = r"\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d+"
_FRACTION = r"(?P<over>\d+)/(?P<under>0*[1-9]\d*)(?![\d/])"
_NUMBER = re.compile(
    rf"{_SIGN}(?:(?:(?P<and>\d+)\s+)?{_FRACTION}|(?P<whole>{_WHOLE})(?P<part>\.\d+)?|(?P<only>(?<![\w.])\.\d+))"
)


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
    """The numbers from `start` on, in order."""
    for match in _NUMBER.finditer(text, start):
        value = _value(match)
        yield Number(-value if match["sign"] else value, match.start(), match.end())


def plain(value: Decimal) -> str:
    """A number without an exponent and without digits that say nothing."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _value(match: re.Match[str]) -> Decimal:
    if match["over"]:
        return Decimal(match["and"] or 0) + Decimal(match["over"]) / Decimal(match["under"])
    if match["only"]:
        return Decimal(match["only"])
    return Decimal(match["whole"].replace(",", "") + (match["part"] or ""))
