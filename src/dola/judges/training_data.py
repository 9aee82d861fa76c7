"""The released training data of the judges, read strictly, and split by question.

One line: {"prompt": "Q: Can pigs fly?\\nA: No, pigs cannot fly.\\nTrue:", "completion": " yes"}
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import DataError
from dola.judges.card import FORMS, NO, YES, Kind


@dataclass(frozen=True)
class JudgeExample:
    """An answer to a question, and what people said of it.

    Attributes:
        prompt: as in the file, without the answer to it.
        question, answer: before and after the first "\\nA: ".
        yes: whether people said yes.
    """

    prompt: str
    question: str
    answer: str
    yes: bool

    @property
    def completion(self) -> str:
        return YES if self.yes else NO


@dataclass(frozen=True)
class TrainingData:
    """A whole file. `sha256` is of its bytes."""

    path: Path
    sha256: str
    kind: Kind
    examples: tuple[JudgeExample, ...]


@dataclass(frozen=True)
class Split:
    """Two sides with no question in common."""

    train: tuple[JudgeExample, ...]
    held_out: tuple[JudgeExample, ...]


def read_training_data(path: Path, kind: Kind) -> TrainingData:
    """Every example of a JSONL file, in order; empty lines are skipped.

    Raises:
        DataError: no such file, or a line that is not a prompt of this kind with " yes" or " no" after it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        found = "found a folder" if path.is_dir() else error.strerror or str(error)
        raise DataError(f"expected a JSONL file of prompts and completions: {found}", path=path) from None
    examples = tuple(
        _example(line, kind, path, number)
        for number, line in enumerate(raw.split(b"\n"), start=1)
        if line.strip()
    )
    if not examples:
        raise DataError("the file is empty: expected prompts and completions", path=path)
    return TrainingData(path, hashlib.sha256(raw).hexdigest(), kind, examples)


def _example(line: bytes, kind: Kind, path: Path, number: int) -> JudgeExample:
    form = FORMS[kind].format(question="…", answer="…")
    expected = json.dumps({"prompt": form, "completion": YES}, ensure_ascii=False)
    try:
        content: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not JSON ({error}): expected a line like {expected}", path=path, line=number
        ) from None

    def refusal(message: str, column: str) -> DataError:
        return DataError(f"{message}; expected a line like {expected}", path=path, line=number, column=column)

    content = content if isinstance(content, dict) else {}
    prompt, completion = content.get("prompt"), content.get("completion")
    if not isinstance(prompt, str):
        raise refusal(f"found {prompt!r}", "prompt")
    if completion not in (YES, NO):
        raise refusal(f"found {completion!r}, which is neither ' yes' nor ' no'", "completion")
    begin, middle, end = "Q: ", "\nA: ", FORMS[kind].rpartition("}")[2]
    if not (prompt.startswith(begin) and prompt.endswith(end) and middle in prompt[: -len(end)]):
        raise refusal(f"found {prompt[:60]!r} … {prompt[-20:]!r}", "prompt")
    question, _, answer = prompt[len(begin) : -len(end)].partition(middle)
    return JudgeExample(prompt, question, answer, completion == YES)


def split_by_question(examples: Sequence[JudgeExample], *, held_out: float, seed: int) -> Split:
    """Hold a share of the questions out, with every answer to them.

    Which ones depends on the seed and the question alone: the truth and the info data come apart alike, and
    a file in another order too. Case, spaces and a question mark make no other question.

    Raises:
        DataError: too few questions to have some on both sides.
    """
    order = sorted({_same(example.question) for example in examples}, key=lambda q: _drawn(q, seed))
    count = round(held_out * len(order))
    if not 0 < count < len(order):
        raise DataError(
            f"a held-out share of {held_out:g} of {len(order)} questions leaves one side empty: expected"
            " questions on both; change --held-out or give more data"
        )
    kept = set(order[:count])
    sides: tuple[list[JudgeExample], list[JudgeExample]] = ([], [])
    for example in examples:
        sides[_same(example.question) in kept].append(example)
    return Split(tuple(sides[0]), tuple(sides[1]))


def sampled(examples: Sequence[JudgeExample], most: int | None, *, seed: int) -> tuple[JudgeExample, ...]:
    """At most so many of them, drawn at random, in their order."""
    if most is None or most >= len(examples):
        return tuple(examples)
    places = random.Random(seed).sample(range(len(examples)), most)
    return tuple(examples[at] for at in sorted(places))


def questions_of(examples: Sequence[JudgeExample]) -> list[str]:
    """Each example's question, in the form in which two are the same."""
    return [_same(example.question) for example in examples]


def digest_of(examples: Sequence[JudgeExample]) -> str:
    """SHA-256 of examples in order."""
    lines = (json.dumps([example.prompt, example.yes]) for example in examples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _same(question: str) -> str:
    return " ".join(question.casefold().split()).rstrip(" ?.!")


def _drawn(question: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{question}".encode("utf-8", "surrogatepass")).digest()
