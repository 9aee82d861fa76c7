"""`dola report`: results as a page, Markdown, CSV or JSON; shards of one run are joined."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dola.report.page import page
from dola.report.text import csv_table, markdown
from dola.report.view import view_of
from dola.runs.merge import merge_shards
from dola.runs.results import KEY, check_writable, read_result, write_text

FORMATS = ("html", "md", "csv", "json")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT...")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="[default: by the ending of -o, else md on a terminal]",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The file to write; `-`: standard output."
)
def report(*, files: tuple[Path, ...], kind: str | None, output: Path | None) -> None:
    """Show the results of `dola eval` and `dola tune`: one HTML page that opens offline, or a table.

    \b
    dola report out.json -o report.html
    dola report out_0.json out_1.json ... -o whole.json     shards joined: the result of the whole run
    """
    results = {path: read_result(path) for path in dict.fromkeys(files)}
    merged = merge_shards(results)
    shown = [result for _, result in merged]
    for path, result in merged:
        if len(merged) < len(results):
            click.echo(f"{path}: {len(result[KEY]['examples'])} examples", err=True)
    kind = kind or _by_name(output)
    text = _rendered(kind, shown)
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
        return
    check_writable(output)
    write_text(output, text)
    click.echo(f"written: {output}", err=True)


def _by_name(output: Path | None) -> str:
    ending = output.suffix.removeprefix(".").lower() if output else ""
    named = {"htm": "html", "markdown": "md"}.get(ending, ending)
    if named in FORMATS:
        return named
    return "md" if output is None or str(output) == "-" else "html"


def _rendered(kind: str, results: Sequence[Mapping[str, Any]]) -> str:
    if kind == "html":
        return page(results)
    if kind == "csv":
        return csv_table(results)
    if kind == "md":
        return markdown([view_of(result) for result in results])
    # One result is a result file again; several are a list of them.
    return json.dumps(results[0] if len(results) == 1 else results, ensure_ascii=False) + "\n"
