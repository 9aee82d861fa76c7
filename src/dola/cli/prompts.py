"""Where prompts come from: arguments, files, standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from dola.errors import DataError

STANDARD_INPUT = "-"


def read_prompts(arguments: Sequence[str], files: Sequence[str], *, lines: bool) -> list[str]:
    """The prompts in the order given, arguments first; standard input where `-` stands, or nothing does.

    A file is one prompt, less the line break at its end; with `lines`, each line that is not blank is one.

    Raises:
        DataError: a file that cannot be read as UTF-8 text, or an empty prompt.
        click.UsageError: no prompt at all.
    """
    prompts: list[str] = []
    for place, argument in enumerate(arguments, 1):
        if argument == STANDARD_INPUT:
            prompts += _of_text(_read(argument), "standard input", lines=lines)
        else:
            prompts.append(_checked(argument, f"argument {place}"))
    for file in files:
        prompts += _of_text(_read(file), _named(file), lines=lines)
    if not arguments and not files:
        if sys.stdin.isatty():
            raise click.UsageError("no prompt: give one as an argument, with --file, or on standard input")
        prompts += _of_text(_read(STANDARD_INPUT), "standard input", lines=lines)
    return prompts


def _named(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file


def _of_text(text: str, place: str, *, lines: bool) -> list[str]:
    if not lines:
        return [_checked(text.removesuffix("\n").removesuffix("\r"), place)]
    prompts = [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise DataError("no prompt: every line is blank", path=place)
    return prompts


def _checked(prompt: str, place: str) -> str:
    if not prompt.strip():
        raise DataError("the prompt is empty: expected some text to continue", path=place)
    if any("\ud800" <= letter <= "\udfff" for letter in prompt):
        raise DataError("the prompt is not UTF-8 text", path=place)
    return prompt


def _read(file: str) -> str:
    """The text of a file or of standard input."""
    try:
        with click.open_file(file, "rb") as stream:
            raw = stream.read()
    except IsADirectoryError:
        raise DataError("expected a text file, found a folder", path=file) from None
    except (FileNotFoundError, NotADirectoryError):
        raise DataError("no such file: expected a text file with the prompt", path=file) from None
    except PermissionError:
        raise DataError("permission denied: this file cannot be read", path=file) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=file) from error
    try:
        return str(raw, "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"expected UTF-8 text, found the byte 0x{raw[error.start]:02x}", path=_named(file), line=line
        ) from None
