"""From a run's figures to its result, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dola.result import (
    KEY,
    GeneratedExample,
    Measure,
    PairedDifference,
    Result,
    Row,
    Rows,
    ScoredExample,
    Settings,
    StrategyFigures,
)
from dola.result.cycles import no_search_for_cycles
from dola.result.files import check_writable, write_text
from dola.result.files import write_json as write_result
from dola.result.form import read, written
from dola.result.result import read_result
from dola.runs.measured import Measured, MeasuredRow, Speed
from dola.runs.summary import Summary, SummaryRow

__all__ = [
    "KEY",
    "check_writable",
    "measured_of",
    "read_result",
    "result_of",
    "result_row",
    "row_json",
    "write_result",
    "write_text",
]

Released = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@no_search_for_cycles()
def result_of(
    measured: Measured,
    summary: Summary,
    released: Mapping[int, Released],
    *,
    manifest: Mapping[str, Any],
    settings: Settings,
    environment: Mapping[str, str],
) -> Result:
    """A run's result. `released` has the released JSON of each strategy asked for, by its place among those
    scored; the first goes to the top of the file."""
    first = released[min(released)]
    kind: type[Any] = GeneratedExample if measured.kind == "generation" else ScoredExample
    return Result(
        kind=measured.kind,
        manifest=dict(manifest),
        environment=dict(environment),
        settings=settings,
        metrics=measured.metrics,
        binary=measured.binary,
        counts=measured.counts,
        findings=summary.findings,
        rows=Rows([result_row(row, measured.speeds) for row in summary.rows]),
        strategies=tuple(
            StrategyFigures(spec, layers, written(released.get(place)))
            for place, (spec, layers) in enumerate(zip(manifest["strategies"], measured.layers, strict=True))
        ),
        # As a file has them: a result that was saved and read is the same result.
        examples=tuple(read(kind, written(example)) for example in measured.examples),
        released=written(first) if isinstance(first, Mapping) else {},
    )


def measured_of(result: Result) -> Measured:
    """What a result holds, example by example; the inverse of `result_of` where that matters."""
    return Measured(
        metrics=result.metrics,
        binary=result.binary,
        rows=tuple(
            MeasuredRow(
                row.label,
                row.kind,
                row.strategy,
                row.per_token,
                _columns(row.per_example),
                dict(row.spread),
            )
            for row in result.rows
        ),
        layers=tuple(_counts(strategy.layers) for strategy in result.strategies),
        examples=tuple(written(example) for example in result.examples),
        counts=dict(result.counts),
        speeds=_speeds(result) if result.kind == "generation" else (),
    )


def result_row(row: SummaryRow, speeds: Sequence[Speed] = ()) -> Row:
    """A row of the summary, as a result has it."""
    speed = speeds[row.row.strategy] if speeds and row.row.strategy is not None else None
    return Row(
        label=row.row.label,
        kind=row.row.kind,
        strategy=row.row.strategy,
        per_token=row.row.per_token,
        measures={metric: Measure.of(interval) for metric, interval in row.intervals.items()},
        spread=row.row.spread,
        differences=None
        if row.differences is None
        else {metric: PairedDifference.of(each) for metric, each in row.differences.items()},
        fixed=row.fixed,
        broken=row.broken,
        per_example={metric: tuple(values) for metric, values in row.row.per_example.items()},
        tokens=None if speed is None else speed.tokens,
        timed_tokens=None if speed is None else speed.timed,
        seconds=None if speed is None else speed.seconds,
        tokens_per_second=None if speed is None else speed.tokens_per_second,
    )


def row_json(row: SummaryRow) -> dict[str, Any]:
    """A row of the summary, as the files have it."""
    made: dict[str, Any] = written(result_row(row))
    return made


def _columns(per_example: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
    return {
        metric: [float("nan") if one is None else one for one in values]
        for metric, values in per_example.items()
    }


def _counts(layers: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if layers is None else dict(layers)


def _speeds(result: Result) -> tuple[Speed, ...]:
    by_strategy = {row.strategy: row for row in result.rows if row.tokens is not None}
    rows = (by_strategy[place] for place in range(len(result.strategies)))
    return tuple(Speed(row.tokens or 0, row.timed_tokens or 0, row.seconds or 0.0) for row in rows)
