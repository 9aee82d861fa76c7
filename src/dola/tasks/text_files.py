"""Read a data file's bytes and text: what is wrong with it is said in words, whatever its format."""

from __future__ import annotations

import re
from pathlib import Path

from dola.errors import DataError

# Of a cell or a text. What is longer than any model's context is a fault of the file's.
_LONGEST = 10_000_000
_HALF = re.compile("[\ud800-\udfff]")


def bytes_of(path: Path, expected: str) -> bytes:
    """The file's bytes; `expected` says what it should be ("a CSV file").

    Raises:
        DataError: no such file, a folder, or one that may not be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"no such file: expected {expected}", path=path) from None
    except IsADirectoryError:
        raise DataError(f"expected {expected}, found a folder", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def refuse_utf16(raw: bytes, path: Path, mend: str) -> None:
    """Raise a DataError for the one other encoding that says it is one; `mend` is how to save it instead."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"the file is UTF-16: expected UTF-8 ({mend})", path=path, line=1)


def text_of(raw: bytes, path: Path) -> str:
    """The bytes as UTF-8 text, without a byte-order mark.

    Raises:
        DataError: another encoding.
    """
    refuse_utf16(raw, path, "save it as UTF-8")
    try:
        return str(raw, "utf-8-sig")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        line_start = raw.rfind(b"\n", 0, error.start) + 1
        raise DataError(
            f"the byte 0x{byte:02X} is not UTF-8 (Windows-1252?), byte {error.start - line_start + 1} of the"
            " line: save the file as UTF-8",
            path=path,
            line=raw.count(b"\n", 0, error.start) + 1,
        ) from None


def unfit(text: str) -> str | None:
    """Why a text is none to put before a model, or None where nothing is wrong with it."""
    if len(text) > _LONGEST:
        return f"a text of {len(text):,} characters: expected at most {_LONGEST:,}; is a quote missing?"
    if "\0" in text:
        return "a NUL character: expected text, so the file is damaged"
    half = _HALF.search(text)
    if half:
        return f"half a character (\\u{ord(half.group()):04x}): expected whole ones, so the file is damaged"
    return None


def file_in(data_path: Path, names: tuple[str, ...], *, option: str = "--data-path") -> Path:
    """`data_path` itself if it is no folder, else the first of `names` that is in it; `option`: the flag that
    the path was given by.

    Raises:
        DataError: the folder has none of them.
    """
    if not data_path.is_dir():
        return data_path
    for name in names:
        if (data_path / name).is_file():
            return data_path / name
    raise DataError(
        f"expected {' or '.join(names)} in this folder; without {option} it is fetched", path=data_path
    )
