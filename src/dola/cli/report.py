"""`dola report`: results as a page or a table, alone, side by side, or beside the paper's figures."""

from __future__ import annotations

from pathlib import Path

import click

from dola.reports.against import against_paper
from dola.reports.paper import MODELS
from dola.reports.write import FORMATS, Format, format_of, rendered
from dola.result import Result
from dola.result.files import check_writable, write_text
from dola.runs.across import across
from dola.runs.merge import merge_shards


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
@click.option("--against", type=click.Choice(["paper"]), help="Put each result beside the paper's figures.")
@click.option(
    "--paper-model",
    type=click.Choice(list(MODELS)),
    help="With --against: whose figures.  [default: the run's own model, or else llama-7b]",
)
def report(
    *,
    files: tuple[Path, ...],
    kind: Format | None,
    output: Path | None,
    against: str | None,
    paper_model: str | None,
) -> None:
    """Show the results of `dola eval` and `dola tune`: one HTML page that opens offline, or a table.

    \b
    dola report out.json -o report.html
    dola report out.json --against paper                    beside the published figures
    dola report a.json b.json                               two models, or two prompts, on the same examples
    dola report out_0.json out_1.json ... -o whole.json     shards joined: the result of the whole run
    """
    if paper_model and not against:
        raise click.UsageError("--paper-model says whose figures to show: it needs --against paper")
    results = {path: Result.load(path) for path in dict.fromkeys(files)}
    merged = merge_shards(results)
    for path, result in merged:
        if len(merged) < len(results):
            click.echo(f"{path}: {len(result.examples)} examples", err=True)
    shown = [result for _, result in merged]
    papers = [against_paper(result, model=paper_model) for result in shown] if against else []
    text = rendered(kind or _by_name(output), shown, across(merged), papers)
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
        return
    check_writable(output, inputs=files)
    write_text(output, text)
    click.echo(f"written: {output}", err=True)


def _by_name(output: Path | None) -> Format:
    return "md" if output is None or str(output) == "-" else format_of(output)
