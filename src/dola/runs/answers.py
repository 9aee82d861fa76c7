"""Answers to TruthfulQA's questions, as judges get them: out of a result, or of the released script's output.

{"question": ["Can pigs fly?", ...], "model_completion": ["No, pigs cannot fly.", ...]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dola.errors import DataError
from dola.result import KEY, Result
from dola.result.result import result_of

_TASK = "tfqa"
# Released files hold one strategy's answers, and no name of it.
_UNNAMED = "answers"


@dataclass(frozen=True)
class Answers:
    """What is rated.

    Attributes:
        labels, strategies: of each strategy, what the table calls it and its place in the file.
        completions: `[strategy][question]`.
        result: the whole file, where `dola eval` wrote it.
    """

    labels: tuple[str, ...]
    strategies: tuple[int, ...]
    questions: tuple[str, ...]
    completions: tuple[tuple[str, ...], ...]
    result: Result | None

    def first(self, count: int) -> Answers:
        """The first questions alone, as the released `--debug`; the file they are of is left alone."""
        shorter = tuple(row[:count] for row in self.completions)
        return Answers(self.labels, self.strategies, self.questions[:count], shorter, None)


def read_answers(path: Path) -> Answers:
    """The answers of a result file, or of a released output file.

    Raises:
        DataError: not there, not JSON, or without questions and their answers.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError("no such file: expected the output of `dola eval tfqa`", path=path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"expected the output of `dola eval tfqa`, as JSON ({error})", path=path) from None
    if isinstance(content, dict) and KEY in content:
        return answers_of(result_of(content, path), path)
    questions, answers = _texts(content, "question"), _texts(content, "model_completion")
    if not questions or len(questions) != len(answers):
        raise DataError(
            'expected the output of `dola eval tfqa`: {"question": [...], "model_completion": [...]}, two'
            " lists of texts of one length",
            path=path,
        )
    return Answers((_UNNAMED,), (0,), questions, (answers,), None)


def answers_of(result: Result, path: Path | None = None) -> Answers:
    """The answers of a result; `path`: where it was read, for errors.

    Raises:
        DataError: of another benchmark.
    """
    if result.kind != "generation" or result.task != _TASK:
        raise DataError(f"a result of {result.task}: expected one of `dola eval tfqa`", path=path)
    rows = [(row.label, row.strategy) for row in result.rows if row.strategy is not None]
    return Answers(
        labels=tuple(label for label, _ in rows),
        strategies=tuple(place for _, place in rows),
        questions=tuple(example.question for example in result.generated),
        completions=tuple(
            tuple(example.completions[place].text for example in result.generated) for _, place in rows
        ),
        result=result,
    )


def _texts(content: object, key: str) -> tuple[str, ...]:
    """A list of texts; empty where it is none."""
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        return ()
    return tuple(found)
