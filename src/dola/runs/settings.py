"""One definition of a setting, for the flag, the keyword and the recipe that say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class Check(Protocol):
    """What a value must be."""

    @property
    def expected(self) -> str:
        """In words: `a whole number from 1`."""

    def fits(self, value: Any) -> bool: ...


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int | None = None

    @property
    def expected(self) -> str:
        return f"a whole number from {self.low}" + ("" if self.high is None else f" to {self.high}")

    def fits(self, value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return value >= self.low and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`; `above`: greater than `low`."""

    low: float | None = None
    high: float | None = None
    above: bool = False

    @property
    def expected(self) -> str:
        low = "" if self.low is None else f" {'above' if self.above else 'from'} {self.low:g}"
        return f"a number{low}" + ("" if self.high is None else f" to {self.high:g}")

    def fits(self, value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
            return False
        if self.low is not None and (value < self.low or (self.above and value == self.low)):
            return False
        return self.low is None or (math.isfinite(value) and (self.high is None or value <= self.high))


@dataclass(frozen=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.words)}"

    def fits(self, value: Any) -> bool:
        return value in self.words


@dataclass(frozen=True)
class Truth:
    """True or false. `off`: the flag that says no."""

    off: str = ""

    @property
    def expected(self) -> str:
        return "True or False"

    def fits(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Word:
    """A text."""

    @property
    def expected(self) -> str:
        return "a text"

    def fits(self, value: Any) -> bool:
        return isinstance(value, str)


@dataclass(frozen=True)
class Place:
    """A file or a folder."""

    @property
    def expected(self) -> str:
        return "a path"

    def fits(self, value: Any) -> bool:
        return isinstance(value, Path)


@dataclass(frozen=True)
class Several:
    """Texts, one or more."""

    @property
    def expected(self) -> str:
        return "one text or a list of texts"

    def fits(self, value: Any) -> bool:
        return isinstance(value, Sequence) and bool(value) and all(isinstance(each, str) for each in value)


@dataclass(frozen=True)
class Setting:
    """How a setting is said.

    Attributes:
        flags: on the command line; the first is how it is written again.
        help: its line there.
        metavar: what stands for its value there, where the check does not say.
        shown: the default is shown there.
    """

    flags: tuple[str, ...]
    check: Check
    help: str
    metavar: str | None = None
    shown: bool = False


def setting(
    default: Any, check: Check, *flags: str, about: str, metavar: str | None = None, shown: bool = False
) -> Any:
    """A field of a dataclass of settings."""
    return field(default=default, metadata={"setting": Setting(flags, check, about, metavar, shown)})
