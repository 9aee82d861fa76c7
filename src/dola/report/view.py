"""A result file as the tables and pages show it: every number a short text, nothing left to compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

KINDS = {
    "strategy": "Strategies",
    "static": "Static layers",
    "variant": "Variants",
    "control": "Controls",
}


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
    """One row: `changed` says, by metric, how many examples it fixed and broke against the first row."""

    label: str
    kind: str
    cells: dict[str, Cell]
    changed: dict[str, str]


@dataclass(frozen=True)
class LayersView:
    """How often a strategy chose each premature layer: `(layer, tokens, share)`."""

    label: str
    shares: tuple[tuple[int, int, float], ...]


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

    def of_kind(self, kind: str) -> tuple[RowView, ...]:
        return tuple(row for row in self.rows if row.kind == kind)


def view_of(result: Mapping[str, Any]) -> TableView:
    """The table of a result file."""
    ours = result["dola"]
    settings = ours["settings"]
    return TableView(
        title=f"{settings['task_title']} · {PurePath(settings['model']).name or settings['model']}",
        facts=_facts(ours),
        metrics=tuple(ours["metrics"]),
        rows=tuple(_row(row, ours["metrics"], ours["binary"]) for row in ours["rows"]),
        layers=tuple(_layers(ours)),
        findings=tuple(ours["findings"]),
        notes=tuple(_notes(result)),
    )


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _row(row: Mapping[str, Any], metrics: list[str], binary: list[str]) -> RowView:
    changed = {}
    if row["fixed"] is not None and row["difference"]:
        changed = {binary[0]: f"+{row['fixed']} −{row['broken']}"}
    return RowView(row["label"], row["kind"], {metric: _cell(row, metric) for metric in metrics}, changed)


def _cell(row: Mapping[str, Any], metric: str) -> Cell:
    measure, apart = row["measures"][metric], (row["difference"] or {}).get(metric)
    interval = _between(measure, percent, "–")
    if row["spread"]:
        interval = f"± {percent(row['spread'][metric])} a draw"
    if apart is None:
        return Cell(percent(measure["mean"]), interval)
    low, high = apart["low"], apart["high"]
    return Cell(
        percent(measure["mean"]),
        interval,
        points(apart["mean"]),
        _between(apart, points, "…"),
        p_value(apart["p"]),
        apart["test"],
        low is not None and high is not None and not low <= 0 <= high and apart["p"] < 0.05,
    )


def _between(interval: Mapping[str, Any], shown: Callable[[float], str], dash: str) -> str:
    if interval["low"] is None:
        return ""
    return f"{shown(interval['low'])}{dash}{shown(interval['high'])}"


def _layers(ours: Mapping[str, Any]) -> list[LayersView]:
    found = []
    for row in ours["rows"]:
        counts = ours["strategies"][row["strategy"]]["layers"] if row["strategy"] is not None else None
        if row["kind"] != "strategy" or not counts or len(counts) < 2:
            continue
        total = sum(counts.values())
        shares = tuple((int(layer), count, count / total) for layer, count in counts.items())
        found.append(LayersView(row["label"], shares))
    return found


def _facts(ours: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    settings, manifest = ours["settings"], ours["manifest"]
    return (
        ("Model", f"{settings['model']} ({manifest['model']}), {manifest['dtype']}"),
        ("Data", f"{settings['data_source']}, SHA-256 {manifest['data_sha256'][:12]}…"),
        ("Examples", f"{ours['counts']['examples']} of {settings['data_rows']}"),
        ("Preset", settings["preset"]),
        ("Strategies", "; ".join(_specs(ours))),
        ("Made with", f"dola {manifest['code']}, seed {settings['seed']}"),
    )


def _specs(ours: Mapping[str, Any]) -> list[str]:
    """The strategies asked for, with their settings in this preset."""
    return [ours["strategies"][row["strategy"]]["spec"] for row in ours["rows"] if row["kind"] == "strategy"]


def _notes(result: Mapping[str, Any]) -> list[str]:
    ours = result["dola"]
    counts, notes = ours["counts"], []
    left = ours["settings"]["data_rows"] - counts["examples"]
    if left:
        notes.append(
            f"Only {counts['examples']} of the data's {ours['settings']['data_rows']} rows are in it."
        )
    if counts["prompt_not_prefix"]:
        notes.append(
            f"Of {counts['answers']} answers {counts['prompt_not_prefix']} change how the prompt's end is"
            " tokenised; scored is, as released, what comes after as many tokens as the prompt has."
        )
    if counts["truncated"]:
        notes.append(f"{counts['truncated']} prompts were cut on the left to fit the model's context.")
    for label, count in _underflows(ours).items():
        notes.append(
            f"{label}: in {count} questions the released code's MC2 under- or overflows (it then halves"
            " scores, or writes 0); MC2 here is computed through log-sum-exp, and the released figure is"
            " total_mc2_released."
        )
    return notes


def _underflows(ours: Mapping[str, Any]) -> dict[str, int]:
    found = {}
    for row in ours["rows"]:
        if row["kind"] != "strategy":
            continue
        released = ours["strategies"][row["strategy"]]["released"] or {}
        count = released.get("mc2_underflows", 0) + released.get("mc2_overflows", 0)
        if count:
            found[row["label"]] = count
    return found
