"""`dola tune`: which candidate layers suit a model, all of them scored in one pass over the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
from dola.errors import StrategyError
from dola.report.page import layer_figure
from dola.report.view import percent, view_of
from dola.runs.measured import Measured
from dola.runs.results import KEY, write_text
from dola.runs.tune import Candidate, tuning_json, two_fold
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC

if TYPE_CHECKING:
    from dola.strategies import Depth, Strategy

# Up to 40 layers the paper has two buckets, beyond one for every 20 layers (section 3.1).
_HALVED_UP_TO = 40
_BUCKET = 20
_STATIC = "static "


@click.group()
def tune() -> None:
    """Choose the candidate layers for a model by two-fold validation, as the paper does."""


@tune.command("tfqa-mc")
@click.option(
    "--bucket",
    "buckets",
    multiple=True,
    metavar="LAYERS",
    help="A bucket to choose from, as in --early-exit-layers. Several times.  [default: low and high; in a"
    " model of more than 40 layers one for every 20]",
)
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
    sweep = _Sweep(buckets, contrast, task.name, metric, output.seed)
    path, result = run(
        Measuring(
            task=task,
            model=model,
            rows=rows,
            output=output,
            preset=contrast.preset,
            strategies=sweep.strategies,
            variants=False,
            sweep=lambda label: label.startswith(_STATIC),
            extra=sweep.tuning,
        )
    )
    figure = path.with_name(f"{path.name}.svg")
    write_text(figure, layer_figure(result))
    _show(result)
    click.echo(f"written: {path}, {figure} (a page: dola report {path} -o report.html)", err=True)


class _Sweep:
    """What is compared, and, once it is scored, the choice."""

    def __init__(
        self, buckets: Sequence[str], contrast: ContrastOptions, task: str, metric: str, seed: int
    ) -> None:
        self._buckets = tuple(buckets)
        self._contrast = contrast
        self._task = task
        self._metric = metric
        self._seed = seed
        self._strategies: list[tuple[str, Strategy]] = []

    def strategies(self, depth: Depth) -> list[tuple[str, Strategy]]:
        """Vanilla, the buckets, then every static layer."""
        texts = ["-1", *(self._buckets or _default_buckets(depth.num_layers))]
        made = self._contrast.strategies(texts, self._task)
        static = [f"{layer},{depth.num_layers}" for layer in range(depth.num_layers)]
        made += [
            (f"{_STATIC}{layer}", strategy)
            for layer, (_, strategy) in enumerate(self._contrast.strategies(static, self._task))
        ]
        self._strategies = [(label, strategy.resolve(depth)) for label, strategy in made]
        for label, strategy in self._strategies[1:]:
            if not strategy.candidates:
                raise StrategyError(f"--bucket {label}: expected candidate layers, as in '0,2,4,-1' or 'low'")
        return made

    def tuning(self, measured: Measured) -> dict[str, Any]:
        """The two-fold choice among the buckets."""
        by_label = {row.label: at for at, row in enumerate(measured.rows)}
        candidates = [
            Candidate(by_label[label], strategy.candidates, _flag(strategy))
            for label, strategy in self._strategies[1:]
            if label in by_label and not label.startswith(_STATIC)
        ]
        static = {
            int(label.removeprefix(_STATIC)): at
            for label, at in by_label.items()
            if label.startswith(_STATIC)
        }
        found = two_fold(measured, candidates, self._metric, seed=self._seed)
        return {"tuning": tuning_json(measured, found, candidates, static)}


def _default_buckets(num_layers: int) -> list[str]:
    if num_layers <= _HALVED_UP_TO:
        return ["low", "high"]
    starts = range(0, num_layers, _BUCKET)
    return [
        ",".join(map(str, [*range(start, min(start + _BUCKET, num_layers), 2), num_layers]))
        for start in starts
    ]


def _flag(strategy: Strategy) -> str:
    """The strategy's layers alone: its other settings are the preset's or given as flags."""
    return ",".join(str(exit.layer) for exit in strategy.exits)


def _show(result: dict[str, Any]) -> None:
    console = Console()
    ours, view = result[KEY], view_of(result)
    tuning = ours["tuning"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("in %")
    for metric in view.metrics:
        table.add_column(metric, no_wrap=True)
    for row in view.rows:
        cells = (f"{row.cells[metric].value} ({row.cells[metric].interval})" for metric in view.metrics)
        table.add_row(Text(row.label), *cells, style="bold cyan" if row.label == tuning["chosen"] else "")
    console.print(Text(view.title, style="bold"), "", table, "", sep="\n")
    for fold in tuning["folds"]:
        console.print(
            f"• one half chooses {fold['chosen']} ({percent(fold['on_own'])}); on the other half it reaches"
            f" {percent(fold['held_out'])}",
            highlight=False,
        )
    for line in (tuning["verdict"], *_of_bucket(view.findings, tuning["chosen"]), *view.notes):
        console.print(f"• {line}", highlight=False, markup=False)
    console.print(f"\n{tuning['flag']}", highlight=False, soft_wrap=True)


def _of_bucket(findings: Sequence[str], label: str) -> list[str]:
    """What is said of the chosen bucket; of 30 static layers it would be too much."""
    return [line for line in findings if line.startswith(f"{label}:")]
