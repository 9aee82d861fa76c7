"""JSON that people edit, read strictly: what is wrong with it is said with the line and the character."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dola.errors import DataError

_BETWEEN = re.compile(r"[\s,\[]*")


class _UnfitError(ValueError):
    """What Python's reader takes, and no data should have."""


def json_of(text: str, path: Path, first_line: int = 1) -> Any:
    """The value that the text is; `path`, and the line that it starts on, are for messages.

    Raises:
        DataError: no JSON, a key twice in one object, NaN or infinity, a number of thousands of digits, or
            nesting that is too deep.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DataError(
            f"is not JSON: {error.msg} (character {error.colno} of the line)",
            path=path,
            line=first_line + error.lineno - 1,
        ) from None
    except _UnfitError as error:
        raise DataError(str(error), path=path, line=first_line) from None
    except RecursionError:
        raise DataError("is not JSON that can be read: nested too deep", path=path, line=first_line) from None
    except ValueError:
        raise DataError(
            "a number of thousands of digits: expected none longer than 4,300", path=path, line=first_line
        ) from None


def entries_of(text: str, entries: list[Any]) -> Iterator[tuple[int, Any]]:
    """The entries of the list that the text is, each with the line that it starts on."""
    decoder = json.JSONDecoder()
    at, line, counted = 0, 1, 0
    for entry in entries:
        blanks = _BETWEEN.match(text, at)
        start = blanks.end() if blanks else at
        line += text.count("\n", counted, start)
        counted = start
        yield line, entry
        _, at = decoder.raw_decode(text, start)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in found if keys.count(key) > 1)
        raise _UnfitError(f"the key {double[:60]!r} is there twice in one object: expected each once")
    return found


def _refuse_constant(name: str) -> Any:
    raise _UnfitError(f"{name} is no JSON: expected numbers, texts, true, false and null")
