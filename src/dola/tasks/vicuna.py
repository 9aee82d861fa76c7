"""The Vicuna questions: eighty open questions in nine categories, whose answers are compared in pairs.

One line of the question file, in the form of the paper's time and in FastChat's present one (made up):

    {"question_id": 7, "category": "writing", "text": "Write a poem about rain."}
    {"question_id": 7, "category": "writing", "turns": ["Write a poem about rain."]}

The question goes to the model through its own chat template, or in one of the released script's conversation
templates (`conversation`). Which of two answers is better is a judge's to say.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from dola.errors import DolaError
from dola.tasks.base import Dataset, Judged, Stop
from dola.tasks.benchmark import Asked, Benchmark
from dola.tasks.conversation import conversation_for
from dola.tasks.fetch import fetch
from dola.tasks.json_records import Record, Records, read_json_lines
from dola.tasks.presets import PRESETS
from dola.tasks.released_text import without_stop_words
from dola.tasks.sources import VICUNA
from dola.tasks.stops import STOPS
from dola.tasks.text_files import file_in, unfit

_FILE_NAMES = {"text": ("table_question.jsonl", "question.jsonl"), "turns": ("question.jsonl",)}
# Names an answer by what it is, so that a resumed run gives it the name that it has already.
_ANSWER_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/lm-sys/FastChat")


class Template(Protocol):
    """Puts a question into a conversation, as text: `conversation.Conversation` is one."""

    def prompt(self, question: str) -> str: ...


@dataclass(frozen=True)
class Example:
    """A question; `question_id` as the file has it, a number or a text."""

    index: int
    question_id: int | str
    category: str | None
    question: str


@dataclass(frozen=True)
class Vicuna:
    """The task `vicuna`. Versions of the data: `text` (the paper's file, the default) and `turns`: the same
    questions in two forms. A file of the user's own may be in either.

    Attributes:
        model_id: under which name the answers are written (`--model-id`).
        template: what the question is put into; None for the model's own chat template.
    """

    model_id: str
    template: Template | None = None

    name = "vicuna"
    metrics: ClassVar[tuple[str, ...]] = ()
    binary_metrics: ClassVar[frozenset[str]] = frozenset()

    @property
    def version(self) -> int:
        """Of the stops. 1: an answer ended at "### Human:", quoted or not. In the model's own chat template
        nothing ever ended one, and records of before are gone on with."""
        return 1 if self.template is None else 2

    @property
    def chat(self) -> bool:
        return self.template is None

    @property
    def stop(self) -> tuple[Stop, ...]:
        """Where the released script's turn of the user begins, whatever its template. A chat template has the
        model's own end of a turn, and an answer in it may well quote the other."""
        return () if self.template is None else STOPS["vicuna"]

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[Example]:
        """Read and check a question file (`--question-file`): a file, a folder that holds it, or None to
        fetch the pinned one.

        Raises:
            DataError: malformed data, or a failed download.
            DolaError: no such version.
        """
        wanted = "text" if version is None else version
        if wanted not in VICUNA:
            raise DolaError(f"the Vicuna questions have no data version {version!r}; there are: text, turns")
        path = (
            fetch(VICUNA[wanted], option="--question-file")
            if data_path is None
            else file_in(data_path, _FILE_NAMES[wanted], option="--question-file")
        )
        found = read_json_lines(path)
        examples = tuple(_example(index, record) for index, record in enumerate(found.records))
        _refuse_doubles(examples, found)
        return Dataset(examples, found.sha256, _source(found), path)

    def prompt(self, example: Example, *, attempt: int = 0) -> str:  # noqa: ARG002 (nothing is shuffled)
        """In the template; without one, what the user says."""
        return example.question if self.template is None else self.template.prompt(example.question)

    def completion(self, raw: str, text: str) -> str:  # noqa: ARG002 (what stands after the stop text is not kept)
        """The text before the stop text."""
        return text.strip()

    def judge(self, example: Example, raw: str, text: str) -> Judged:  # noqa: ARG002 (judges compare two)
        return Judged(
            answer=text.strip(),
            released=raw.strip() if self.template is None else without_stop_words(self.name, raw, text),
            measures={},
            retry=False,
        )

    def describe(self, example: Example) -> dict[str, Any]:
        return {"question": example.question, "reference": None, "group": example.category}

    def released_json(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        judged: Sequence[Judged],  # noqa: ARG002 (the text is what is written)
        *,
        attempts: Sequence[int] | None = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """The lines of the released answer file."""
        return [
            {
                "question_id": example.question_id,
                "text": completion,
                "answer_id": self._answer_id(example, completion),
                "model_id": self.model_id,
                "metadata": {},
            }
            for example, completion in zip(examples, completions, strict=True)
        ]

    def _answer_id(self, example: Example, completion: str) -> str:
        return uuid.uuid5(_ANSWER_IDS, json.dumps([self.model_id, example.question_id, completion])).hex


def _source(found: Records) -> str:
    known = next((pinned.title for pinned in VICUNA.values() if pinned.sha256 == found.sha256), None)
    return known or f"{found.path.name}: {len(found.records)} questions, none of the pinned files"


def _example(index: int, record: Record) -> Example:
    question_id: int | str = record.value("question_id", (int, str), "a number or a text")
    category = record.text("category") if "category" in record.fields else None
    return Example(index, question_id, category, _question(record))


def _question(record: Record) -> str:
    if "turns" not in record.fields:
        if "text" not in record.fields:
            raise record.error(
                "text", "there is neither 'text' nor 'turns': expected the question in one of them"
            )
        return record.text("text")
    turns = record.value("turns", list, "a list of one text")
    if len(turns) != 1 or not isinstance(turns[0], str) or not turns[0].strip():
        raise record.error(
            "turns", f"expected a list of one text, since one answer is asked for, found {len(turns)} of them"
        )
    wrong = unfit(turns[0])
    if wrong:
        raise record.error("turns", wrong)
    return turns[0]


def _refuse_doubles(examples: Sequence[Example], found: Records) -> None:
    """The answers are paired by the question's id."""
    seen: dict[int | str, int | None] = {}
    for example, record in zip(examples, found.records, strict=True):
        if example.question_id in seen:
            raise record.error(
                "question_id", f"{example.question_id!r} is on line {seen[example.question_id]} already"
            )
        seen[example.question_id] = record.line


def suffix_of(place: int, label: str) -> str:
    """What a strategy's answer file and model id end with; nothing for the first, as released."""
    return f"_{re.sub(r'[^A-Za-z0-9.=-]+', '-', label).rstrip('-')}" if place else ""


def _made(asked: Asked) -> Vicuna:
    # A folder's name is enough to tell models apart, and its path is nobody else's business.
    model_id = asked.model_id or Path(asked.model).name or asked.model
    template = conversation_for(model_id, asked.prompts) if asked.template == "released" else None
    return Vicuna(model_id, template)


def _written_as(task: Vicuna, place: int, label: str) -> Vicuna:
    return replace(task, model_id=task.model_id + suffix_of(place, label))


BENCHMARK = Benchmark(
    name="vicuna",
    title="Vicuna QA",
    summary="Vicuna QA: eighty open questions, sampled answers. `dola judge pairwise` compares answer files.",
    preset=PRESETS["vicuna"],
    generates=True,
    make=_made,
    takes=("prompts", "model_id", "template"),
    shown=("template",),
    shards=False,
    writer=_written_as,
)
