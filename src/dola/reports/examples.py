"""What changed against the first strategy: by category, and example by example."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dola.reports.reading import metrics_of, place_of, strategy_rows
from dola.result import Result, Row, ScoredExample

# Of a long prompt, what a summary line shows: its end, where the answers go on.
_SHOWN = 160


@dataclass(frozen=True)
class AnswerView:
    """One answer: its scores under the first strategy and under this one. The highest of each is marked."""

    label: str
    text: str
    tokens: int
    first: str
    ours: str
    first_highest: bool
    ours_highest: bool


@dataclass(frozen=True)
class ChangedExample:
    """An example that a strategy fixed (or broke: `fixed` is false)."""

    index: int
    strategy: str
    fixed: bool
    summary: str
    question: str
    group: str
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True)
class GroupRow:
    """A category's means, `[metric][strategy]` in percent."""

    name: str
    count: int
    means: dict[str, tuple[float, ...]]


def changed_examples(result: Result) -> list[ChangedExample]:
    """The examples whose first 0-or-1 metric a strategy changed, in the data's order."""
    if not result.binary:
        return []
    metric, rows = result.binary[0], strategy_rows(result)
    found = []
    for row in rows[1:]:
        pairs = zip(row.per_example[metric], rows[0].per_example[metric], strict=True)
        for example, (now, before) in zip(result.scored, pairs, strict=True):
            if now != before:
                found.append(_changed(example, row, rows[0], fixed=(now or 0) > (before or 0)))
    return found


def groups(result: Result) -> list[GroupRow]:
    """The categories, the largest first; none where the data has no categories, or nothing is measured."""
    metrics = [metric for metric in metrics_of(result) if metric in result.rows[0].per_example]
    members: dict[str, list[int]] = defaultdict(list)
    for at, example in enumerate(result.examples):
        if example.group:
            members[example.group].append(at)
    rows = strategy_rows(result)
    found = [
        GroupRow(
            name,
            len(places),
            {
                metric: tuple(
                    100 * sum(row.per_example[metric][at] or 0.0 for at in places) / len(places)
                    for row in rows
                )
                for metric in metrics
            },
        )
        for name, places in members.items()
        if metrics
    ]
    return sorted(found, key=lambda group: (-group.count, group.name))


def _changed(example: ScoredExample, row: Row, first: Row, *, fixed: bool) -> ChangedExample:
    scores, before = (example.scores[place_of(each)] for each in (row, first))
    question = example.question
    return ChangedExample(
        index=example.index,
        strategy=row.label,
        fixed=fixed,
        summary=question if len(question) <= _SHOWN else f"…{question[-_SHOWN:].lstrip()}",
        question=question if len(question) > _SHOWN else "",
        group=example.group or "",
        answers=tuple(
            AnswerView(
                answer.label,
                answer.text,
                answer.tokens,
                _score(before[at]),
                _score(scores[at]),
                before[at] is not None and before[at] == _highest(before),
                scores[at] is not None and scores[at] == _highest(scores),
            )
            for at, answer in enumerate(example.answers)
        ),
    )


def _highest(scores: Sequence[float | None]) -> float | None:
    return max((score for score in scores if score is not None), default=None)


def _score(score: float | None) -> str:
    return "−∞" if score is None else f"{score:.2f}".replace("-", "−")
