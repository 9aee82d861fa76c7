"""The likeness of a result's answers to the reference answers, each strategy compared with the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dola.judges.chat_truth import References
from dola.judges.similarity import METRICS, likeness_of, similarity
from dola.runs.answers import Answers
from dola.runs.measured import Measured, MeasuredRow
from dola.runs.results import KEY, row_json
from dola.runs.summary import Summary, summarise

FORMAT = 1
_BINARY = tuple(metric for metric in METRICS if metric.endswith("_acc"))


def measure_similarity(
    answers: Answers,
    references: Mapping[str, References],
    *,
    seed: int,
    on_answer: Callable[[], None] = lambda: None,
) -> Summary:
    """All figures with their intervals.

    Raises:
        MissingExtraError: rouge-score or sacrebleu is not installed.
    """
    likeness = likeness_of()
    known: dict[tuple[str, str], dict[str, float]] = {}
    rows = []
    for at, (label, completions) in enumerate(zip(answers.labels, answers.completions, strict=True)):
        found = []
        for question, answer in zip(answers.questions, completions, strict=True):
            if (question, answer) not in known:
                own = references[question.strip()]
                known[question, answer] = similarity(answer, own.correct, own.incorrect, likeness)
            found.append(known[question, answer])
            on_answer()
        columns = {metric: [one[metric] for one in found] for metric in METRICS}
        rows.append(
            MeasuredRow(label, "strategy", answers.strategies[at], per_token=False, per_example=columns)
        )
    measured = Measured(METRICS, _BINARY, tuple(rows), layers=(), examples=(), counts={})
    return summarise(measured, seed=seed)


def similarity_json(summary: Summary) -> dict[str, Any]:
    """The figures as a file of their own."""
    ours = {
        "format": FORMAT,
        "kind": "similarity",
        "metrics": list(METRICS),
        "binary": list(_BINARY),
        "findings": list(summary.findings),
        "rows": [row_json(row) for row in summary.rows],
    }
    return {KEY: ours}
