"""The files that tell a judge of two answers what to do: a folder's, or fetched on first use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dola.errors import DataError
from dola.tasks.fetch import Progress, fetch, told_to_log
from dola.tasks.sources import JUDGE_FILES

JudgeFile = Literal["table_prompt", "table_reviewer", "judge_prompts"]

# By the name that upstream gives them, too.
_NAMES: dict[JudgeFile, tuple[str, ...]] = {
    "table_prompt": ("table_prompt.jsonl", "prompt.jsonl"),
    "table_reviewer": ("table_reviewer.jsonl", "reviewer.jsonl"),
    "judge_prompts": ("judge_prompts.jsonl",),
}


def judge_file(
    which: JudgeFile, path: Path | None = None, *, option: str, progress: Progress = told_to_log
) -> Path:
    """The file: `path` itself, the one of this kind in the folder `path`, or the pinned one.

    `option` is the flag that `path` was given with.

    Raises:
        DataError: none in the folder, or a failed download.
    """
    if path is None:
        return fetch(JUDGE_FILES[which], option=option, progress=progress)
    if not path.is_dir():
        return path
    for name in _NAMES[which]:
        if (path / name).is_file():
            return path / name
    raise DataError(f"expected {' or '.join(_NAMES[which])} in this folder ({option})", path=path)
