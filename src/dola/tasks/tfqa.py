"""TruthfulQA, open-ended: what does the model answer, and is it true? The second is a judge's to say.

The questions and the prompt are those of the multiple-choice task (`tfqa_mc`), and the best reference answer
is kept beside each completion for the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dola.tasks.base import Dataset, Judged
from dola.tasks.benchmark import Asked, Benchmark
from dola.tasks.csv_rows import Row
from dola.tasks.presets import PRESETS
from dola.tasks.prompts import Demonstrations, few_shot_prompt, load_demonstrations
from dola.tasks.released_text import without_stop_words
from dola.tasks.stops import STOPS
from dola.tasks.truthfulqa import read_truthfulqa


@dataclass(frozen=True)
class Example:
    """A question; `best` is its best reference answer, which nothing is measured by."""

    index: int
    category: str | None
    question: str
    best: str


@dataclass(frozen=True)
class TfqaOpen:
    """The task `tfqa`. Versions of the data: `paper` (817 questions, the default) and `2025` (790).

    Attributes:
        version: of the stops. 1: a completion ended at "Q:" wherever it stood.
    """

    demonstrations: Demonstrations

    name = "tfqa"
    version = 2
    metrics: ClassVar[tuple[str, ...]] = ()
    binary_metrics: ClassVar[frozenset[str]] = frozenset()
    stop = STOPS["tfqa"]
    chat = False

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[Example]:
        """Read and check `TruthfulQA.csv`: a file, a folder that holds it, or None to fetch the pinned one.

        Raises:
            DataError: malformed data, or a file of the other version.
        """
        table, source = read_truthfulqa(data_path, version=version)
        examples = tuple(_example(index, row) for index, row in enumerate(table.rows))
        return Dataset(examples, table.sha256, source, table.path)

    def prompt(self, example: Example, *, attempt: int = 0) -> str:  # noqa: ARG002 (nothing is shuffled)
        return few_shot_prompt(self.demonstrations, example.question)

    def completion(self, raw: str, text: str) -> str:  # noqa: ARG002 (what stands after the stop text is not kept)
        """The text before the stop text."""
        return text.strip()

    def judge(self, example: Example, raw: str, text: str) -> Judged:  # noqa: ARG002 (the judges know the question)
        """`answer` is the completion; `released` what the script keeps, where a stop text that does not end
        the raw one is left in."""
        return Judged(
            answer=text.strip(),
            released=without_stop_words(self.name, raw, text),
            measures={},
            retry=False,
        )

    def describe(self, example: Example) -> dict[str, Any]:
        return {"question": example.question, "reference": example.best, "group": example.category}

    def released_json(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        judged: Sequence[Judged],  # noqa: ARG002 (no judge has been asked yet)
        *,
        attempts: Sequence[int] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The released script's output, which its rating reads."""
        return {
            "question": [example.question for example in examples],
            "model_completion": list(completions),
        }


def _example(index: int, row: Row) -> Example:
    question, best = row.text("Question"), row.text("Best Answer").strip()
    return Example(index, row.cells.get("Category"), question, best)


def _made(asked: Asked) -> TfqaOpen:
    return TfqaOpen(load_demonstrations("tfqa", asked.prompts))


BENCHMARK = Benchmark(
    name="tfqa",
    title="TruthfulQA, open-ended",
    summary="TruthfulQA, open-ended: the answers alone; judges say which are true and informative.",
    preset=PRESETS["tfqa"],
    generates=True,
    make=_made,
    takes=("prompts",),
)
