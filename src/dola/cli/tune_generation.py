"""`dola tune gsm8k` and `strqa`: which layers and settings suit a model where it reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import click

from dola.cli.generating import Generating, run_generation
from dola.cli.generation_options import (
    DecodingOptions,
    GenerationOutput,
    decoding_options,
    generation_output_options,
)
from dola.cli.options import ModelOptions, model_options
from dola.cli.scoring_options import ContrastOptions, RowOptions, contrast_options, row_options
from dola.cli.sweep import Sweep, TriedOptions, show_choice, tried_options
from dola.tasks.base import GenerationTask
from dola.tasks.gsm8k import Gsm8k
from dola.tasks.prompts import Demonstrations, load_demonstrations
from dola.tasks.strqa import StrategyQA

_Command = Callable[..., Any]


def _tuning_options(command: _Command) -> _Command:
    for option in (
        model_options,
        generation_output_options,
        row_options,
        decoding_options,
        contrast_options,
        click.option(
            "--prompts", type=click.Path(path_type=Path), help="The few-shot prompt: a file or its folder."
        ),
        click.option(
            "--metric",
            type=click.Choice(["accuracy", "accuracy_released"]),
            default="accuracy",
            show_default=True,
            help="What the choice is made by.",
        ),
        tried_options,
    ):
        command = option(command)
    return command


@click.command("gsm8k")
@_tuning_options
def gsm8k(*, rows: RowOptions, **asked: Any) -> None:
    """On GSM8K: vanilla and what there is to choose from, on 1,000 examples of the training file unless
    --data-version says otherwise; the test examples choose nothing.
    """
    validation = replace(rows, data_version=rows.data_version or "validation")
    _tune("gsm8k", Gsm8k, rows=validation, **asked)


@click.command("strqa")
@_tuning_options
def strqa(**asked: Any) -> None:
    """On StrategyQA: vanilla and what there is to choose from. There is but one file of questions: what the
    halves reach on each other is the figure to quote.
    """
    _tune("strqa", StrategyQA, **asked)


def _tune(
    name: Literal["gsm8k", "strqa"],
    kind: Callable[[Demonstrations], GenerationTask[Any]],
    *,
    tried: TriedOptions,
    metric: str,
    prompts: Path | None,
    contrast: ContrastOptions,
    decoding: DecodingOptions,
    rows: RowOptions,
    output: GenerationOutput,
    model: ModelOptions,
) -> None:
    sweep = Sweep(tried, contrast, name, metric, output.seed, together=False)
    path, result = run_generation(
        Generating(
            task=kind(load_demonstrations(name, prompts)),
            model=model,
            rows=rows,
            output=output,
            decoding=decoding,
            preset=contrast.preset,
            strategies=sweep.strategies,
            extra=sweep.tuning,
        )
    )
    show_choice(result)
    click.echo(f"written: {path} (a page: dola report {path} -o report.html)", err=True)
