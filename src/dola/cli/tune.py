"""`dola tune`: which layers and settings suit a model; here all of them scored in one pass over the data."""

from __future__ import annotations

from pathlib import Path

import click

from dola.cli.measuring import Measuring, run
from dola.cli.options import ModelOptions, model_options
from dola.cli.scoring_options import (
    ContrastOptions,
    OutputOptions,
    RowOptions,
    contrast_options,
    output_options,
    row_options,
)
from dola.cli.sweep import STATIC, Sweep, TriedOptions, show_choice, tried_options
from dola.cli.tune_generation import gsm8k, strqa
from dola.report.page import layer_figure
from dola.runs.results import KEY, write_text
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC


@click.group()
def tune() -> None:
    """Choose layers, and what else a strategy has to tune, by two-fold validation, as the paper does."""


for each in (gsm8k, strqa):
    tune.add_command(each)


@tune.command("tfqa-mc")
@tried_options
@click.option(
    "--metric",
    type=click.Choice(["MC1", "MC2", "MC3"], case_sensitive=False),
    default="MC3",
    show_default=True,
    help="What the choice is made by.",
)
@click.option("--prompts", type=click.Path(path_type=Path), help="The few-shot prompt: a file or its folder.")
@contrast_options
@row_options
@output_options
@model_options
def tfqa_mc(
    *,
    tried: TriedOptions,
    metric: str,
    prompts: Path | None,
    contrast: ContrastOptions,
    rows: RowOptions,
    output: OutputOptions,
    model: ModelOptions,
) -> None:
    """On TruthfulQA, multiple choice: what there is to choose from and vanilla, from one pass; of DoLa every
    single static layer too.

    Writes the result and, of static layers, a figure beside it (.svg); `dola report` makes a page of both.
    """
    task = TruthfulQAMC(load_demonstrations("tfqa", prompts))
    sweep = Sweep(tried, contrast, task.name, metric, output.seed, together=True)
    path, result = run(
        Measuring(
            task=task,
            model=model,
            rows=rows,
            output=output,
            preset=contrast.preset,
            strategies=sweep.strategies,
            variants=False,
            sweep=lambda label: label.startswith(STATIC),
            extra=sweep.tuning,
        )
    )
    written = [path]
    if result[KEY]["tuning"]["static"]:
        written.append(path.with_name(f"{path.name}.svg"))
        write_text(written[-1], layer_figure(result))
    show_choice(result)
    click.echo(
        f"written: {', '.join(map(str, written))} (a page: dola report {path} -o report.html)", err=True
    )
