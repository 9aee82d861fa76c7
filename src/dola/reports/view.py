"""A result file as the tables and pages show it: every number a short text, nothing left to compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from dola.judges.truthful import TITLES
from dola.reports.reading import Tabled, changing_metric, is_generation, metrics_of
from dola.reports.remarks import facts_of, notes_of
from dola.result import Comparison, Result, Row
from dola.statistics import Interval

KINDS = {
    "strategy": "Strategies",
    "static": "Static layers",
    "variant": "Variants",
    "control": "Controls",
}

# Metrics whose key in a result file is not their name.
_NAMES = {"accuracy_released": "accuracy, released rule", **TITLES}

# What a layer that is counted is to its tokens, as a heading and in words, by the strategy's name.
_CHOSEN = "Premature layers", "was chosen for"
_LAYERS = {"sled": ("Heaviest layers", "had the vote that weighed most in")}


@dataclass(frozen=True)
class Cell:
    """One metric of one row, in percent; differences from the first row in percentage points.

    `beyond_chance`: the difference's 95% interval leaves zero out, and p is below 0.05.
    """

    value: str
    interval: str
    difference: str = ""
    difference_interval: str = ""
    p: str = ""
    test: str = ""
    beyond_chance: bool = False


@dataclass(frozen=True)
class RowView:
    """One row: `changed` says, by metric, how many examples it fixed and broke against the first row.

    `tokens`, `speed`: how many tokens were generated in all, and how many a second; empty where none were.
    """

    label: str
    kind: str
    cells: dict[str, Cell]
    changed: dict[str, str]
    tokens: str = ""
    speed: str = ""


@dataclass(frozen=True)
class LayersView:
    """How often a strategy chose each premature layer, or each weighed most: `(layer, tokens, share)`."""

    label: str
    shares: tuple[tuple[int, int, float], ...]
    heading: str
    what: str


@dataclass(frozen=True)
class TableView:
    """A result's table: its metrics, its rows by kind, its layers, and what there is to say about it."""

    title: str
    facts: tuple[tuple[str, str], ...]
    metrics: tuple[str, ...]
    rows: tuple[RowView, ...]
    layers: tuple[LayersView, ...]
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    generation: bool = False

    def of_kind(self, kind: str) -> tuple[RowView, ...]:
        return tuple(row for row in self.rows if row.kind == kind)


def view_of(result: Result) -> TableView:
    """The table of a result."""
    settings = result.settings
    return TableView(
        title=f"{settings.task_title} · {PurePath(settings.model).name or settings.model}",
        facts=facts_of(result),
        metrics=metrics_of(result),
        rows=tuple(_row(result, row) for row in result.rows),
        layers=tuple(_layers(result)),
        findings=result.findings,
        notes=tuple(notes_of(result)),
        generation=is_generation(result),
    )


def comparison_view(comparison: Comparison) -> TableView:
    """The table of several results on the same examples."""
    return TableView(
        title=f"{comparison.task_title} · {len(comparison.files)} results side by side",
        facts=(
            ("Results", "; ".join(comparison.files)),
            ("Data", f"SHA-256 {comparison.data_sha256[:12]}…"),
            ("Examples", str(comparison.examples)),
        ),
        metrics=metrics_of(comparison),
        rows=tuple(_row(comparison, row) for row in comparison.rows),
        layers=(),
        findings=comparison.findings,
        notes=comparison.notes,
    )


def metric_name(metric: str) -> str:
    """A metric as a heading."""
    return _NAMES.get(metric, metric)


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def between(measure: Interval) -> str:
    """A mean's interval in percent; empty where it has none."""
    return _between(measure, percent, "–")


def _row(table: Tabled, row: Row) -> RowView:
    changed = {}
    if row.fixed is not None and row.differences:
        changed = {changing_metric(table): f"+{row.fixed} −{row.broken}"}
    speed = row.tokens_per_second
    return RowView(
        row.label,
        row.kind,
        {metric: _cell(row, metric) for metric in metrics_of(table)},
        changed,
        f"{row.tokens:,}" if row.tokens is not None else "",
        f"{speed:.1f}" if speed is not None else "",
    )


def _cell(row: Row, metric: str) -> Cell:
    measure, apart = row.measures.get(metric), (row.differences or {}).get(metric)
    if measure is None:
        return Cell("–", "")
    spread = row.spread.get(metric)
    interval = between(measure) if spread is None else f"± {percent(spread)} a draw"
    if apart is None:
        return Cell(percent(measure.mean), interval)
    return Cell(
        percent(measure.mean),
        interval,
        points(apart.mean),
        _between(apart, points, "…"),
        p_value(apart.p),
        apart.test or "",
        apart.distinguishable,
    )


def _between(interval: Interval, shown: Callable[[float], str], dash: str) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"{shown(interval.low)}{dash}{shown(interval.high)}"


def _layers(result: Result) -> list[LayersView]:
    found = []
    for row in result.rows.of_kind("strategy"):
        strategy = None if row.strategy is None else result.strategies[row.strategy]
        counts = strategy and strategy.layers
        if not strategy or not counts or len(counts) < 2:
            continue
        total = sum(counts.values())
        shares = tuple((int(layer), count, count / total) for layer, count in counts.items())
        found.append(LayersView(row.label, shares, *_LAYERS.get(strategy.spec.partition(":")[0], _CHOSEN)))
    return found
