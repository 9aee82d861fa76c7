"""`dola eval`: the benchmarks; here those that score given answers, every strategy from the same pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from dola.cli.eval_generation import gsm8k, strqa, tfqa
from dola.cli.eval_vicuna import vicuna
from dola.cli.measuring import Measuring, run
from dola.cli.options import ModelOptions, model_options
from dola.cli.scoring_options import (
    ContrastOptions,
    IgnoredOptions,
    OutputOptions,
    RowOptions,
    contrast_options,
    ignored_options,
    output_options,
    row_options,
)
from dola.cli.tables import result_table
from dola.report.view import view_of
from dola.result import Result
from dola.tasks.base import Task
from dola.tasks.factor import Factor
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC

DEFAULT_LAYERS = "-1"

_Command = Callable[..., Any]


def _measuring_options(command: _Command) -> _Command:
    """The options of both tasks, in the order in which the help shows them."""
    for option in (
        ignored_options,
        model_options,
        output_options,
        row_options,
        click.option(
            "--variants/--no-variants",
            default=True,
            show_default=True,
            help="Score post_softmax and per-token means beside each strategy, from the same pass.",
        ),
        contrast_options,
        click.option(
            "--early-exit-layers",
            "--strategy",
            "layers",
            multiple=True,
            metavar="LAYERS",
            help="`0,2,...,32` (candidates, then the mature layer), `low`, `high`, `auto`, `P,N` (static) or"
            " `-1` (vanilla), with settings as in `high:alpha=0.2`. Several times: all are scored in one pass"
            " and compared with the first.  [default: -1]",
        ),
    ):
        command = option(command)
    return command


@click.group("eval")
def evaluate() -> None:
    """Measure strategies on a benchmark, as the released scripts do, with intervals and controls.

    \b
    dola eval tfqa-mc --early-exit-layers -1 --early-exit-layers low --early-exit-layers high
    dola eval factor  --data-path expert_factor.csv --early-exit-layers -1 --early-exit-layers high
    dola eval gsm8k   --early-exit-layers -1 --early-exit-layers low --repetition_penalty 1.2

    Interrupted, the same command goes on where it stopped. `dola report` makes a page of the result.
    """


@evaluate.command("tfqa-mc")
@_measuring_options
@click.option("--prompts", type=click.Path(path_type=Path), help="The few-shot prompt: a file or its folder.")
def tfqa_mc(*, prompts: Path | None, **asked: Any) -> None:
    """TruthfulQA, multiple choice: MC1, MC2 and MC3."""
    _evaluate(TruthfulQAMC(load_demonstrations("tfqa", prompts)), **asked)


@evaluate.command("factor")
@_measuring_options
@click.option("--prefix-column", help="The column that the completions follow.  [default: as released]")
@click.option(
    "--own-seam",
    is_flag=True,
    help="Join prefix and completion as FACTOR's own evaluation does.",
)
def factor(*, prefix_column: str | None, own_seam: bool, **asked: Any) -> None:
    """FACTOR (wiki, news, expert): is the true completion the likeliest?"""
    _evaluate(Factor(prefix_column, own_seam), **asked)


for each in (gsm8k, strqa, tfqa, vicuna):
    evaluate.add_command(each)


def _evaluate(
    task: Task[Any],
    *,
    layers: tuple[str, ...],
    variants: bool,
    model: ModelOptions,
    contrast: ContrastOptions,
    rows: RowOptions,
    output: OutputOptions,
    ignored: IgnoredOptions,
) -> None:
    ignored.warn()
    path, result = run(
        Measuring(
            task=task,
            model=model,
            rows=rows,
            output=output,
            preset=contrast.preset,
            strategies=lambda _: contrast.strategies(layers or (DEFAULT_LAYERS,), task.name),
            variants=variants,
        )
    )
    console = Console()
    console.print(result_table(view_of(result), console))
    _released_last_line(console, result)
    click.echo(f"written: {path} (a page of it: dola report {path} -o report.html)", err=True)


def _released_last_line(console: Console, result: Result) -> None:
    """The released scripts end with the bare figures, which callers read off."""
    means = [measure.mean for measure in result.rows[0].measures.values()]
    if len(means) == 1:
        console.print(means[0], highlight=False)
        return
    console.print(f"\nFinal MC1/2/3: \n{', '.join(map(str, means))}", highlight=False, soft_wrap=True)
