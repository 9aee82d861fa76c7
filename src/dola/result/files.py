"""Files written whole or not at all, and whether a place can be written to."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from dola.errors import RunError
from dola.result.cycles import no_search_for_cycles
from dola.result.form import opened, written

# How many of a list are made into text at once, and below which level of the file everything is.
_PIECE = 1_000
_DEEP = 5


@no_search_for_cycles()
def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all: a reader never meets half of it. What is not finite is null."""
    write_text(path, chain(_pieces(content), ["\n"]))


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a text file, in one or in pieces, whole or not at all."""
    # With the rights that the user's umask gives, as any new file; mkstemp's are for secrets.
    umask = os.umask(0)
    os.umask(umask)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        # A text out of JSON may hold half a character: its escape is what JSON takes for it.
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines([text] if isinstance(text, str) else text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def check_writable(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Make the folder of an output path, and see that a file can be written there, and that it is none of
    those that are read.

    Raises:
        RunError: with the reason and the place.
    """
    if path.resolve() in {each.resolve() for each in inputs}:
        raise RunError(f"{path} is read, and would be written over: give another name for the output")
    if path.is_dir():
        raise RunError(f"{path} is a folder: expected the name of a file for --output-path")
    if path.exists() and not path.is_file():  # it would be replaced, /dev/full and its like too
        raise RunError(f"{path} is no file but a device or a pipe: expected the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RunError(f"cannot write to --output-path {path}: {error.strerror or error}") from None


def _pieces(value: Any, depth: int = 0) -> Iterator[str]:
    """What `json.dumps` makes of it, a part at a time: made at once, a text of a hundred thousand examples
    takes five times its size, and so does all of it in JSON's own types."""
    value = opened(value)
    if depth == _DEEP or isinstance(value, str) or not isinstance(value, Mapping | Sequence) or not value:
        yield _dumped(value)
    elif isinstance(value, Mapping):
        for at, (key, each) in enumerate(value.items()):
            name = key if isinstance(key, str) else json.dumps(key)
            yield f"{', ' if at else '{'}{json.dumps(name, ensure_ascii=False)}: "
            yield from _pieces(each, depth + 1)
        yield "}"
    elif len(value) > _PIECE:
        for at in range(0, len(value), _PIECE):
            yield f"{', ' if at else '['}{_dumped(value[at : at + _PIECE])[1:-1]}"
        yield "]"
    else:
        for at, each in enumerate(value):
            yield ", " if at else "["
            yield from _pieces(each, depth + 1)
        yield "]"


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # what is finite and of JSON's own types need not be copied
        return json.dumps(written(value), ensure_ascii=False, allow_nan=False)
