"""`dola eval`: a command for every benchmark, with the flags of its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from rich.console import Console

from dola.cli.eval_tfqa import tfqa
from dola.cli.eval_vicuna import vicuna
from dola.cli.flags import settings
from dola.cli.run_options import (
    IgnoredOptions,
    OutputOptions,
    ParallelOptions,
    ignored_options,
    output_options,
    parallel_options,
)
from dola.cli.tables import show_result
from dola.result import Result
from dola.runs.evaluate import run
from dola.runs.spec import RunSpec, settings_for
from dola.tasks.benchmark import Benchmark
from dola.tasks.registry import benchmark_names, find_benchmark

_Command = Callable[..., Any]
# Those with flags beside the settings of a run have a file of their own.
_OF_THEIR_OWN = {"tfqa": tfqa, "vicuna": vicuna}


class _Benchmarks(click.Group):
    """A command for each benchmark, those of other packages too."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(benchmark_names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in benchmark_names():
            return None
        return _OF_THEIR_OWN.get(cmd_name) or _command(find_benchmark(cmd_name))


@click.group("eval", cls=_Benchmarks)
def evaluate() -> None:
    """Measure strategies on a benchmark, as the released scripts do, with intervals and controls.

    \b
    dola eval tfqa-mc --early-exit-layers -1 --early-exit-layers low --early-exit-layers high
    dola eval factor  --data-path expert_factor.csv --early-exit-layers -1 --early-exit-layers high
    dola eval gsm8k   --early-exit-layers -1 --early-exit-layers low --repetition_penalty 1.2

    Interrupted, the same command goes on where it stopped. `dola report` makes a page of the result.
    """


def _command(benchmark: Benchmark) -> click.Command:
    """The command of a benchmark that needs no more than a run."""

    def measured(
        *,
        said: dict[str, Any],
        output: OutputOptions,
        parallel: ParallelOptions,
        ignored: IgnoredOptions | None = None,
    ) -> None:
        if ignored is not None:
            ignored.warn()
        parallel.check(said)
        spec = RunSpec(benchmark.name, **said)
        way = output.way(spec)
        result = run(spec, way)
        show_result(result, way)
        _released_last_line(result)

    made: _Command = output_options(parallel_options(settings(*settings_for(benchmark))(measured)))
    made = made if benchmark.generates else ignored_options(made)
    return click.command(benchmark.name, help=benchmark.summary)(made)


def _released_last_line(result: Result) -> None:
    """The released scripts end with the bare figures of the first strategy, which callers read off."""
    console, measures = Console(), result.rows[0].measures
    if result.kind == "generation":
        released = result.settings.extra.get("extraction") == "released"
        metric = "accuracy_released" if released else "accuracy"
        if metric in measures:
            console.print(measures[metric].mean, highlight=False)
        return
    means = [measure.mean for measure in measures.values()]
    if len(means) == 1:
        console.print(means[0], highlight=False)
        return
    console.print(f"\nFinal MC1/2/3: \n{', '.join(map(str, means))}", highlight=False, soft_wrap=True)
