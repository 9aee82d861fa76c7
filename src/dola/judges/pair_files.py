"""The questions and the two models' answers that a judge is shown, read and checked before it is asked.

Questions in either form, answers as the released script or as FastChat writes them, one JSON object a line:

    {"question_id": 1, "category": "generic", "text": "..."}
    {"question_id": 1, "category": "generic", "turns": ["...", "..."]}
    {"question_id": 1, "answer_id": "kQ3...", "model_id": "llama-7b", "text": "...", "metadata": {}}
    {"question_id": 1, "answer_id": "kQ3...", "model_id": "llama-7b", "choices": [{"turns": ["...", "..."]}]}

An answer that was cut for its length says so in `metadata`: {"finish_reason": "length"}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import DataError
from dola.judges.replies import ended

Id = int | str

# FastChat's, in place of an answer that its model or endpoint failed to give.
ERROR = "$ERROR$"
# Of the ids that a file lacks, how many a message names.
_NAMED = 5


@dataclass(frozen=True)
class Question:
    """What was asked: `turns` has one text, or one for each time that the user spoke."""

    id: Id
    category: str
    turns: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a model answered to each turn of a question.

    Attributes:
        finish_reason: why the answer ended, where its file says so.
    """

    id: str
    model: str
    turns: tuple[str, ...]
    finish_reason: str | None = None

    @property
    def failure(self) -> str | None:
        """Why this is no answer that can be compared: it is an error, empty or cut; None: it is one."""
        texts = [text.strip() for text in self.turns]
        if ERROR in texts:
            return ERROR
        if not all(texts):
            return "empty"
        return None if ended(self.finish_reason) else f"cut ({self.finish_reason})"


@dataclass(frozen=True)
class Answers:
    """One file of answers. `model` is the `model_id` that all of them have, else the file's name."""

    path: Path
    model: str
    by_question: Mapping[Id, Answer]

    def __getitem__(self, question: Question) -> Answer:
        return self.by_question[question.id]


def read_questions(path: Path) -> tuple[Question, ...]:
    """The questions in the file's order.

    Raises:
        DataError: not readable, not in either form, or a question twice.
    """
    found: dict[Id, Question] = {}
    for line, row in json_lines(path):
        turns = row.get("turns", [row.get("text")])
        question = Question(
            _new_id(row, found, path, line),
            str(row.get("category") or "general"),
            _texts(turns, "turns" if "turns" in row else "text", path, line),
        )
        found[question.id] = question
    if not found:
        raise DataError("expected questions, one JSON object a line; the file is empty", path=path)
    return tuple(found.values())


def read_answers(path: Path) -> Answers:
    """A model's answers, or reference answers.

    Raises:
        DataError: not readable, not in either form, or two answers to a question.
    """
    found: dict[Id, Answer] = {}
    for line, row in json_lines(path):
        key = _new_id(row, found, path, line)
        model = str(row.get("model_id") or "")
        # FastChat writes an answer's id everywhere, and asks it of nobody: any will do that lasts.
        found[key] = Answer(
            str(row.get("answer_id") or f"{path.stem}-{key}"),
            model,
            _answer_turns(row, path, line),
            _finish_reason(row),
        )
    models = {answer.model for answer in found.values()}
    name = models.pop() if len(models) == 1 else ""
    return Answers(path, name or path.stem, found)


def check_same_questions(
    questions: Sequence[Question], answers: Answers, *, first_n: int | None = None
) -> None:
    """Refuse answers to other questions than these, and missing answers (to the first n; None: to all).

    Raises:
        DataError: with the ids.
    """
    asked = {question.id for question in questions}
    judged = questions[:first_n]
    missing = [question.id for question in judged if question.id not in answers.by_question]
    others = [key for key in answers.by_question if key not in asked]
    if missing:
        raise DataError(
            f"expected an answer to each of the {len(judged)} questions; {len(missing)} have none:"
            f" question_id {_some(missing)}",
            path=answers.path,
        )
    if others:
        raise DataError(
            f"answers questions that are not in the question file: question_id {_some(others)}; expected the"
            " answers to the same set",
            path=answers.path,
        )
    for question in judged:
        given = len(answers[question].turns)
        if given < len(question.turns):
            raise DataError(
                f"question_id {question.id!r} has {len(question.turns)} turns, its answer {given}",
                path=answers.path,
            )


def labels_of(a: Answers, b: Answers) -> tuple[str, str]:
    """What to call the two: their models, or their files where it is one model under two strategies."""
    for one, other in ((a.model, b.model), (a.path.stem, b.path.stem)):
        if one != other:
            return one, other
    return str(a.path), f"{b.path}{' (again)' if a.path == b.path else ''}"


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each JSON object of a JSONL file with its line number; empty lines are passed over.

    Raises:
        DataError: not there, not UTF-8, or a line that is no JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError("no such file: expected one JSON object a line", path=path) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"is not JSON ({error})", path=path, line=number) from None
        if not isinstance(row, dict):
            raise DataError(f"expected a JSON object, found {line.strip()[:40]!r}", path=path, line=number)
        yield number, row


def _new_id(row: Mapping[str, Any], found: Mapping[Id, object], path: Path, line: int) -> Id:
    key = row.get("question_id")
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise DataError(
            f"expected a number or a text, found {key!r}", path=path, line=line, column="question_id"
        )
    if key in found:
        raise DataError(
            f"{key!r} is there twice: expected each once", path=path, line=line, column="question_id"
        )
    return key


def _answer_turns(row: Mapping[str, Any], path: Path, line: int) -> tuple[str, ...]:
    if "choices" not in row:
        return _texts([row.get("text")], "text", path, line)
    try:
        turns = row["choices"][0]["turns"]
    except (IndexError, KeyError, TypeError):
        raise DataError('expected [{"turns": [...]}]', path=path, line=line, column="choices") from None
    return _texts(turns, "choices", path, line)


def _finish_reason(row: Mapping[str, Any]) -> str | None:
    """Where `dola eval vicuna` and others write it: with the answer, in its metadata or its first choice."""
    choices = row.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for place in (row, row.get("metadata"), first):
        if isinstance(place, dict) and isinstance(place.get("finish_reason"), str):
            return str(place["finish_reason"])
    return None


def _texts(found: object, column: str, path: Path, line: int) -> tuple[str, ...]:
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise DataError(
            f"expected text, at least one, found {str(found)[:40]!r}", path=path, line=line, column=column
        )
    return tuple(found)


def _some(ids: Sequence[Id]) -> str:
    more = f", and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(repr(key) for key in ids[:_NAMED]) + more
