"""StrategyQA: yes-or-no questions that take a few steps nobody spells out.

One entry of `strategyqa_train.json` (made up; the facts and the decomposition are not used):

    {"qid": "0f", "term": "Snowman", "question": "Would a snowman last in the Sahara?", "answer": false}

The model goes on from six worked examples (Wei et al. 2022) and the question. Two rules say whether its text
says yes or no (`strqa_answer`), and so there are two figures: `accuracy` by the corrected rule, for which a
text without an answer is wrong, and `accuracy_released` by the released one, which guesses then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import DolaError
from dola.tasks.base import Dataset, Extraction, Judged
from dola.tasks.benchmark import Asked, Benchmark
from dola.tasks.fetch import fetch
from dola.tasks.json_records import Record, read_json_list
from dola.tasks.presets import PRESETS
from dola.tasks.prompts import Demonstrations, few_shot_prompt, load_demonstrations, shuffled
from dola.tasks.released_text import input_texts, without_stop_words
from dola.tasks.sources import STRATEGYQA
from dola.tasks.stops import STOPS
from dola.tasks.strqa_answer import answer, released_answer, released_guess
from dola.tasks.text_files import file_in

CONCLUSION = "So the answer is"
FILE = "strategyqa_train.json"

TITLE = "StrategyQA, the training file of 2,290 questions"
# Of its ids, questions and answers in order, whatever file or files they came in.
CONTENT_SHA256 = "d2e0776b8a6975235a4c7bd96b8a8bed676117f422a7cc7da1738a6fdf933833"


@dataclass(frozen=True)
class Example:
    index: int
    qid: str | None
    question: str
    answer: bool


@dataclass(frozen=True)
class StrategyQA:
    """The task `strqa`. The data: 2,290 questions, in one version.

    Attributes:
        shuffle_seed: the demonstrations are shuffled for every example and attempt (`--do_shuffle`); None:
            they are not.
        extraction: which rule, and which text of the completion, the released schema is filled by.
        version: of the stops. 1: a completion ended at "Q:" wherever it stood, and at any heading.
    """

    demonstrations: Demonstrations
    shuffle_seed: int | None = None
    extraction: Extraction = "own"

    name = "strqa"
    version = 2
    metrics = ("accuracy", "accuracy_released")
    binary_metrics = frozenset(metrics)
    stop = STOPS["strqa"]
    chat = False

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[Example]:
        """Read and check the questions: a file, a folder that holds it, or None to fetch the pinned ones.

        In a folder: `strategyqa_train.json`, or the two files that it was parted into upstream, `train.json`
        and `dev.json`, which are read one after the other.

        Raises:
            DataError: malformed data, or a failed download.
            DolaError: a version is asked for; there is but one.
        """
        if version is not None:
            raise DolaError(f"StrategyQA has no data version {version!r}: there is but one, so say none")
        files = [read_json_list(path) for path in _paths(data_path)]
        records = [record for file in files for record in file.records]
        examples = tuple(_example(index, record) for index, record in enumerate(records))
        one = files[0]
        if len(files) == 1:
            return Dataset(examples, one.sha256, _source(examples, one.path.name), one.path)
        # Of both: it changes when either does.
        sha256 = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
        names = " + ".join(file.path.name for file in files)
        return Dataset(examples, sha256, _source(examples, names), one.path.parent)

    def prompt(self, example: Example, *, attempt: int = 0) -> str:
        demonstrations = self.demonstrations
        if self.shuffle_seed is not None:
            demonstrations = shuffled(demonstrations, f"{self.shuffle_seed}:{example.index}:{attempt}")
        return few_shot_prompt(demonstrations, example.question, conclusion=CONCLUSION)

    def completion(self, raw: str, text: str) -> str:
        """The text before the stop text; as released, without a stop text at its very end."""
        return without_stop_words(self.name, raw, text) if self.extraction == "released" else text.strip()

    def judge(self, example: Example, raw: str, text: str) -> Judged:
        """`released` is the guess where that rule found no answer, which is when `retry` is true: the script
        guesses on its last attempt only."""
        completion = without_stop_words(self.name, raw, text)
        found = released_answer(completion)
        released = released_guess(completion) if found is None else found
        own = answer(text)
        return Judged(
            answer=own,
            released=released,
            measures={
                "accuracy": float(own == example.answer),
                "accuracy_released": float(released == example.answer),
            },
            retry=found is None,
        )

    def describe(self, example: Example) -> dict[str, Any]:
        return {
            "question": example.question,
            "reference": "yes" if example.answer else "no",
            "group": None,
        }

    def released_json(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        judged: Sequence[Judged],
        *,
        attempts: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """The released script's output. By the corrected rule `model_answer` is null where there is none."""
        by_released = self.extraction == "released"
        metric = "accuracy_released" if by_released else "accuracy"
        return {
            "is_correct": [bool(one.measures[metric]) for one in judged],
            "model_answer": [one.released if by_released else one.answer for one in judged],
            "model_completion": list(completions),
            "full_input_text": input_texts(self, examples, attempts),
        }


def content_sha256(examples: Sequence[Example]) -> str:
    """Of the questions and their answers, whatever file and form they came in."""
    content = [[example.qid, example.question, example.answer] for example in examples]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _paths(data_path: Path | None) -> list[Path]:
    if data_path is None:
        return [fetch(pinned, option="--data-path") for pinned in STRATEGYQA]
    parts = [data_path / Path(pinned.name).name for pinned in STRATEGYQA]
    if not (data_path / FILE).is_file() and all(part.is_file() for part in parts):
        return parts
    return [file_in(data_path, (FILE,))]


def _source(examples: Sequence[Example], name: str) -> str:
    if content_sha256(examples) == CONTENT_SHA256:
        return TITLE
    return f"{name}: {len(examples)} questions, not those of the paper"


def _example(index: int, record: Record) -> Example:
    qid = record.fields.get("qid")
    truth: bool = record.value("answer", bool, "true or false, without quotes")
    return Example(index, qid if isinstance(qid, str) else None, record.text("question"), truth)


def _made(asked: Asked) -> StrategyQA:
    return StrategyQA(load_demonstrations("strqa", asked.prompts), asked.shuffle_seed, asked.extraction)


BENCHMARK = Benchmark(
    name="strqa",
    title="StrategyQA",
    summary="StrategyQA: yes or no in a few steps, six worked examples before each.",
    preset=PRESETS["strqa"],
    generates=True,
    make=_made,
    takes=("prompts", "retry", "do_shuffle", "extraction"),
    shown=("extraction",),
    retries=True,
)
