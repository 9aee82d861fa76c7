"""A result file as the tables and pages show it: every number a short text, nothing left to compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from dola.judges.truthful import TITLES
from dola.report.ties import tied_lengths

KINDS = {
    "strategy": "Strategies",
    "static": "Static layers",
    "variant": "Variants",
    "control": "Controls",
}

# Metrics whose key in a result file is not their name.
_NAMES = {"accuracy_released": "accuracy, released rule", **TITLES}


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
    generation: bool = False

    def of_kind(self, kind: str) -> tuple[RowView, ...]:
        return tuple(row for row in self.rows if row.kind == kind)


def view_of(result: Mapping[str, Any]) -> TableView:
    """The table of a result file."""
    ours = result["dola"]
    settings = ours["settings"]
    return TableView(
        title=f"{settings['task_title']} · {PurePath(settings['model']).name or settings['model']}",
        facts=_facts(ours),
        metrics=metrics_of(ours),
        rows=tuple(_row(ours, row) for row in ours["rows"]),
        layers=tuple(_layers(ours)),
        findings=tuple(ours["findings"]),
        notes=tuple(_notes(result)),
        generation=is_generation(ours),
    )


def comparison_view(comparison: Mapping[str, Any]) -> TableView:
    """The table of several results on the same examples, as `runs.across` makes it."""
    return TableView(
        title=f"{comparison['task_title']} · {len(comparison['files'])} results side by side",
        facts=(
            ("Results", "; ".join(comparison["files"])),
            ("Data", f"SHA-256 {comparison['data_sha256'][:12]}…"),
            ("Examples", str(comparison["examples"])),
        ),
        metrics=metrics_of(comparison),
        rows=tuple(_row(comparison, row) for row in comparison["rows"]),
        layers=(),
        findings=tuple(comparison["findings"]),
        notes=tuple(comparison["notes"]),
    )


def is_generation(ours: Mapping[str, Any]) -> bool:
    """Whether the result is of completions; else it is of scored answers."""
    return bool(ours.get("kind") == "generation")


def reads_answers(ours: Mapping[str, Any]) -> bool:
    """Whether the task reads an answer out of each completion."""
    return "accuracy" in ours["metrics"]


def metrics_of(ours: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of a table: the task's own, then what judges have added to the rows since."""
    measured = (metric for row in ours["rows"] for metric in row["measures"])
    return tuple(dict.fromkeys((*ours["metrics"], *measured)))


def metric_name(metric: str) -> str:
    """A metric as a heading."""
    return _NAMES.get(metric, metric)


def strategy_rows(ours: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the strategies that were asked for, without variants, sweeps and controls."""
    return [row for row in ours["rows"] if row["kind"] == "strategy"]


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def between(measure: Mapping[str, Any]) -> str:
    """A mean's interval in percent; empty where it has none."""
    return _between(measure, percent, "–")


def _row(ours: Mapping[str, Any], row: Mapping[str, Any]) -> RowView:
    changed = {}
    if row["fixed"] is not None and row["difference"]:
        changed = {changing_metric(ours): f"+{row['fixed']} −{row['broken']}"}
    speed = row.get("tokens_per_second")
    return RowView(
        row["label"],
        row["kind"],
        {metric: _cell(row, metric) for metric in metrics_of(ours)},
        changed,
        f"{row['tokens']:,}" if row.get("tokens") is not None else "",
        f"{speed:.1f}" if speed is not None else "",
    )


def changing_metric(ours: Mapping[str, Any]) -> str:
    """The metric by which an example is fixed or broken: the first that is 0 or 1 for every example; empty
    where there is none."""
    return str(ours["binary"][0]) if ours["binary"] else ""


def _cell(row: Mapping[str, Any], metric: str) -> Cell:
    measure, apart = row["measures"].get(metric), (row["difference"] or {}).get(metric)
    if measure is None:
        return Cell("–", "")
    spread = (row.get("spread") or {}).get(metric)
    interval = between(measure) if spread is None else f"± {percent(spread)} a draw"
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
    facts = (
        ("Model", f"{settings['model']} ({manifest['model']}), {manifest['dtype']}"),
        ("Data", f"{settings['data_source']}, SHA-256 {manifest['data_sha256'][:12]}…"),
        ("Examples", f"{ours['counts']['examples']} of {settings['data_rows']}"),
        ("Preset", settings["preset"]),
        ("Strategies", "; ".join(_specs(ours))),
        ("Made with", f"dola {manifest['code']}, seed {settings['seed']}"),
    )
    if not is_generation(ours):
        return facts
    return (*facts[:-1], ("Decoding", _decoding(ours)), *_judges(ours), facts[-1])


def _judges(ours: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who rated the answers, where somebody has."""
    rating = ours.get("rating")
    if not rating:
        return []
    asked = "; ".join(
        f"{kind}: {judge['name']} ({judge['asked']})" for kind, judge in rating["judges"].items()
    )
    return [("Judges", f"{asked}; yes from a probability of {rating['threshold']}")]


def _specs(ours: Mapping[str, Any]) -> list[str]:
    """The strategies asked for, with their settings in this preset."""
    return [ours["strategies"][row["strategy"]]["spec"] for row in strategy_rows(ours)]


def _decoding(ours: Mapping[str, Any]) -> str:
    """How tokens were taken from the strategies' scores."""
    manifest = ours["manifest"]
    settings = ("temperature", "top_p", "top_k", "seed")
    sampled = ", ".join(f"{name} {manifest[name]}" for name in settings if manifest.get(name) is not None)
    given = {row["label"]: manifest["repetition_penalty"][row["strategy"]] for row in strategy_rows(ours)}
    each = ", ".join(f"{penalty:g} ({label})" for label, penalty in given.items())
    penalty = each if len(set(given.values())) > 1 else f"{next(iter(given.values())):g}"
    return "; ".join(
        [
            f"sampled, {sampled}" if manifest["do_sample"] else "greedy",
            f"at most {manifest['max_new_tokens']} tokens",
            f"repetition penalty {penalty}",
        ]
    )


def _notes(result: Mapping[str, Any]) -> list[str]:
    ours = result["dola"]
    counts, notes = ours["counts"], []
    left = ours["settings"]["data_rows"] - counts["examples"]
    if left:
        notes.append(
            f"Only {counts['examples']} of the data's {ours['settings']['data_rows']} rows are in it."
        )
    return notes + (_of_completions(ours) if is_generation(ours) else _of_scores(ours))


def _of_completions(ours: Mapping[str, Any]) -> list[str]:
    notes = []
    for row in strategy_rows(ours):
        completions = [example["completions"][row["strategy"]] for example in ours["examples"]]
        cut = sum(each["finish_reason"] == "length" for each in completions)
        lacking = sum(each["answer"] is None for each in completions) if reads_answers(ours) else 0
        if cut or lacking:
            parts = [f"{cut} reached the longest length"] if cut else []
            parts += [f"in {lacking} no answer was found, which counts as wrong"] if lacking else []
            notes.append(f"{row['label']}: of {len(completions)} completions {', '.join(parts)}.")
    return notes


def _of_scores(ours: Mapping[str, Any]) -> list[str]:
    counts, notes = ours["counts"], []
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
    return notes + tied_lengths(ours)


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
