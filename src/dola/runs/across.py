"""Results of several commands on the same examples, set against the first one's first strategy.

Strategies of one command are compared there already. This is for what one command cannot hold: another
model, another prompt, another version of the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dola.result import Comparison, Result, Rows
from dola.runs.manifest import differences
from dola.runs.measured import Columns, Measured, MeasuredRow
from dola.runs.results import result_row
from dola.runs.summary import summarise

Named = tuple[Path, Result]

# What the results of a comparison have in common anyway, and what its rows show.
_COMMON = ("task", "data_sha256", "rows", "requests_sha256", "strategies")


def across(results: Sequence[Named]) -> list[Comparison]:
    """A comparison for every two or more results of one task on the same rows of the same data; results that
    measure nothing, or that stand alone, are in none."""
    groups: dict[tuple[Any, ...], list[Named]] = {}
    for path, result in results:
        groups.setdefault(_examples(result), []).append((path, result))
    return [
        _comparison(group, metrics)
        for group in groups.values()
        if len(group) > 1 and (metrics := _metrics([result for _, result in group]))
    ]


def _examples(result: Result) -> tuple[Any, ...]:
    """What says that two results are of the same examples."""
    rows = tuple(example.index for example in result.examples)
    return result.task, result.manifest["data_sha256"], rows


def _metrics(group: Sequence[Result]) -> tuple[str, ...]:
    """The metrics that every strategy of every result has for every example."""
    rows = [row for result in group for row in result.rows.of_kind("strategy")]
    return tuple(
        metric
        for metric in rows[0].per_example
        if all(None not in row.per_example.get(metric, [None]) for row in rows)
    )


def _comparison(group: Sequence[Named], metrics: tuple[str, ...]) -> Comparison:
    first, names = group[0][1], _names([path for path, _ in group])
    rows = [
        MeasuredRow(f"{row.label} · {name}", "strategy", None, False, _columns(row.per_example, metrics))
        for name, (_, result) in zip(names, group, strict=True)
        for row in result.rows.of_kind("strategy")
    ]
    binary = tuple(metric for metric in metrics if metric in first.binary)
    summary = summarise(Measured(metrics, binary, tuple(rows), (), (), {}), seed=first.settings.seed)
    return Comparison(
        task_title=first.settings.task_title,
        data_sha256=first.manifest["data_sha256"],
        examples=len(first.examples),
        files=tuple(
            f"{name}: {result.settings.model}" for name, (_, result) in zip(names, group, strict=True)
        ),
        metrics=metrics,
        binary=binary,
        rows=Rows([result_row(row) for row in summary.rows]),
        findings=summary.findings,
        notes=tuple(_notes(names, [result.manifest for _, result in group])),
    )


def _columns(per_example: Mapping[str, Sequence[float | None]], metrics: Sequence[str]) -> Columns:
    return {metric: [value for value in per_example[metric] if value is not None] for metric in metrics}


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without their ending, or with their folders where two are called alike."""
    alike = len({path.stem for path in paths}) < len(paths)
    return [str(path) if alike else path.stem for path in paths]


def _notes(names: Sequence[str], manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """What else than the strategies is different: a difference may be of that as well."""
    notes = []
    for name, manifest in zip(names[1:], manifests[1:], strict=True):
        found = [re.split("[,:]", what)[0] for what in differences(manifests[0], manifest, ignoring=_COMMON)]
        if manifests[0]["requests_sha256"] != manifest["requests_sha256"]:
            found.append("the prompts or answers")
        if found:
            notes.append(f"{name} differs from {names[0]} in {', '.join(found)} too.")
    return notes
