"""Where every mark of a figure goes. The templates draw it; colours are the page's, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dola.reports.reading import Tabled, metrics_of
from dola.reports.view import metric_name
from dola.result import Result, Row, Tuning
from dola.statistics import Interval

WIDTH = 1000.0
_LABELS = 236.0
_GAP = 40.0
_ROW = 26.0
_TOP = 34.0
_AXIS = 26.0


@dataclass(frozen=True)
class Scale:
    """A linear map from shares to pixels, with its ticks as `(pixel, text)`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        step = _step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(self(number * step), f"{100 * number * step:g}") for number in range(first, last + 1)]


@dataclass(frozen=True)
class Mark:
    """A row's mean and interval in one panel."""

    y: float
    x: float
    low: float
    high: float
    kind: str
    hint: str


@dataclass(frozen=True)
class Panel:
    """One metric; `reference` is where the first row's mean is."""

    title: str
    scale: Scale
    reference: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class IntervalPlot:
    """All rows' means and intervals, a panel a metric."""

    height: float
    bottom: float
    labels: tuple[tuple[float, str, str], ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Line:
    """A level across the whole panel: vanilla, or a control."""

    y: float
    label: str
    kind: str
    label_y: float


@dataclass(frozen=True)
class Bucket:
    """A strategy's mean over its candidate layers; across the panel where it has none."""

    left: float
    right: float
    y: float
    label: str
    chosen: bool


@dataclass(frozen=True)
class LayerPanel:
    """A metric by static premature layer: the means as a path, their intervals as a band."""

    title: str
    scale: Scale
    path: str
    band: str
    points: tuple[tuple[float, float, str], ...]
    lines: tuple[Line, ...]
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True)
class LayerPlot:
    """What every static layer and every bucket reaches, a panel a metric."""

    height: float
    ticks: tuple[tuple[float, int], ...]
    panels: tuple[LayerPanel, ...]


def interval_plot(table: Tabled) -> IntervalPlot | None:
    """The plot of a result's rows, of the metrics that all of them have; None where there is none."""
    rows = table.rows
    metrics = [name for name in metrics_of(table) if all(name in row.measures for row in rows)]
    if not metrics:
        return None
    places = [_TOP + _ROW * (at + 0.5) for at in range(len(rows))]
    width = (WIDTH - _LABELS - _GAP * len(metrics)) / len(metrics)
    bottom = _TOP + _ROW * len(rows)
    panels = []
    for at, metric in enumerate(metrics):
        start = _LABELS + at * (width + _GAP) + _GAP / 2
        scale = _scale([row.measures[metric] for row in rows], start, start + width)
        marks = tuple(_mark(row, metric, y, scale) for row, y in zip(rows, places, strict=True))
        panels.append(Panel(metric_name(metric), scale, marks[0].x, marks))
    labels = tuple((y, row.label, row.kind) for y, row in zip(places, rows, strict=True))
    return IntervalPlot(bottom + _AXIS, bottom, labels, tuple(panels))


def layer_plot(result: Result, tuning: Tuning) -> LayerPlot:
    """The plot of a sweep over layers."""
    layers = [int(layer) for layer in tuning.static]
    across = Scale(min(layers), max(max(layers), min(layers) + 1), 60.0, WIDTH - 150.0)
    height, panels = 20.0, []
    for metric in result.metrics:
        panels.append(_layer_panel(result, tuning, metric, across, height + 30.0))
        height += 240.0
    ticks = tuple((across(layer), layer) for layer in layers)
    return LayerPlot(height + 30.0, ticks, tuple(panels))


def _layer_panel(result: Result, tuning: Tuning, metric: str, across: Scale, top: float) -> LayerPanel:
    rows = result.rows
    measures = {int(layer): rows[at].measures[metric] for layer, at in tuning.static.items()}
    named = [rows[0], *(rows[bucket.row] for bucket in tuning.buckets)]
    control = max(
        (row for row in rows if row.kind == "control" and not row.spread),
        key=lambda row: row.measures[metric].mean,
    )
    shown = [*measures.values(), *(row.measures[metric] for row in (*named, control))]
    up = _scale(shown, top + 180.0, top)
    points = [(across(layer), up(measure.mean)) for layer, measure in measures.items()]
    ends = [(across(layer), up(_low(m)), up(_high(m))) for layer, m in measures.items()]
    return LayerPanel(
        title=metric,
        scale=up,
        path=_path(points),
        band=_path([(x, low) for x, low, _ in ends] + [(x, high) for x, _, high in reversed(ends)]) + "Z",
        points=tuple(
            (x, y, f"layer {layer}: {100 * measures[layer].mean:.1f}")
            for (x, y), layer in zip(points, measures, strict=True)
        ),
        lines=_lines(up, rows[0], control, metric),
        buckets=tuple(
            Bucket(
                across(bucket.layers[0]) if bucket.layers else across.start,
                across(bucket.layers[-1]) if bucket.layers else across.end,
                up(rows[bucket.row].measures[metric].mean),
                rows[bucket.row].label,
                rows[bucket.row].label == tuning.chosen,
            )
            for bucket in tuning.buckets
        ),
    )


def _lines(up: Scale, first: Row, control: Row, metric: str) -> tuple[Line, Line]:
    """The first row's level and the control's, their labels a line's height apart."""
    one, other = up(first.measures[metric].mean), up(control.measures[metric].mean)
    push = max(0.0, 15.0 - abs(one - other)) / 2 * (1 if one >= other else -1)
    return (
        Line(one, first.label, "vanilla", one + push),
        Line(other, control.label, "control", other - push),
    )


def _mark(row: Row, metric: str, y: float, scale: Scale) -> Mark:
    measure = row.measures[metric]
    hint = f"{row.label}: {metric_name(metric)} {100 * measure.mean:.1f}"
    if measure.low is not None and measure.high is not None:
        hint += f" ({100 * measure.low:.1f}–{100 * measure.high:.1f})"
    return Mark(y, scale(measure.mean), scale(_low(measure)), scale(_high(measure)), row.kind, hint)


def _scale(measures: Sequence[Interval], start: float, end: float) -> Scale:
    """From a tick below the lowest interval to a tick above the highest."""
    low, high = min(map(_low, measures)), max(map(_high, measures))
    step = _step(max(high - low, 0.02))
    bottom, top = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Scale(bottom, top if top > bottom else bottom + step, start, end)


def _step(span: float) -> float:
    """A round distance of ticks, four or five of them in the span."""
    power = 10.0 ** math.floor(math.log10(span))
    return next(power * factor for factor in (0.2, 0.25, 0.5, 1.0, 2.0) if span / (power * factor) <= 5)


def _low(measure: Interval) -> float:
    return float(measure.mean if measure.low is None else measure.low)


def _high(measure: Interval) -> float:
    return float(measure.mean if measure.high is None else measure.high)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x},{y}" for x, y in points)
