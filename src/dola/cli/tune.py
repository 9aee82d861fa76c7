"""`dola tune`: which candidate layers suit a model; here all of them scored in one pass over the data."""

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
from dola.cli.sweep import STATIC, Sweep, bucket_option, show_choice
from dola.cli.tune_generation import gsm8k, strqa
from dola.report.page import layer_figure
from dola.runs.results import write_text
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC


@click.group()
def tune() -> None:
    """Choose the candidate layers for a model by two-fold validation, as the paper does."""


for each in (gsm8k, strqa):
    tune.add_command(each)


@tune.command("tfqa-mc")
@bucket_option
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
    buckets: tuple[str, ...],
    metric: str,
    prompts: Path | None,
    contrast: ContrastOptions,
    rows: RowOptions,
    output: OutputOptions,
    model: ModelOptions,
) -> None:
    """On TruthfulQA, multiple choice: every bucket, every single static layer, and vanilla, from one pass.

    Writes the result and, beside it, a figure (.svg); `dola report` makes a page of both.
    """
    task = TruthfulQAMC(load_demonstrations("tfqa", prompts))
    sweep = Sweep(buckets, contrast, task.name, metric, output.seed, static=True)
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
    figure = path.with_name(f"{path.name}.svg")
    write_text(figure, layer_figure(result))
    show_choice(result)
    click.echo(f"written: {path}, {figure} (a page: dola report {path} -o report.html)", err=True)
