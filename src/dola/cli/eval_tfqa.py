"""`dola eval tfqa`: a run, and its rating where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dola.cli.flags import settings
from dola.cli.loading import tell
from dola.cli.run_options import OutputOptions, ParallelOptions, output_options, parallel_options
from dola.cli.tables import show_result
from dola.runs.evaluate import run
from dola.runs.spec import RunSpec, settings_for
from dola.tasks.tfqa import BENCHMARK


@click.command(BENCHMARK.name, help=BENCHMARK.summary)
@output_options
@parallel_options
@settings(*settings_for(BENCHMARK))
@click.option("--do-rating", is_flag=True, help="Have the answers judged afterwards: see `dola judge tfqa`.")
@click.option(
    "--gpt3-config",
    type=click.Path(path_type=Path),
    help="With --do-rating: the judges' endpoint, as JSON: gpt_truth, gpt_info, api_key, base_url.",
)
def tfqa(
    *,
    said: dict[str, Any],
    output: OutputOptions,
    parallel: ParallelOptions,
    do_rating: bool,
    gpt3_config: Path | None,
) -> None:
    from dola.cli.judge_options import judges_of_config
    from dola.cli.judge_tfqa import rate_result

    if do_rating and gpt3_config is not None:
        judges_of_config(gpt3_config)  # a mistake in it is told before the hours of work
    if gpt3_config is not None and not do_rating:
        tell("--gpt3-config: without effect, for --do-rating is not given")
    parallel.check(said)
    spec = RunSpec(BENCHMARK.name, **said)
    way = output.way(spec)
    show_result(run(spec, way), way)
    path = way.output
    if not do_rating or path is None:
        return
    if gpt3_config is None:
        tell(
            "--do-rating: no --gpt3-config was given, so nothing is rated; the result is written, and"
            f" `dola judge tfqa {path}` rates it"
        )
        return
    rate_result(path, gpt3_config)
