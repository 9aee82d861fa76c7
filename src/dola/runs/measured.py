"""From records to the figures of every example: the rows of a table before any mean is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dola.result.cycles import no_search_for_cycles
from dola.runs.completions import GenerationRecord
from dola.runs.layer_counts import added_layers
from dola.runs.plan import Plan
from dola.runs.records import Record
from dola.runs.variants import Lineup, Row
from dola.tasks.base import per_token
from dola.tasks.controls import controls

Columns = dict[str, list[float]]


@dataclass(frozen=True)
class MeasuredRow:
    """One row of the table, example by example.

    Attributes:
        kind: `strategy`, `variant` or `control`.
        strategy: its place among those scored; None for a control.
        per_example: each metric's values, in the examples' order.
        spread: of the random control, the standard deviation of each metric's mean from draw to draw, to
            twelve digits: what shards come to together is what the run in one go does.
    """

    label: str
    kind: str
    strategy: int | None
    per_token: bool
    per_example: Columns
    spread: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Speed:
    """How much a strategy generated, and how fast.

    Attributes:
        timed: those of the tokens whose time is known, and `seconds` that time.
    """

    tokens: int
    timed: int
    seconds: float

    @property
    def tokens_per_second(self) -> float | None:
        return self.timed / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class Measured:
    """A run's figures, and the examples that they are of.

    Attributes:
        binary: the metrics that are 0 or 1 for every example.
        layers: of each strategy scored, tokens by premature layer; None where nothing is contrasted.
        examples: as the task describes them, each answer with its `tokens`; and `scores[strategy][answer]`.
        counts: answers whose prompt's tokens are no prefix, examples cut on the left, and the like; where any
            were, also how many candidates were `left_out` of the choice of a layer.
        speeds: of each strategy, where strategies generate; empty where they score.
    """

    metrics: tuple[str, ...]
    binary: tuple[str, ...]
    rows: tuple[MeasuredRow, ...]
    layers: tuple[dict[str, int] | None, ...]
    examples: tuple[dict[str, Any], ...]
    counts: dict[str, int]
    speeds: tuple[Speed, ...] = ()

    @property
    def kind(self) -> Literal["scoring", "generation"]:
        return "generation" if self.speeds else "scoring"


@no_search_for_cycles()
def measure(plan: Plan, lineup: Lineup, records: Mapping[int, Record], *, seed: int) -> Measured:
    """Measure every row of the line-up, and the controls, on the plan's examples. All must have a record."""
    made = [records[example.index] for example in plan.examples]
    rows = [_measured_row(plan, row, made) for row in lineup.rows]
    drawn = controls(plan.task, plan.examples, [record.tokens for record in made], seed=seed)
    rows += [
        MeasuredRow(
            label=f"control: {control.name}",
            kind="control",
            strategy=None,
            per_token=False,
            per_example=_columns(plan.task.metrics, control.per_example),
            spread=to_twelve_digits(
                {key: value for key, value in control.spread.items() if key in plan.task.metrics}
            ),
        )
        for control in drawn
    ]
    return Measured(
        metrics=plan.task.metrics,
        binary=tuple(metric for metric in plan.task.metrics if metric in plan.task.binary_metrics),
        rows=tuple(rows),
        layers=tuple(added_layers(record.layers[at] for record in made) for at in range(len(lineup.scored))),
        examples=tuple(_described(plan, *pair) for pair in zip(plan.examples, made, strict=True)),
        counts={
            "examples": len(made),
            "answers": sum(len(record.tokens) for record in made),
            "prompt_not_prefix": sum(not is_prefix for record in made for is_prefix in record.prefix),
            "truncated": sum(record.truncated > 0 for record in made),
            **left_out_of(made),
        },
    )


def to_twelve_digits(spread: Mapping[str, float]) -> dict[str, float]:
    """Without the digits in which the order of a sum shows."""
    return {key: float(f"{value:.12g}") for key, value in spread.items()}


def left_out_of(records: Sequence[Record | GenerationRecord]) -> dict[str, int]:
    """How many candidates were left out of the choice of a layer, where any were."""
    left_out = sum(record.left_out for record in records)
    return {"left_out": left_out} if left_out else {}


def scores_of(row: Row, record: Record) -> Sequence[float]:
    """The answers' scores as the row adds them up."""
    sums = record.scores[row.strategy]
    return per_token(sums, record.tokens) if row.per_token else sums


def _measured_row(plan: Plan, row: Row, records: Sequence[Record]) -> MeasuredRow:
    measured = [
        plan.task.measure(example, scores_of(row, record))
        for example, record in zip(plan.examples, records, strict=True)
    ]
    return MeasuredRow(**asdict(row), per_example=_columns(plan.task.metrics, measured))


def _columns(metrics: Sequence[str], measured: Sequence[Mapping[str, float]]) -> Columns:
    return {metric: [one[metric] for one in measured] for metric in metrics}


def _described(plan: Plan, example: Any, record: Record) -> dict[str, Any]:
    described = plan.task.describe(example)
    answers = [
        {**answer, "tokens": tokens}
        for answer, tokens in zip(described["answers"], record.tokens, strict=True)
    ]
    return {
        "index": example.index,
        **described,
        "answers": answers,
        "scores": [list(scores) for scores in record.scores],
    }
