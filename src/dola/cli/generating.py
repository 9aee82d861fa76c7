"""What the benchmarks that generate have in common: plan, generate what is missing, summarise, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from dola.cli.generation_options import DecodingOptions, GenerationOutput
from dola.cli.loading import load_for, tell
from dola.cli.measuring import TITLES, Strategies, command_line, depth_for, dtype_for, with_numbers
from dola.cli.options import ModelOptions
from dola.cli.progress import GenerationMeans, Running
from dola.cli.scoring_options import RowOptions
from dola.result import Result, Settings
from dola.runs.completions import GenerationRecord, open_completions
from dola.runs.fingerprint import model_identity
from dola.runs.generating import LocalGenerationExecutor, generate_missing, lacking
from dola.runs.generation_measured import (
    measure_generation,
    outcome_of,
    penalty_findings,
    released_of,
    summarise_generation,
)
from dola.runs.generation_plan import GenerationConfig, GenerationPlan, make_generation_plan
from dola.runs.journal import Records
from dola.runs.manifest import environment
from dola.runs.measured import Measured
from dola.runs.results import check_writable, result_of
from dola.runs.variants import Lineup, line_up
from dola.tasks.base import Dataset, GenerationTask


@dataclass(frozen=True)
class Generating:
    """One run, as asked for.

    Attributes:
        strategies: those asked for, written without knowing the model.
        attempts: how often to generate where the released rule finds no answer.
        shuffled: whether each attempt has another prompt.
        writer: the task as it writes the released output of the strategy with this place and label.
        extra: fields of the result that are made from the figures.
        settings: what to add to the result's settings.
    """

    task: GenerationTask[Any]
    model: ModelOptions
    rows: RowOptions
    output: GenerationOutput
    decoding: DecodingOptions
    preset: str
    strategies: Strategies
    attempts: int = 1
    shuffled: bool = False
    writer: Callable[[int, str], GenerationTask[Any]] | None = None
    extra: Callable[[Measured], dict[str, Any]] = lambda _: {}
    settings: tuple[tuple[str, Any], ...] = ()


def run_generation(asked: Generating, path: Path | None = None) -> tuple[Path, Result]:
    """Generate, summarise and write; gives the result's path (`path`, or the task's) and content.

    Everything that can be refused is refused before the model loads, the data first: it is the quickest.
    """
    dataset = asked.task.load(asked.rows.data_path, version=asked.rows.data_version)
    path = path or asked.output.path(asked.task.name, asked.rows.shard_id)
    check_writable(path)
    lineup, config = _line_up(asked)
    for line in penalty_findings(_penalties(lineup, config.penalties)):
        tell(line)
    plan = make_generation_plan(asked.task, dataset, config)
    with open_completions(path, plan.manifest, overwrite=asked.output.overwrite) as records:
        _generate(asked, plan, lineup, records)
        result = _result(asked, dataset, plan, lineup, records)
        result.save(path)
    return path, result


def _line_up(asked: Generating) -> tuple[Lineup, GenerationConfig]:
    """What generates, every layer checked against the model's configuration."""
    model = asked.model
    model.placement.load_arguments_here()  # that the device is there is the cheapest to see
    depth = depth_for(model)
    lineup = line_up(with_numbers(asked.strategies(depth), depth), variants=False)
    return lineup, GenerationConfig(
        model_identity=model_identity(model.model_name),
        dtype=dtype_for(model),
        strategies=tuple(str(strategy) for strategy in lineup.scored),
        versions=tuple(strategy.version for strategy in lineup.scored),
        penalties=asked.decoding.penalties(lineup.scored, depth, asked.task.name, asked.preset),
        decoding=asked.decoding.settings(asked.task.name, asked.output.seed),
        selection=asked.rows.selection(asked.task.name),
        attempts=asked.attempts,
        shuffled=asked.shuffled,
    )


def _penalties(lineup: Lineup, penalties: tuple[float, ...]) -> list[tuple[str, float]]:
    return [(row.label, penalties[row.strategy]) for row in lineup.rows]


def _generate(
    asked: Generating, plan: GenerationPlan, lineup: Lineup, records: Records[GenerationRecord]
) -> None:
    total, left = len(plan.examples) * len(lineup.scored), lacking(plan, records)
    if not left:
        tell(f"all {total} completions are generated already ({records.path.name})")
        return
    if left < total:
        tell(f"going on: {total - left} of {total} completions are done")
    try:
        lm = load_for(asked.model, lineup.scored)
        executor = LocalGenerationExecutor(lm, lineup.scored, asked.output.batch_size)
        with Running(total, records.done.values(), GenerationMeans(plan, lineup)) as running:
            generate_missing(plan, executor, records, running.advance)
    except KeyboardInterrupt:
        click.echo(
            f"\n{len(records.done)} of {total} completions are kept in {records.path};"
            f" go on with:\n  {command_line()}",
            err=True,
        )
        raise


def _result(
    asked: Generating,
    dataset: Dataset[Any],
    plan: GenerationPlan,
    lineup: Lineup,
    records: Records[GenerationRecord],
) -> Result:
    outcomes = [outcome_of(plan, place, records.done) for place in range(len(lineup.scored))]
    measured = measure_generation(plan, lineup, outcomes)
    shard = plan.config.selection.shard
    seed = asked.output.seed
    writer = asked.writer or (lambda _place, _label: asked.task)
    result = result_of(
        measured,
        summarise_generation(measured, plan.config.penalties, seed=seed),
        {
            row.strategy: released_of(writer(row.strategy, row.label), plan.examples, outcomes[row.strategy])
            for row in lineup.rows
        },
        manifest=plan.manifest,
        settings=Settings(
            task_title=TITLES[plan.task.name],
            model=asked.model.model_name,
            data_source=dataset.source,
            data_rows=len(dataset.examples),
            preset=asked.preset,
            seed=seed,
            shard=None if shard is None else f"{shard.shard_id} of {shard.total_shard}",
            extra=dict(asked.settings),
        ),
        environment=environment(),
    )
    return replace(result, **asked.extra(measured))
