"""Means, intervals and differences of a table's rows, and what they say in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dola.runs.measured import Measured, MeasuredRow
from dola.statistics import Difference, Interval, mean_intervals, paired_differences


@dataclass(frozen=True)
class SummaryRow:
    """A row of the table.

    Attributes:
        intervals: of each metric. For the random control the interval is of its draws, 1.96 standard
            deviations wide to either side.
        differences: from the first row, of each metric; None for the first row and the random control.
        fixed, broken: examples that the first row got wrong and this one right, and the other way round, by
            the first metric that is 0 or 1; None where there is no such metric.
    """

    row: MeasuredRow
    intervals: dict[str, Interval]
    differences: dict[str, Difference] | None
    fixed: int | None = None
    broken: int | None = None


@dataclass(frozen=True)
class Summary:
    """The table, and sentences on what it does and does not show."""

    rows: tuple[SummaryRow, ...]
    findings: tuple[str, ...]


def summarise(measured: Measured, *, seed: int) -> Summary:
    """The summary of a run, deterministic for a seed."""
    intervals = _intervals(measured, seed=seed)
    differences = _differences(measured, _against_first(measured), seed=seed)
    rows = tuple(
        SummaryRow(row, intervals[at], differences.get(at), *_changed(measured, row))
        for at, row in enumerate(measured.rows)
    )
    return Summary(rows, tuple(_findings(measured, rows, seed=seed)))


def _intervals(measured: Measured, *, seed: int) -> list[dict[str, Interval]]:
    names = measured.metrics
    values = [row.per_example[metric] for row in measured.rows for metric in names]
    found = iter(mean_intervals(values, seed=seed))
    by_row = [{metric: next(found) for metric in names} for _ in measured.rows]
    return [
        {metric: _of_draws(one[metric].mean, row.spread[metric]) for metric in names} if row.spread else one
        for row, one in zip(measured.rows, by_row, strict=True)
    ]


def _of_draws(mean: float, spread: float) -> Interval:
    return Interval(mean, max(0.0, mean - 1.96 * spread), min(1.0, mean + 1.96 * spread))


def _against_first(measured: Measured) -> list[tuple[int, int]]:
    return [(at, 0) for at, row in enumerate(measured.rows) if at and not row.spread]


def _differences(
    measured: Measured, pairs: Sequence[tuple[int, int]], *, seed: int
) -> dict[int, dict[str, Difference]]:
    """Of each pair of rows, the first minus the second; by the first's place."""
    if not pairs:
        return {}
    rows, names = measured.rows, measured.metrics
    columns = [
        (rows[one].per_example[metric], rows[other].per_example[metric])
        for one, other in pairs
        for metric in names
    ]
    found = iter(paired_differences(columns, seed=seed))
    return {one: {metric: next(found) for metric in names} for one, _ in pairs}


def _changed(measured: Measured, row: MeasuredRow) -> tuple[int | None, int | None]:
    if not measured.binary or row.spread:
        return None, None
    metric = measured.binary[0]
    pairs = list(zip(row.per_example[metric], measured.rows[0].per_example[metric], strict=True))
    return sum(ours > theirs for ours, theirs in pairs), sum(ours < theirs for ours, theirs in pairs)


def _findings(measured: Measured, rows: Sequence[SummaryRow], *, seed: int) -> list[str]:
    """What the table shows of each strategy's gain, in words."""
    strategies = [at for at, row in enumerate(rows) if row.row.kind == "strategy" and row.differences]
    lengths = [at for at, row in enumerate(rows) if row.row.kind == "control" and not row.row.spread]
    found = [_beyond_chance(rows[at], rows[0]) for at in strategies]
    for metric in measured.metrics:
        # The better of the two length controls is the one to beat.
        control = max(lengths, key=lambda at: rows[at].intervals[metric].mean, default=None)
        gained = [at for at in strategies if _gained(rows[at], metric)]
        if control is None or not gained:
            continue
        against = _differences(measured, [(at, control) for at in gained], seed=seed)
        found += [
            _against_control(rows[at], rows[control], metric, against[at][metric])
            for at in gained
            if not (against[at][metric].distinguishable and against[at][metric].interval.mean > 0)
        ]
    return found


def _gained(row: SummaryRow, metric: str) -> bool:
    """Whether it is better than the first row beyond chance; where it is not, that is said already."""
    difference = row.differences and row.differences[metric]
    return bool(difference and difference.distinguishable and difference.interval.mean > 0)


def _gain(row: SummaryRow, metric: str) -> float:
    return row.differences[metric].interval.mean if row.differences else 0.0


def _beyond_chance(row: SummaryRow, first: SummaryRow) -> str:
    differences = row.differences or {}
    beyond = [
        f"{metric} ({points(each.interval.mean)} points)"
        for metric, each in differences.items()
        if each.distinguishable
    ]
    if not beyond:
        names = _and(list(differences))
        return f"{row.row.label}: no difference from {first.row.label} beyond chance in {names}."
    rest = [metric for metric, each in differences.items() if not each.distinguishable]
    without = f", but not in {_and(rest)}" if rest else ""
    return f"{row.row.label}: differs from {first.row.label} beyond chance in {_and(beyond)}{without}."


def _against_control(row: SummaryRow, control: SummaryRow, metric: str, apart: Difference) -> str:
    verdict = "is smaller than that of" if apart.distinguishable else "is not distinguishable from that of"
    low, high = apart.interval.low, apart.interval.high
    interval = "" if low is None or high is None else f", 95% interval {points(low)} to {points(high)}"
    name = control.row.label.removeprefix("control: ")
    return (
        f"{row.row.label}: the gain in {metric} ({points(_gain(row, metric))} points) {verdict} a scorer that"
        f" knows nothing but length and takes the {name}: {percent(row.intervals[metric].mean)} against"
        f" {percent(control.intervals[metric].mean)} (difference {points(apart.interval.mean)}{interval},"
        f" p = {apart.p:.3f})."
    )


def percent(value: float) -> str:
    """A share in percent, one decimal."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
