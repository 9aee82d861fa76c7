"""Read a data file's bytes and text: what is wrong with it is said in words, whatever its format."""

from __future__ import annotations

from pathlib import Path

from dola.errors import DataError


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
