"""Results of several commands on the same examples, set against the first one's first strategy.

Strategies of one command are compared there already. This is for what one command cannot hold: another
model, another prompt, another version of the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dola.runs.manifest import differences
from dola.runs.measured import Measured, MeasuredRow
from dola.runs.results import KEY, row_json
from dola.runs.summary import summarise

Result = Mapping[str, Any]
Comparison = dict[str, Any]

# What the results of a comparison have in common anyway, and what its rows show.
_COMMON = ("task", "data_sha256", "rows", "requests_sha256", "strategies")


def across(results: Sequence[tuple[Path, Result]]) -> list[Comparison]:
    """A comparison for every two or more results of one task on the same rows of the same data; results that
    measure nothing, or that stand alone, are in none.

    Each is a table of strategies: `rows` have the keys that they have in a result file.
    """
    groups: dict[tuple[Any, ...], list[tuple[Path, Result]]] = {}
    for path, result in results:
        groups.setdefault(_examples(result[KEY]), []).append((path, result))
    return [
        _comparison(group, metrics)
        for group in groups.values()
        if len(group) > 1 and (metrics := _metrics([result[KEY] for _, result in group]))
    ]


def _examples(ours: Mapping[str, Any]) -> tuple[Any, ...]:
    """What says that two results are of the same examples."""
    manifest = ours["manifest"]
    rows = tuple(example["index"] for example in ours["examples"])
    return manifest["task"], manifest["data_sha256"], rows


def _metrics(group: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The metrics that every strategy of every result has for every example."""
    rows = [row for ours in group for row in _strategies(ours)]
    return tuple(
        metric
        for metric in rows[0]["per_example"]
        if all(None not in row["per_example"].get(metric, [None]) for row in rows)
    )


def _comparison(group: Sequence[tuple[Path, Result]], metrics: tuple[str, ...]) -> Comparison:
    first, names = group[0][1][KEY], _names([path for path, _ in group])
    rows = [
        MeasuredRow(
            f"{row['label']} · {name}",
            "strategy",
            None,
            False,
            {metric: row["per_example"][metric] for metric in metrics},
        )
        for name, (_, result) in zip(names, group, strict=True)
        for row in _strategies(result[KEY])
    ]
    binary = tuple(metric for metric in metrics if metric in first["binary"])
    summary = summarise(Measured(metrics, binary, tuple(rows), (), (), {}), seed=first["settings"]["seed"])
    return {
        "task_title": first["settings"]["task_title"],
        "data_sha256": first["manifest"]["data_sha256"],
        "examples": len(first["examples"]),
        "files": [
            f"{name}: {result[KEY]['settings']['model']}"
            for name, (_, result) in zip(names, group, strict=True)
        ],
        "metrics": list(metrics),
        "binary": list(binary),
        "rows": [row_json(row) for row in summary.rows],
        "findings": list(summary.findings),
        "notes": _notes(names, [result[KEY]["manifest"] for _, result in group]),
    }


def _strategies(ours: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in ours["rows"] if row["kind"] == "strategy"]


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
