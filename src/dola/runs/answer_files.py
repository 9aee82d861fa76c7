"""The released answer files, one a strategy: JSON lines, named after the first strategy's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dola.errors import RunError
from dola.result import Completion, Result
from dola.result.files import write_text
from dola.runs.journal import records_path
from dola.tasks.vicuna import suffix_of


def answer_path(first: Path, place: int, label: str) -> Path:
    """The strategy's answer file; `first` is the first one's."""
    return first.with_name(f"{first.stem}{suffix_of(place, label)}{first.suffix}")


def check_answer_files(first: Path, labels: Sequence[str], result: Path, *, overwrite: bool) -> None:
    """See that no strategy's answer file is another run's.

    Raises:
        RunError: with the reason and the place.
    """
    for place, label in enumerate(labels):
        _check(answer_path(first, place, label), result, overwrite=overwrite)


def write_answer_files(result: Result, first: Path) -> list[Path]:
    """The answer file of every strategy, each whole or not at all; the first one's is `first`."""
    written = []
    for row in result.rows.of_kind("strategy"):
        place = row.strategy or 0
        path, lines = answer_path(first, place, row.label), result.strategies[place].released
        made = (example.completions[place] for example in result.generated)
        told = (_told_of_cut(*pair) for pair in zip(lines, made, strict=True))
        write_text(path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in told))
        written.append(path)
    return written


def _told_of_cut(line: Mapping[str, Any], made: Completion) -> Mapping[str, Any]:
    """The released line; of an answer that was cut for its length, the released `metadata` says so."""
    if made.finish_reason != "length":
        return line
    return {**line, "metadata": {**line["metadata"], "finish_reason": "length"}}


def _check(path: Path, result: Path, *, overwrite: bool) -> None:
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
