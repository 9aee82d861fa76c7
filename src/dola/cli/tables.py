"""A result on a terminal: means with intervals, differences from the first row, layers, and words.

It fits 80 columns with three metrics: so a difference stands below its mean, and labels may break.
"""

from __future__ import annotations

import click
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dola.reports.view import KINDS, Cell, LayersView, TableView, metric_name, view_of
from dola.result import Result
from dola.runs.evaluate import Way

_BAR = 24
# A longer heading may break.
_WRAPPED = 12


def show_result(result: Result, way: Way) -> None:
    """The table, and where the result is."""
    console = Console()
    console.print(result_table(view_of(result), console))
    click.echo(f"written: {way.output} (a page of it: dola report {way.output} -o report.html)", err=True)


def result_table(view: TableView, console: Console) -> RenderableType:
    """Everything that the command says at its end."""
    parts: list[RenderableType] = [Text(view.title, style="bold"), Text(), _means(view), Text()]
    parts += [_layers(layers, console) for layers in view.layers]
    parts += [Text(f"• {line}") for line in view.findings]
    parts += [Text(f"• {line}", style="dim") for line in view.notes]
    return Group(*parts)


def _means(view: TableView) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    head = "in %, 95% intervals" if view.metrics else ""
    table.add_column(head, overflow="fold", min_width=14)
    for metric in view.metrics:
        table.add_column(metric_name(metric), no_wrap=len(metric_name(metric)) < _WRAPPED)
    if view.generation:
        table.add_column("tokens", justify="right")
        table.add_column("tokens/s", justify="right")
    for kind, title in KINDS.items():
        rows = view.of_kind(kind)
        if rows:
            table.add_section()
            table.add_row(Text(title, style="dim italic"))
        for row in rows:
            cells = [_cell(row.cells[metric], row.changed.get(metric, "")) for metric in view.metrics]
            speed = [Text(row.tokens), Text(row.speed)] if view.generation else []
            table.add_row(Padding(Text(row.label), (0, 0, 0, 1)), *cells, *speed)
    return table


def _cell(cell: Cell, changed: str) -> Text:
    """Mean, then the difference from the first row, then its p-value, a line each."""
    text = Text.assemble((cell.value, "bold"), (_bracketed(cell.interval), "dim"))
    if cell.difference:
        style = "cyan" if cell.beyond_chance else "dim"
        text.append(f"\n{cell.difference}", style=style)
        text.append(_bracketed(cell.difference_interval), style="dim")
        text.append(f"\n{cell.p} {changed}".rstrip(), style=style)
    return text


def _bracketed(interval: str) -> str:
    return f" ({interval})" if interval else ""


def _layers(layers: LayersView, console: Console) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    bar = "#" if console.options.ascii_only else "█"
    for layer, count, share in layers.shares:
        length = round(share * _BAR)
        table.add_row(
            f"layer {layer}", Text(bar * length, style="cyan"), f"{100 * share:.1f}%", f"{count} tokens"
        )
    return Group(Text(f"{layers.heading} of {layers.label}"), table, Text())
