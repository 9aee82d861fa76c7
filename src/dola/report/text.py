"""Results as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from dola.report.view import KINDS, Cell, TableView


def markdown(views: Sequence[TableView]) -> str:
    """A section a result: its table, its findings, its notes."""
    return "\n".join(_markdown(view) for view in views)


def csv_table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line a row and metric, unrounded, shares from 0 to 1."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    interval, apart = ("mean", "low", "high"), ("mean", "low", "high", "p", "test")
    writer.writerow(
        ["task", "model", "kind", "row", "metric", *interval, "spread"]
        + [f"difference_{key}" for key in apart]
    )
    for result in results:
        ours = result["dola"]
        for row in ours["rows"]:
            for metric in ours["metrics"]:
                difference = (row["difference"] or {}).get(metric, {})
                writer.writerow(
                    [ours["manifest"]["task"], ours["settings"]["model"], row["kind"], row["label"], metric]
                    + [row["measures"][metric][key] for key in interval]
                    + [row["spread"].get(metric)]
                    + [difference.get(key) for key in apart]
                )
    return stream.getvalue()


def _markdown(view: TableView) -> str:
    lines = [f"## {_escaped(view.title)}", ""]
    lines += [f"- {name}: {_escaped(value)}" for name, value in view.facts]
    lines += ["", "| | " + " | ".join(view.metrics) + " |", "| --- |" + " --- |" * len(view.metrics)]
    for kind, title in KINDS.items():
        rows = view.of_kind(kind)
        if rows:
            lines.append(f"| *{title}* |" + " |" * len(view.metrics))
        for row in rows:
            cells = (_cell(row.cells[metric], row.changed.get(metric, "")) for metric in view.metrics)
            lines.append(f"| {_escaped(row.label)} | " + " | ".join(cells) + " |")
    lines += ["", "In percent, with 95% intervals; differences are from the first row, on the same examples."]
    for layers in view.layers:
        shares = ", ".join(f"{layer}: {100 * share:.1f}%" for layer, _, share in layers.shares)
        lines += ["", f"Premature layers of {_escaped(layers.label)}: {shares}."]
    if view.findings or view.notes:
        lines += ["", *(f"- {_escaped(line)}" for line in (*view.findings, *view.notes))]
    return "\n".join([*lines, ""])


def _cell(cell: Cell, changed: str) -> str:
    text = f"**{cell.value}**" + (f" ({cell.interval})" if cell.interval else "")
    if cell.difference:
        interval = f" ({cell.difference_interval})" if cell.difference_interval else ""
        text += f"<br>{cell.difference}{interval}, {cell.p}"
    return f"{text}, {changed}" if changed else text


def _escaped(text: str) -> str:
    """Text that Markdown takes for text."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
