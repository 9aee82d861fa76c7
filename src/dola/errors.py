"""What a user can get wrong: the command line prints any of these in one line and exits with 2.

A fault of our own is never one of these: it keeps its traceback and exits with 1.
"""

from __future__ import annotations

import re
from pathlib import Path

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class DolaError(Exception):
    """Wrong usage or input. The message says what was expected, what was found, and how to mend it."""


class LayerError(DolaError):
    """Layers that the model lacks, or that are repeated, unsorted, or both mature and premature."""


class StrategyError(DolaError):
    """A strategy that is not registered, or one with a setting outside its range."""


class ModelError(DolaError):
    """A model that cannot be found, loaded, or given a contrastive head."""


class WeightsError(ModelError):
    """The weights of an embedded model could not be fetched, kept or verified."""


class NumericsError(ModelError):
    """A state or a logit that was read is no number: too large for the model's type, or damaged weights."""


class DataError(DolaError):
    """A data file that is not what it should be, with the place in it where that shows.

    `line` counts from 1, as editors do; `column` is a column's or a key's name.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        # Only the message goes to `args`, the rest to `__dict__`: so the error survives pickling.
        super().__init__(message)
        self.message = message
        self.path = path
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        named = f"column {self.column!r}" if self.column is not None else ""
        return ": ".join(part for part in (place, named, self.message) if part)


class RunError(DolaError):
    """A run that cannot start or go on: other settings' records, another process, no place to write."""


class JudgeError(DolaError):
    """A judge that cannot be asked: no key, refused, not reached, or failing time and again."""


class MissingExtraError(DolaError):
    """A feature whose optional packages are missing; the message is the command that installs them."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(feature, extra)
        self.feature = feature
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.feature} needs optional packages: pip install 'dola[{self.extra}]'"


def in_one_line(error: BaseException) -> str:
    """What another's exception says: its first line, the next too where that only announces it.

    Where the line would be read as nothing (a `KeyError` is no more than the key), the type stands before.
    """
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]).rstrip(".:")
    kind = type(error).__name__
    if not said:
        return kind
    return f"{kind} {said}" if isinstance(error, LookupError | AttributeError | TypeError) else said
