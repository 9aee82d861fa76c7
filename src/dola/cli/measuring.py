"""What `dola eval` and `dola tune` have in common: plan, score what is missing, summarise, write."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dola.cli.loading import load_for, tell
from dola.cli.options import ModelOptions
from dola.cli.progress import Running, ScoringMeans
from dola.cli.scoring_options import OutputOptions, RowOptions
from dola.runs.execute import LocalExecutor, execute, missing
from dola.runs.fingerprint import model_identity
from dola.runs.manifest import environment
from dola.runs.measured import Measured, measure, scores_of
from dola.runs.plan import Plan, RunConfig, make_plan
from dola.runs.records import Record, Records, open_records
from dola.runs.results import KEY, check_writable, result_json, write_result
from dola.runs.summary import summarise
from dola.runs.variants import Lineup, line_up
from dola.tasks.base import Dataset, Task

if TYPE_CHECKING:
    from dola.strategies import Depth, Strategy

TITLES = {
    "tfqa-mc": "TruthfulQA multiple choice",
    "factor": "FACTOR",
    "gsm8k": "GSM8K",
    "strqa": "StrategyQA",
    "tfqa": "TruthfulQA, open-ended",
    "vicuna": "Vicuna QA",
}

# Strategies with the labels that the table shows them under, once the model's depth is known.
Strategies = Callable[["Depth"], Sequence[tuple[str, "Strategy"]]]


@dataclass(frozen=True)
class Measuring:
    """One run, as asked for.

    Attributes:
        strategies: those asked for, written without knowing the model.
        variants: whether to show post_softmax and per-token scores too.
        sweep: which labels are scored for a figure only.
        extra: what to add under our key of the result, made from the figures.
    """

    task: Task[Any]
    model: ModelOptions
    rows: RowOptions
    output: OutputOptions
    preset: str
    strategies: Strategies
    variants: bool = True
    sweep: Callable[[str], bool] = lambda _: False
    extra: Callable[[Measured], dict[str, Any]] = lambda _: {}


def run(asked: Measuring) -> tuple[Path, dict[str, Any]]:
    """Score, summarise and write; gives the result's path and content.

    Everything that can be refused is refused before the model loads, the data first: it is the quickest.
    """
    dataset = asked.task.load(asked.rows.data_path, version=asked.rows.data_version)
    path = asked.output.path(asked.task.name, asked.rows.shard_id)
    check_writable(path)
    lineup, config = _line_up(asked)
    plan = make_plan(asked.task, dataset, config)
    with open_records(path, plan.manifest, overwrite=asked.output.overwrite) as records:
        _score(asked, plan, lineup, records)
        result = _result(asked, dataset, plan, lineup, records)
        write_result(path, result)
    return path, result


def _line_up(asked: Measuring) -> tuple[Lineup, RunConfig]:
    """What is scored, every layer checked against the model's configuration."""
    model = asked.model
    model.placement.load_arguments_here()  # that the device is there is the cheapest to see
    depth = depth_for(model)
    resolved = with_numbers(asked.strategies(depth), depth)
    swept = {label for label, _ in resolved if asked.sweep(label)}
    lineup = line_up(resolved, variants=asked.variants, sweep=swept)
    return lineup, RunConfig(
        model_identity=model_identity(model.model_name),
        dtype=dtype_for(model),
        strategies=tuple(str(strategy) for strategy in lineup.scored),
        versions=tuple(strategy.version for strategy in lineup.scored),
        selection=asked.rows.selection(asked.task.name),
        truncate=asked.output.truncate,
    )


def with_numbers(strategies: Sequence[tuple[str, Strategy]], depth: Depth) -> list[tuple[str, Strategy]]:
    """Labelled strategies with the layers' own numbers."""
    from dola.strategies import OWN, resolve_strategy

    return [(label, resolve_strategy(strategy, {OWN: depth}).strategy) for label, strategy in strategies]


def depth_for(model: ModelOptions) -> Depth:
    """How deep the model is, from its configuration alone."""
    from dola.loader import depth_of_model

    return depth_of_model(model.model_name, trust_remote_code=model.trust_remote_code, progress=tell)


def dtype_for(model: ModelOptions) -> str:
    """The dtype that the weights will be loaded in, from what the checkpoint says of itself."""
    from dola.models.loading import dtype_here

    return dtype_here(
        model.model_name, model.placement, trust_remote_code=model.trust_remote_code, progress=tell
    )


def _score(asked: Measuring, plan: Plan, lineup: Lineup, records: Records[Record]) -> None:
    left = missing(plan, records)
    if not left:
        tell(f"all {len(plan.examples)} examples are scored already ({records.path.name})")
        return
    if len(left) < len(plan.examples):
        tell(f"going on: {len(plan.examples) - len(left)} of {len(plan.examples)} examples are done")
    try:
        lm = load_for(asked.model, lineup.scored)
        executor = LocalExecutor(lm, lineup.scored, asked.output.truncate, asked.output.batch_tokens)
        means = ScoringMeans(plan, lineup)
        with Running(len(plan.examples), records.done.values(), means) as running:
            execute(plan, executor, records, running.advance)
    except KeyboardInterrupt:
        click.echo(
            f"\n{len(records.done)} of {len(plan.examples)} examples are kept in {records.path};"
            f" go on with:\n  {command_line()}",
            err=True,
        )
        raise


def _result(
    asked: Measuring, dataset: Dataset[Any], plan: Plan, lineup: Lineup, records: Records[Record]
) -> dict[str, Any]:
    measured = measure(plan, lineup, records.done, seed=asked.output.seed)
    done = [records.done[example.index] for example in plan.examples]
    released = {
        row.strategy: plan.task.released_json(plan.examples, [scores_of(row, record) for record in done])
        for row in lineup.asked
    }
    shard = plan.config.selection.shard
    result = result_json(
        measured,
        summarise(measured, seed=asked.output.seed),
        released,
        manifest=plan.manifest,
        settings={
            "task_title": TITLES[plan.task.name],
            "model": asked.model.model_name,
            "data_source": dataset.source,
            "data_rows": len(dataset.examples),
            "preset": asked.preset,
            "seed": asked.output.seed,
            "shard": shard and f"{shard.shard_id} of {shard.total_shard}",
        },
        environment=environment(),
    )
    result[KEY] |= asked.extra(measured)
    return result


def command_line() -> str:
    """The command as it was given, without what would start it anew."""
    return shlex.join(["dola", *(word for word in sys.argv[1:] if word != "--overwrite")])
