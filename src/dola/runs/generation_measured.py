"""From completions to the figures of every example, by both rules: the corrected and the released one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dola.result.cycles import no_search_for_cycles
from dola.runs.completions import GenerationRecord
from dola.runs.generation_plan import GenerationPlan
from dola.runs.layer_counts import added_layers
from dola.runs.measured import Measured, MeasuredRow, Speed, left_out_of
from dola.runs.summary import Summary, summarise
from dola.runs.variants import Lineup
from dola.tasks.base import GenerationTask, Judged

Done = Mapping[Any, GenerationRecord]


@dataclass(frozen=True)
class Outcome:
    """One strategy's completions, each with what it comes to, in the examples' order."""

    records: tuple[GenerationRecord, ...]
    completions: tuple[str, ...]
    judged: tuple[Judged, ...]


def released_of(
    task: GenerationTask[Any], examples: Sequence[Any], outcome: Outcome
) -> dict[str, Any] | list[dict[str, Any]]:
    """What the released script writes for these completions."""
    return task.released_json(
        examples,
        outcome.completions,
        outcome.judged,
        attempts=[record.attempts for record in outcome.records],
    )


def outcome_of(plan: GenerationPlan, strategy: int, done: Done) -> Outcome:
    """What a strategy came to. All of its completions must have a record."""
    records = tuple(done[example.index, strategy] for example in plan.examples)
    pairs = list(zip(plan.examples, records, strict=True))
    return Outcome(
        records,
        tuple(plan.task.completion(record.raw, record.text) for record in records),
        tuple(plan.task.judge(example, record.raw, record.text) for example, record in pairs),
    )


@no_search_for_cycles()
def measure_generation(plan: GenerationPlan, lineup: Lineup, outcomes: Sequence[Outcome]) -> Measured:
    """Measure every row of the line-up on the plan's examples."""
    metrics = plan.task.metrics
    return Measured(
        metrics=metrics,
        binary=tuple(metric for metric in metrics if metric in plan.task.binary_metrics),
        rows=tuple(
            MeasuredRow(
                **asdict(row),
                per_example={
                    metric: [each.measures[metric] for each in outcomes[row.strategy].judged]
                    for metric in metrics
                },
            )
            for row in lineup.rows
        ),
        layers=tuple(added_layers(record.layers for record in each.records) for each in outcomes),
        examples=tuple(_described(plan, at, outcomes) for at in range(len(plan.examples))),
        counts=_counts(outcomes),
        speeds=tuple(_speed(each.records) for each in outcomes),
    )


def summarise_generation(measured: Measured, penalties: Sequence[float], *, seed: int) -> Summary:
    """The summary of a run; `penalties`: of each strategy that generated."""
    summary = summarise(measured, seed=seed)
    compared = [(row.label, penalties[row.strategy]) for row in measured.rows if row.strategy is not None]
    return Summary(summary.rows, (*penalty_findings(compared), *summary.findings))


def penalty_findings(compared: Sequence[tuple[str, float]]) -> list[str]:
    """What is to be said where rows, given by label and repetition penalty, differ in the penalty."""
    by_penalty: dict[float, list[str]] = {}
    for label, penalty in compared:
        by_penalty.setdefault(penalty, []).append(label)
    if len(by_penalty) < 2:
        return []
    said = "; ".join(f"{penalty} for {_shown(labels)}" for penalty, labels in by_penalty.items())
    finding = (
        f"The repetition penalty differs, as in the released scripts: {said}. A difference between them is of"
        f" strategy and penalty at once; --repetition_penalty {max(by_penalty)} gives all the same."
    )
    return [finding]


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= 3 else f"{', '.join(labels[:2])} and {len(labels) - 2} more"


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    records = [record for each in outcomes for record in each.records]
    judged = [one for each in outcomes for one in each.judged]
    return {
        "examples": len(outcomes[0].records),
        "completions": len(records),
        "no_answer": sum(one.answer is None and bool(one.measures) for one in judged),
        "length": sum(record.finish_reason == "length" for record in records),
        "retried": sum(record.attempts > 1 for record in records),
        **left_out_of(records),
    }


def _speed(records: Sequence[GenerationRecord]) -> Speed:
    known = [record for record in records if record.seconds is not None]
    return Speed(
        tokens=sum(record.tokens for record in records),
        timed=sum(record.tokens for record in known),
        seconds=sum(record.seconds or 0.0 for record in known),
    )


def _described(plan: GenerationPlan, at: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "index": plan.examples[at].index,
        **plan.task.describe(plan.examples[at]),
        "completions": [
            {
                "text": each.completions[at],
                "raw": each.records[at].raw,
                "tokens": each.records[at].tokens,
                "finish_reason": each.records[at].finish_reason,
                "answer": each.judged[at].answer,
                "answer_released": each.judged[at].released,
                "measures": each.judged[at].measures,
            }
            for each in outcomes
        ],
    }
