"""The released answer files, one a strategy: JSON lines, named after the first strategy's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dola.errors import RunError
from dola.runs.journal import records_path
from dola.runs.results import write_text


def suffix_of(place: int, label: str) -> str:
    """What a strategy's answer file and model id end with; nothing for the first, as released."""
    return f"_{re.sub(r'[^A-Za-z0-9.=-]+', '-', label).rstrip('-')}" if place else ""


def answer_path(first: Path, place: int, label: str) -> Path:
    """The strategy's answer file; `first` is the first one's."""
    return first.with_name(f"{first.stem}{suffix_of(place, label)}{first.suffix}")


def check_answer_file(path: Path, result: Path, *, overwrite: bool) -> None:
    """See that an answer file is not another run's.

    Raises:
        RunError: with the reason and the place.
    """
    if path == result:
        raise RunError(f"{path} is --answer-file and --output-path: expected two files")
    if path.exists() and not overwrite and not records_path(result).exists():
        raise RunError(
            f"{path} exists, without the records of a run that could be gone on with"
            f" ({records_path(result).name}); give another --answer-file, or --overwrite to replace it"
        )


def write_answers(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write the file whole or not at all."""
    write_text(path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
