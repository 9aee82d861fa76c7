"""`dola judge agreement`: how far two judges agree, or a judge and people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dola.cli.asking import written
from dola.runs.results import KEY, check_writable, write_result
from dola.runs.spec import DEFAULT_SEED

if TYPE_CHECKING:
    from dola.runs.agreement import Agreement, Compared
    from dola.statistics import Interval

_PATH = click.Path(path_type=Path)
FORMAT = 1


@click.command("agreement")
@click.argument("judge", metavar="A", type=_PATH)
@click.argument("other", metavar="B", type=_PATH)
@click.option("--output-path", "-o", type=_PATH, help="The figures as JSON.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=DEFAULT_SEED, show_default=True, help="Bootstrap's."
)
def agreement(*, judge: Path, other: Path, output_path: Path | None, seed: int) -> None:
    """How far A and B agree: Cohen's kappa, confusion, and each one's bias.

    \b
    dola judge agreement review-gpt-4o.jsonl review-qwen.jsonl
    dola judge agreement out.json labels.csv

    A is what a judge said: a result that `dola judge tfqa` has rated, or a review of `dola judge pairwise`. B
    is another of the same answers, or people's labels: a CSV file with the columns `index` or `question_id`,
    and `label` (yes, no; or a, b, tie), and `kind`, `strategy` or `turn` where an index does not say which.
    """
    from dola.runs.agreement import compare, findings
    from dola.runs.labels import read_labels, read_people

    if output_path is not None:
        check_writable(output_path, inputs=[judge, other])
    if judge.suffix.lower() == ".csv":
        judge, other = other, judge
    one = read_labels(judge)
    two = read_people(other, one) if other.suffix.lower() == ".csv" else read_labels(other)
    compared = compare(one, two, seed=seed)
    names = (judge.name, other.name) if judge.name != other.name else (str(judge), str(other))
    found = findings(compared, names)
    show(compared, found, names)
    if output_path is not None:
        ours = {"format": FORMAT, "kind": "agreement", "a": str(judge), "b": str(other), "seed": seed}
        write_result(output_path, {KEY: {**ours, **compared.as_json(), "findings": found}})
        written(output_path)


def show(compared: Compared, findings: list[str], names: tuple[str, str]) -> None:
    """Everything that the command says."""
    console = Console(emoji=False)
    for each in compared.agreements:
        title = f"{each.kind}: " if each.kind else ""
        console.print(Text(f"{title}{each.items} items that both have labelled", style="bold"))
        console.print(f"same label: {_percent(each.same)}", highlight=False)
        console.print(f"Cohen's kappa: {_number(each.kappa)}", highlight=False)
        console.print("", _confusion(each, names), "", sep="\n")
    for name, bias in zip(names, compared.biases, strict=True):
        if bias.position is not None:
            console.print(Text(f"{name}: {_percent(bias.position)} of winners stood first"))
        if bias.length is not None:
            console.print(Text(f"{name}: {_length(bias.length, compared)}"))
    for line in findings:
        console.print(f"• {line}", highlight=False, markup=False)


def _confusion(each: Agreement, names: tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(Text(f"{names[0]} below, {names[1]} across"), overflow="fold")
    for label in each.labels:
        table.add_column(Text(label), justify="right")
    for label, row in zip(each.labels, each.confusion, strict=True):
        table.add_row(Text(label), *map(str, row))
    return table


def _length(bias: Interval, compared: Compared) -> str:
    if compared.agreements[0].kind:
        return f"{_percent(bias, signed='+')} points more yes to the longer half of the answers"
    return f"the longer answer won {_percent(bias)} of decided pairs"


def _percent(interval: Interval, *, signed: str = "") -> str:
    low, high = interval.low, interval.high
    spread = "" if low is None or high is None else f" ({100 * low:{signed}.1f} to {100 * high:{signed}.1f})"
    unit = "" if signed else "%"
    return f"{100 * interval.mean:{signed}.1f}{unit}{spread}"


def _number(interval: Interval | None) -> str:
    if interval is None:
        return "not defined"
    low, high = interval.low, interval.high
    return f"{interval.mean:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")
