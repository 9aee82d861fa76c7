"""The examples of a generation run: each with what every strategy wrote, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dola.reports.reading import changing_metric, place_of, reads_answers, strategy_rows
from dola.result import Completion, Result, Row

_STATES = {1: "fixed", 0: "same", -1: "broken"}
_JUDGES = {"truth": "true", "info": "informative"}


@dataclass(frozen=True)
class Verdict:
    """What a judge said: its probability of yes, and whether that is a yes; empty where it said neither."""

    name: str
    probability: str
    yes: bool


@dataclass(frozen=True)
class CompletionView:
    """What one strategy wrote.

    Attributes:
        state: against the first strategy: `fixed`, `broken`, `same` (as right or as wrong), `differs`
            (another text, where nothing says which is right); empty for the first strategy.
        right: whether it counts as right; None where nothing says so.
        answer: what the corrected rule reads out of it; None where the task reads nothing out.
        released: what the released rule reads, where that is something else; else empty.
    """

    strategy: str
    state: str
    right: bool | None
    answer: str | None
    released: str
    text: str
    tokens: int
    cut: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class ExampleView:
    """A question and its completions, in the strategies' order; `reference` is empty where there is none."""

    index: int
    question: str
    reference: str
    group: str
    completions: tuple[CompletionView, ...]

    @property
    def states(self) -> list[str]:
        """As the page's filter reads them: `1:fixed`, by the place of the strategy."""
        return [f"{at}:{each.state}" for at, each in enumerate(self.completions) if each.state]

    @property
    def badges(self) -> list[str]:
        """How it differs from the first strategy, if it does."""
        shown = ("fixed", "broken", "differs")
        return [state for state in shown if any(each.state == state for each in self.completions)]


def examples(result: Result) -> list[ExampleView]:
    """Every example of a generation run, in the data's order."""
    rows, metric = strategy_rows(result), changing_metric(result)
    found = []
    for at, example in enumerate(result.generated):
        made = [example.completions[place_of(row)] for row in rows]
        counts = [row.per_example[metric][at] if metric else None for row in rows]
        views = tuple(
            _view(result, row, one, count, first=None if place == 0 else (made[0], counts[0]))
            for place, (row, one, count) in enumerate(zip(rows, made, counts, strict=True))
        )
        reference = example.reference
        found.append(
            ExampleView(
                example.index,
                example.question,
                "" if reference is None else _read(reference),
                example.group or "",
                views,
            )
        )
    return found


def _view(
    result: Result,
    row: Row,
    made: Completion,
    count: float | None,
    *,
    first: tuple[Completion, float | None] | None,
) -> CompletionView:
    reads = reads_answers(result)
    answer, released = _read(made.answer), _read(made.answer_released)
    return CompletionView(
        strategy=row.label,
        state=_state(made, count, *first) if first else "",
        right=None if count is None else bool(count),
        answer=answer if reads else None,
        released=released if reads and released != answer else "",
        text=made.text.strip(),
        tokens=made.tokens,
        cut=made.finish_reason == "length",
        verdicts=tuple(_verdicts(made.verdicts or {})),
    )


def _state(made: Completion, count: float | None, first: Completion, first_count: float | None) -> str:
    if count is None or first_count is None:
        return "same" if made.text == first.text else "differs"
    return _STATES[(count > first_count) - (count < first_count)]


def _verdicts(found: Mapping[str, float | None]) -> list[Verdict]:
    return [
        Verdict(name, "–" if found[key] is None else f"{found[key]:.2f}", (found[key] or 0.0) >= 0.5)
        for key, name in _JUDGES.items()
        if key in found
    ]


def _read(answer: object) -> str:
    """An answer as the page shows it: StrategyQA's are true or false."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return "none found" if answer is None else str(answer)
