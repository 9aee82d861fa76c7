"""`dola tune`: which layers and settings suit a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dola.cli.choice import show_choice
from dola.cli.flags import settings
from dola.cli.run_options import OutputOptions, ParallelOptions, output_options, parallel_options
from dola.reports.page import layer_figure
from dola.result.files import write_text
from dola.runs.spec import RunSpec, settings_for
from dola.runs.sweep import Tried
from dola.runs.tuning import METRICS, run_tuning
from dola.tasks.registry import find_benchmark

_Command = Callable[..., Any]
# Neither the strategies nor how an answer is tried for again is a choice here.
_FIXED = ("strategies", "variants", "retry", "do_shuffle", "extraction")


@click.group()
def tune() -> None:
    """Choose layers, and what else a strategy has to tune, by two-fold validation, as the paper does."""


def _tuning_options(task: str, *metrics: str) -> Callable[[_Command], _Command]:
    """The options of a task's command, in the order in which the help shows them."""
    taken = [name for name in settings_for(find_benchmark(task)) if name not in _FIXED]

    def decorate(command: _Command) -> _Command:
        for option in (
            output_options,
            parallel_options,
            settings(*taken),
            click.option(
                "--metric",
                type=click.Choice(metrics, case_sensitive=False),
                default=METRICS[task],
                show_default=True,
                help="What the choice is made by.",
            ),
            click.option(
                "--bucket",
                "--early-exit-layers",
                "buckets",
                multiple=True,
                metavar="LAYERS",
                help="Choose among these instead: layers, or any strategy, as in 'sled:low:rate=2'. Several"
                " times.",
            ),
            click.option(
                "--strategy",
                metavar="NAME",
                help="Choose among what this strategy has to tune: dola (its layers), sled (layers, rate and"
                " scale), delta (M and L), static, or another's.  [default: dola: low and high; in a model of"
                " more than 40 layers a bucket for every 20]",
            ),
        ):
            command = option(command)
        return command

    return decorate


@tune.command("tfqa-mc")
@_tuning_options("tfqa-mc", "MC1", "MC2", "MC3")
def tfqa_mc(**asked: Any) -> None:
    """On TruthfulQA, multiple choice: what there is to choose from and vanilla, from one pass; of DoLa every
    single static layer too.

    Writes the result and, of static layers, a figure beside it (.svg); `dola report` makes a page of both.
    """
    _tune("tfqa-mc", **asked)


@tune.command("gsm8k")
@_tuning_options("gsm8k", "accuracy", "accuracy_released")
def gsm8k(*, said: dict[str, Any], **asked: Any) -> None:
    """On GSM8K: vanilla and what there is to choose from, on 1,000 examples of the training file unless
    --data-version says otherwise; the test examples choose nothing.
    """
    _tune("gsm8k", said={"data_version": "validation", **said}, **asked)


@tune.command("strqa")
@_tuning_options("strqa", "accuracy", "accuracy_released")
def strqa(**asked: Any) -> None:
    """On StrategyQA: vanilla and what there is to choose from. There is but one file of questions: what the
    halves reach on each other is the figure to quote.
    """
    _tune("strqa", **asked)


def _tune(
    task: str,
    *,
    strategy: str | None,
    buckets: tuple[str, ...],
    metric: str,
    said: dict[str, Any],
    output: OutputOptions,
    parallel: ParallelOptions,
) -> None:
    parallel.check(said)
    spec = RunSpec(task, **said)
    # Of its own: the released scripts' is the evaluation's.
    way = output.way(spec, Path(f"./{task}_tuned"))
    result = run_tuning(spec, Tried(strategy, buckets), way, metric)
    show_choice(result)
    written = [str(way.output), *_figure(way.output, result.tuning and result.tuning.static, result)]
    click.echo(f"written: {', '.join(written)} (a page: dola report {way.output} -o report.html)", err=True)


def _figure(path: Path | None, static: object, result: Any) -> list[str]:
    """The figure of the static layers beside the result, where there are any."""
    if path is None or not static:
        return []
    figure = path.with_name(f"{path.name}.svg")
    write_text(figure, layer_figure(result))
    return [str(figure)]
