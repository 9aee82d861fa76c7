"""Results as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from dola.reports.against import PaperCell, PaperView
from dola.reports.reading import metrics_of
from dola.reports.view import KINDS, Cell, TableView, comparison_view, metric_name, view_of
from dola.result import Comparison, Result, Row

_INTERVAL = ("mean", "low", "high")
_APART = (*_INTERVAL, "p", "test")


def markdown(
    results: Sequence[Result],
    *,
    comparisons: Sequence[Comparison] = (),
    papers: Sequence[PaperView | None] = (),
) -> str:
    """A section a result: its table, its findings, its notes. The arguments are those of `page`."""
    parts = [_markdown(comparison_view(each)) for each in comparisons]
    for result, paper in zip(results, papers or [None] * len(results), strict=True):
        parts.append(_markdown(view_of(result)))
        if paper:
            parts.append(_paper(paper))
    return "\n".join(parts)


def csv_table(
    results: Sequence[Result],
    *,
    comparisons: Sequence[Comparison] = (),
    papers: Sequence[PaperView | None] = (),
) -> str:
    """One line a row and metric, unrounded, shares from 0 to 1. The arguments are those of `page`.

    A line of a comparison names all its models; with `papers` there are columns for the paper's figures, in
    percent.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ["task", "model", "kind", "row", "metric", *_INTERVAL, "spread"]
    columns += [f"difference_{key}" for key in _APART]
    counts = ["tokens", "tokens_per_second"] if any(row.tokens is not None for row in _rows(results)) else []
    published = ["paper_decoding", "paper", "paper_verdict"] if papers else []
    writer.writerow([*columns, *counts, *published])
    for result, paper in zip(results, papers or [None] * len(results), strict=True):
        named = [result.task, result.settings.model]
        beside = _published(paper)
        for row in result.rows:
            for metric in metrics_of(result) or ("",):
                line = _line(named, row, metric) + [getattr(row, key) for key in counts]
                writer.writerow(line + (beside.get((row.label, metric), [""] * 3) if published else []))
    for comparison in comparisons:
        named = [comparison.task_title, "; ".join(comparison.files)]
        for row in comparison.rows:
            for metric in metrics_of(comparison):
                writer.writerow(_line(named, row, metric) + [None] * len((*counts, *published)))
    return stream.getvalue()


def _rows(results: Sequence[Result]) -> Iterator[Row]:
    return (row for result in results for row in result.rows)


def _line(named: Sequence[str], row: Row, metric: str) -> list[Any]:
    measure, difference = row.measures.get(metric), (row.differences or {}).get(metric)
    return [
        *named,
        row.kind,
        row.label,
        metric,
        *(getattr(measure, key, None) for key in _INTERVAL),
        row.spread.get(metric),
        *(getattr(difference, key, None) for key in _APART),
    ]


def _published(paper: PaperView | None) -> dict[tuple[str, str], list[str]]:
    """What the paper has beside a row and metric of the run."""
    return {
        (row.row, cell.measured): [row.decoding, cell.paper, cell.verdict]
        for row in (paper.rows if paper else ())
        for cell in row.cells
        if row.row
    }


def _markdown(view: TableView) -> str:
    lines = [f"## {_escaped(view.title)}", ""]
    lines += [f"- {name}: {_escaped(value)}" for name, value in view.facts]
    counted = ["tokens", "tokens/s"] if any(row.tokens for row in view.rows) else []
    names = [*(metric_name(metric) for metric in view.metrics), *counted]
    lines += ["", "| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for kind, title in KINDS.items():
        rows = view.of_kind(kind)
        if rows:
            lines.append(f"| *{title}* |" + " |" * len(names))
        for row in rows:
            cells = [_cell(row.cells[metric], row.changed.get(metric, "")) for metric in view.metrics]
            cells += [row.tokens or "–", row.speed or "–"] if counted else []
            lines.append(f"| {_escaped(row.label)} | " + " | ".join(cells) + " |")
    if view.metrics:
        lines += [
            "",
            "In percent, with 95% intervals; differences are from the first row, on the same examples.",
        ]
    for layers in view.layers:
        shares = ", ".join(f"{layer}: {100 * share:.1f}%" for layer, _, share in layers.shares)
        lines += ["", f"{layers.heading} of {_escaped(layers.label)}: {shares}."]
    if view.findings or view.notes:
        lines += ["", *(f"- {_escaped(line)}" for line in (*view.findings, *view.notes))]
    return "\n".join([*lines, ""])


def _paper(view: PaperView) -> str:
    names = [metric_name(metric) for metric in view.metrics]
    lines = [f"### Beside the paper: {view.model}, {view.benchmark}", ""]
    lines += ["| paper | this run | " + " | ".join(names) + " |", "| --- | --- |" + " --- |" * len(names)]
    for row in view.rows:
        cells = " | ".join(_paper_cell(cell) for cell in row.cells)
        lines.append(f"| {row.decoding} | {_escaped(row.row) or 'not in this run'} | {cells} |")
    lines += ["", "Above: the paper's figure. Below: this run's, and where the paper's lies.", ""]
    return "\n".join([*lines, *(f"- {_escaped(note)}" for note in view.notes), ""])


def _paper_cell(cell: PaperCell) -> str:
    published = f"**{cell.paper or '–'}**"
    if not cell.value:
        return published
    interval = f" ({cell.interval})" if cell.interval else ""
    return f"{published}<br>{cell.value}{interval}{', ' if cell.verdict else ''}{cell.verdict}"


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
