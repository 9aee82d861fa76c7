"""`dola eval gsm8k`, `strqa`, `tfqa`: the benchmarks whose answers the model writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console

from dola.cli.generating import Generating, run_generation
from dola.cli.generation_options import (
    DecodingOptions,
    GenerationOutput,
    RetryOptions,
    decoding_options,
    generation_output_options,
    retry_options,
)
from dola.cli.loading import tell
from dola.cli.options import ModelOptions, model_options
from dola.cli.scoring_options import ContrastOptions, RowOptions, contrast_options, row_options
from dola.cli.tables import result_table
from dola.report.view import view_of
from dola.result import Result
from dola.tasks.base import GenerationTask
from dola.tasks.gsm8k import Gsm8k
from dola.tasks.prompts import Demonstrations, load_demonstrations
from dola.tasks.strqa import StrategyQA
from dola.tasks.tfqa import TfqaOpen

DEFAULT_LAYERS = "-1"

_Command = Callable[..., Any]
Reasoning = Callable[[Demonstrations, int | None, Any], GenerationTask[Any]]

layers_option = click.option(
    "--early-exit-layers",
    "--strategy",
    "layers",
    multiple=True,
    metavar="LAYERS",
    help="`0,2,...,32` (candidates, then the mature layer), `low`, `high`, `auto`, `P,N` (static) or `-1`"
    " (vanilla), with settings as in `high:alpha=0.2`. Several times: each generates, and is compared with"
    " the first.  [default: -1]",
)
prompts_option = click.option(
    "--prompts", type=click.Path(path_type=Path), help="The few-shot prompt: a file or its folder."
)


def generation_options(command: _Command) -> _Command:
    """The options of every task that generates, in the order in which the help shows them."""
    for option in (
        model_options,
        generation_output_options,
        row_options,
        contrast_options,
        decoding_options,
        layers_option,
    ):
        command = option(command)
    return command


@click.command("gsm8k")
@generation_options
@retry_options
@prompts_option
def gsm8k(**asked: Any) -> None:
    """GSM8K: word problems, eight worked examples before each, accuracy of the number at the end."""
    _reason("gsm8k", Gsm8k, **asked)


@click.command("strqa")
@generation_options
@retry_options
@prompts_option
def strqa(**asked: Any) -> None:
    """StrategyQA: yes or no in a few steps, six worked examples before each."""
    _reason("strqa", StrategyQA, **asked)


@click.command("tfqa")
@generation_options
@prompts_option
@click.option("--do-rating", is_flag=True, help="Have the answers judged afterwards: see `dola judge tfqa`.")
@click.option(
    "--gpt3-config",
    type=click.Path(path_type=Path),
    help="With --do-rating: the judges' endpoint, as JSON: gpt_truth, gpt_info, api_key, base_url.",
)
def tfqa(*, prompts: Path | None, do_rating: bool, gpt3_config: Path | None, **asked: Any) -> None:
    """TruthfulQA, open-ended: the answers alone; judges say which are true and informative."""
    from dola.cli.judge_options import judges_of_config
    from dola.cli.judge_tfqa import rate_result

    if do_rating and gpt3_config is not None:
        judges_of_config(gpt3_config)  # a mistake in it is told before the hours of work
    if gpt3_config is not None and not do_rating:
        tell("--gpt3-config: without effect, for --do-rating is not given")
    path, _ = _generate(TfqaOpen(load_demonstrations("tfqa", prompts)), **asked)
    if not do_rating:
        return
    if gpt3_config is None:
        click.echo(
            "--do-rating: no --gpt3-config was given, so nothing is rated; the result is written, and"
            f" `dola judge tfqa {path}` rates it",
            err=True,
        )
        return
    rate_result(path, gpt3_config)


def _reason(
    name: Literal["gsm8k", "strqa"],
    kind: Reasoning,
    *,
    prompts: Path | None,
    retrying: RetryOptions,
    decoding: DecodingOptions,
    output: GenerationOutput,
    **asked: Any,
) -> None:
    demonstrations = load_demonstrations(name, prompts)
    task = kind(demonstrations, output.seed if retrying.do_shuffle else None, retrying.extraction)
    _, result = _generate(
        task,
        decoding=decoding,
        output=output,
        attempts=retrying.attempts(name, sampled=decoding.sampled(name)),
        shuffled=retrying.do_shuffle,
        settings=(("extraction", retrying.extraction),),
        **asked,
    )
    # The released scripts end with the bare figure, which callers read off.
    metric = "accuracy_released" if retrying.extraction == "released" else "accuracy"
    Console().print(result.rows[0].measures[metric].mean, highlight=False)


def _generate(
    task: GenerationTask[Any],
    *,
    layers: tuple[str, ...],
    model: ModelOptions,
    contrast: ContrastOptions,
    rows: RowOptions,
    decoding: DecodingOptions,
    output: GenerationOutput,
    attempts: int = 1,
    shuffled: bool = False,
    settings: tuple[tuple[str, Any], ...] = (),
) -> tuple[Path, Result]:
    path, result = run_generation(
        Generating(
            task=task,
            model=model,
            rows=rows,
            output=output,
            decoding=decoding,
            preset=contrast.preset,
            strategies=lambda _: contrast.strategies(layers or (DEFAULT_LAYERS,), task.name),
            attempts=attempts,
            shuffled=shuffled,
            settings=settings,
        )
    )
    show(path, result)
    return path, result


def show(path: Path, result: Result) -> None:
    """The table, and where the result is."""
    console = Console()
    console.print(result_table(view_of(result), console))
    click.echo(f"written: {path} (a page of it: dola report {path} -o report.html)", err=True)
