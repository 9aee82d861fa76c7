"""GSM8K: word problems of a few steps, answered by a number.

One line of `gsm8k_test.jsonl` (made up):

    {"question": "Ann has 2 boxes of 6 eggs. She eats 3. How many are left?",
     "answer": "Ann had 2 * 6 = <<2*6=12>>12 eggs.\\n12 - 3 = <<12-3=9>>9 are left.\\n#### 9"}

The model goes on from eight worked examples (Wei et al. 2022) and the question. Two rules say which number
its text answers with (`gsm8k_answer`), and so there are two figures: `accuracy` compares values by the
corrected rule, `accuracy_released` texts by the released one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from dola.errors import DolaError
from dola.tasks.base import Dataset, Extraction, Judged
from dola.tasks.benchmark import Asked, Benchmark
from dola.tasks.fetch import fetch
from dola.tasks.gsm8k_answer import answer, gold_value, released_answer, released_gold
from dola.tasks.json_records import Record, Records, read_json_lines
from dola.tasks.numbers import plain
from dola.tasks.presets import PRESETS
from dola.tasks.prompts import Demonstrations, few_shot_prompt, load_demonstrations, shuffled
from dola.tasks.released_text import input_texts
from dola.tasks.sources import GSM8K
from dola.tasks.stops import STOPS, released_raw
from dola.tasks.text_files import file_in

CONCLUSION = "The answer is"
INVALID = "[invalid]"

# Which file each version is a part of.
VERSIONS = {"test": "test", "train": "train", "validation": "train"}

# The paper chose its layers on a random 10% of the training file (about 747 of 7,473 rows). Which rows is not
# known to us, so this is a sample of our own: large enough for an interval of about +-3 points.
VALIDATION_SIZE = 1000
VALIDATION_SEED = 42


@dataclass(frozen=True)
class Example:
    """A problem; `solution` is the file's `answer`, with its steps; `value` the number that it ends with."""

    index: int
    question: str
    solution: str
    value: Decimal


@dataclass(frozen=True)
class Gsm8k:
    """The task `gsm8k`. Versions of the data: `test` (1,319 examples, the default), `train` (7,473) and
    `validation` (1,000 of those, drawn with a fixed seed, for choosing layers).

    Attributes:
        shuffle_seed: the demonstrations are shuffled for every example and attempt (`--do_shuffle`, which in
            the released script has no seed); None: they are not.
        extraction: which rule, and which text of the completion, the released schema is filled by.
        version: of the stops. 1: a completion ended at "Q:" wherever it stood.
    """

    demonstrations: Demonstrations
    shuffle_seed: int | None = None
    extraction: Extraction = "own"

    name = "gsm8k"
    version = 2
    metrics = ("accuracy", "accuracy_released")
    binary_metrics = frozenset(metrics)
    stop = STOPS["gsm8k"]
    chat = False

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[Example]:
        """Read and check a GSM8K file: a file, a folder that holds it, or None to fetch the pinned one.

        A file given with the version `validation` is sampled as the training file is, unless it has no more
        rows than the sample.

        Raises:
            DataError: malformed data, or a failed download.
            DolaError: no such version.
        """
        wanted = "test" if version is None else version
        if wanted not in VERSIONS:
            raise DolaError(f"GSM8K has no data version {version!r}; there are: {', '.join(VERSIONS)}")
        part = VERSIONS[wanted]
        path = (
            fetch(GSM8K[part], option="--data-path")
            if data_path is None
            else file_in(data_path, (f"gsm8k_{part}.jsonl", f"{part}.jsonl"))
        )
        found = read_json_lines(path)
        examples = tuple(_example(index, record) for index, record in enumerate(found.records))
        source = _source(found)
        if wanted == "validation" and len(examples) > VALIDATION_SIZE:
            examples = tuple(examples[at] for at in sampled_rows(len(examples)))
            source = (
                f"{source}: {VALIDATION_SIZE:,} rows drawn with seed {VALIDATION_SEED}, not the paper's own"
            )
        return Dataset(examples, found.sha256, source, path)

    def prompt(self, example: Example, *, attempt: int = 0) -> str:
        demonstrations = self.demonstrations
        if self.shuffle_seed is not None:
            demonstrations = shuffled(demonstrations, f"{self.shuffle_seed}:{example.index}:{attempt}")
        return few_shot_prompt(demonstrations, example.question, conclusion=CONCLUSION)

    def completion(self, raw: str, text: str) -> str:
        """The text before the stop text; as released, with that and with the blanks around."""
        return released_raw(self.name, raw, text) if self.extraction == "released" else text.strip()

    def judge(self, example: Example, raw: str, text: str) -> Judged:
        """By the corrected rule, on the text before the stop text, two numbers are compared; by the released
        one, on all that its script would have decoded, two texts. The released script never tries again."""
        own, released = answer(text), released_answer(released_raw(self.name, raw, text))
        return Judged(
            answer=own,
            released=released,
            measures={
                "accuracy": float(own == plain(example.value)),
                "accuracy_released": float(released == released_gold(example.solution)),
            },
            retry=False,
        )

    def describe(self, example: Example) -> dict[str, Any]:
        return {"question": example.question, "reference": plain(example.value), "group": None}

    def released_json(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        judged: Sequence[Judged],
        *,
        attempts: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """The released script's output, and after it the accuracy by both rules."""
        by_released = self.extraction == "released"
        metric = "accuracy_released" if by_released else "accuracy"
        answers = [one.released if by_released else one.answer for one in judged]
        return {
            "is_correct": [bool(one.measures[metric]) for one in judged],
            "model_answer": [INVALID if each is None else each for each in answers],
            "model_completion": list(completions),
            "full_input_text": input_texts(self, examples, attempts),
        }


def sampled_rows(rows: int) -> list[int]:
    """The rows of the version `validation`, in the file's order.

    By `random()` alone: of the standard library's generator only that is promised to stay the same.
    """
    generator = random.Random(VALIDATION_SEED)
    draws = [generator.random() for _ in range(rows)]
    return sorted(sorted(range(rows), key=draws.__getitem__)[:VALIDATION_SIZE])


def _source(found: Records) -> str:
    known = next((pinned.title for pinned in GSM8K.values() if pinned.sha256 == found.sha256), None)
    return known or f"{found.path.name}: {len(found.records)} rows, none of the pinned files"


def _example(index: int, record: Record) -> Example:
    question, solution = record.text("question"), record.text("answer")
    value = gold_value(solution)
    if value is None:
        found = solution.rpartition("####")[2].strip()[:40]
        raise record.error(
            "answer", f"expected a solution that ends with '#### ' and a number alone, once; found {found!r}"
        )
    return Example(index, question, solution, value)


def _made(asked: Asked) -> Gsm8k:
    return Gsm8k(load_demonstrations("gsm8k", asked.prompts), asked.shuffle_seed, asked.extraction)


BENCHMARK = Benchmark(
    name="gsm8k",
    title="GSM8K",
    summary="GSM8K: word problems, eight worked examples before each, accuracy of the number at the end.",
    preset=PRESETS["gsm8k"],
    generates=True,
    make=_made,
    takes=("prompts", "retry", "do_shuffle", "extraction"),
    shown=("extraction",),
)
