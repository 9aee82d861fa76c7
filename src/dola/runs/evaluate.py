"""One run, from the spec to the result: plan, execute, keep, measure. Every way to start a run ends here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from dola.errors import RunError
from dola.result import Result, Settings
from dola.result.files import check_writable
from dola.result.result import read_result
from dola.runs.asked_strategies import ContrastSettings, with_numbers
from dola.runs.executor import Executor, LocalExecutor, Sizes
from dola.runs.generation_run import generation_run
from dola.runs.journal import records_path
from dola.runs.keeping import Kept, kept
from dola.runs.manifest import environment
from dola.runs.measured import Measured
from dola.runs.model import LoadedModel, Model, NamedModel
from dola.runs.pipeline import Pipeline
from dola.runs.progress import Running, Silent, silent, to_standard_error
from dola.runs.rated import carried_rating
from dola.runs.results import result_of
from dola.runs.scoring_run import scoring_run
from dola.runs.spec import DEFAULT_MODEL, DEFAULT_STRATEGIES, RunSpec, SpecSettings
from dola.runs.variants import line_up

if TYPE_CHECKING:
    from dola.language_model import LanguageModel
    from dola.strategies import Depth, Strategy

# Strategies with what a table calls them, once the model's depth is known.
Strategies = Callable[["Depth"], Sequence[tuple[str, "Strategy"]]]


def _never(label: str) -> bool:  # noqa: ARG001
    return False


def _nothing(measured: Measured) -> dict[str, Any]:  # noqa: ARG001
    return {}


@dataclass(frozen=True)
class Lines:
    """What stands in the table, where it is not the spec's strategies as they are.

    Attributes:
        strategies: written without knowing the model.
        variants: whether to show post_softmax and per-token scores too.
        sweep: which labels are scored for a figure only.
        extra: fields of the result that are made from the figures.
    """

    strategies: Strategies
    variants: bool = False
    sweep: Callable[[str], bool] = _never
    extra: Callable[[Measured], dict[str, Any]] = _nothing


@dataclass(frozen=True)
class Way:
    """How a run is made: nothing of it decides what comes out.

    Attributes:
        output: the result file; the records lie beside it, and are gone on with. None: in memory alone.
        overwrite: start anew where there are records or a result.
        progress: whether to show how far it is, and to tell what takes time, on standard error.
        again: what to type to go on; None: the Python call.
        executor: where the work is done.
    """

    output: Path | None = None
    overwrite: bool = False
    progress: bool = True
    again: str | None = None
    executor: Executor = field(default_factory=LocalExecutor)

    @property
    def tell(self) -> Callable[[str], None]:
        return to_standard_error if self.progress else silent


def evaluate(
    task: str | RunSpec,
    *,
    model: str | LanguageModel | Model = DEFAULT_MODEL,
    strategies: str | Strategy | Sequence[str | Strategy] = DEFAULT_STRATEGIES,
    output: str | Path | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
    **settings: Unpack[SpecSettings],
) -> Result:
    """Measure strategies on a benchmark: what `dola eval` does.

        result = dola.evaluate("tfqa-mc", model="smollm2", strategies=["-1", "low", "high"], limit=100)
        result.rows["high"].differences["MC1"]

    All strategies of a benchmark that scores come from the same forward passes; each is compared with the
    first. It works in a script and in a notebook alike.

    Args:
        task: a benchmark's name, or all of a run; then only `model` may be given beside it, where it is
            loaded already.
        model: a name, or a model that is loaded (`dola.load`, `LanguageModel`); or a backend of another kind,
            which is what `dola.runs.model.Model` says.
        strategies: texts, as in `--early-exit-layers`, which take what they do not say from the preset; or
            strategies, which are taken as they are.
        output: the result file, which is written as it ends. Records are kept beside it as they are made:
            the same call goes on where it stopped. None: nothing is written.
        overwrite: start anew where there are records or a result.
        executor: where the work is done; None: in this process.
        progress: show how far it is, on standard error.
        settings: those of `RunSpec`.

    Raises:
        RunError: a setting that is not what it must be; records of another run; no place to write.
        DataError: data that is not what it should be.
        LayerError, StrategyError, ModelError, NumericsError: as `dola.load` and `LanguageModel`.
    """
    if isinstance(task, RunSpec):
        if settings or strategies is not DEFAULT_STRATEGIES:
            raise RunError("a RunSpec says all of a run: give its settings in it, by dataclasses.replace")
        spec = task
    else:
        spec = RunSpec.of(
            {"task": task, "model": name_of(model), "strategies": _texts(strategies), **settings}
        )
    way = Way(
        None if output is None else Path(output), overwrite, progress, executor=executor or LocalExecutor()
    )
    return run(spec, way, model_of(model))


def run(spec: RunSpec, way: Way, model: Model | None = None, lines: Lines | None = None) -> Result:
    """The run that a spec says.

    Everything that can be refused is refused before the model loads, the data first: it is the quickest.
    """
    task = spec.benchmark.make(spec.asked)
    dataset = task.load(spec.data_path, version=spec.data_version)
    if way.output is not None:
        check_writable(way.output)
    model = model or NamedModel(spec.model, spec.placement, spec.trust_remote_code, way.tell)
    lines = lines or Lines(
        lambda _: ContrastSettings.of(spec).strategies(spec.strategies, spec.task),
        variants=spec.variants and not spec.benchmark.generates,
    )
    depth = model.depth()
    resolved = with_numbers(lines.strategies(depth), depth)
    swept = {label for label, _ in resolved if lines.sweep(label)}
    lineup = line_up(resolved, variants=lines.variants, sweep=swept)
    planned: Pipeline[Any] = (
        generation_run(spec, task, dataset, model, lineup, way.tell)
        if spec.benchmark.generates
        else scoring_run(spec, task, dataset, model, lineup)
    )
    with kept(planned.kind, way.output, planned.manifest, overwrite=way.overwrite) as records:
        _execute(spec, way, planned, model, records)
        measured, summary, released = planned.measure(records)
        result = result_of(
            measured,
            summary,
            released,
            manifest=planned.manifest,
            settings=_settings(spec, dataset.source, len(dataset.examples)),
            environment=environment(),
        )
        result = replace(result, spec=spec.to_json(), **lines.extra(measured))
        if way.output is not None:
            earlier = None if way.overwrite or not way.output.exists() else read_result(way.output)
            result = carried_rating(result, earlier, way.output)
            result.save(way.output)
    return result


def _execute(spec: RunSpec, way: Way, planned: Pipeline[Any], model: Model, records: Kept[Any]) -> None:
    if records.remark:
        way.tell(records.remark)
    left = planned.left(records)
    if not left:
        where = "" if way.output is None else f" ({records_path(way.output).name})"
        way.tell(f"all {planned.total} {planned.made} already{where}")
        return
    _announce(spec, way, planned, left)
    with _told_how_to_go_on(spec, way, planned, records):
        sizes = Sizes(spec.batch_tokens, spec.batch_size, spec.truncate)
        shown = Running if way.progress else Silent
        with (
            way.executor.at_work(model, planned.lineup.scored, sizes) as worker,
            shown(planned.total, records.done.values(), planned.means()) as running,
        ):
            planned.execute(worker, records, running.advance)


def _announce(spec: RunSpec, way: Way, planned: Pipeline[Any], left: int) -> None:
    """What it will do, before it begins."""
    asked = len(planned.lineup.asked)
    strategies = "1 strategy" if asked == 1 else f"{asked} strategies"
    examples = "1 example" if planned.examples == 1 else f"{planned.examples:,} examples"
    where = "nothing is written" if way.output is None else f"the result goes to {way.output}"
    way.tell(f"{spec.task}: {examples}, {strategies}: {planned.work()}; {where}")
    if left < planned.total:
        way.tell(f"going on: {planned.total - left} of {planned.total} {planned.made}")


@contextmanager
def _told_how_to_go_on(spec: RunSpec, way: Way, planned: Pipeline[Any], records: Kept[Any]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        done = len(records.done)
        if way.output is not None and (done or isinstance(error, KeyboardInterrupt)):
            again = way.again or spec.call(output=str(way.output))
            noun = planned.made.partition(" ")[0]
            there = f"{done} of {planned.total} {noun} are kept in {records_path(way.output)}"
            way.tell(f"\n{there}; go on with:\n  {again}")
        raise


def _settings(spec: RunSpec, source: str, rows: int) -> Settings:
    shard = spec.shard
    return Settings(
        task_title=spec.benchmark.title,
        model=spec.model,
        data_source=source,
        data_rows=rows,
        preset=spec.preset,
        seed=spec.seed,
        shard=None if shard is None else f"{shard.shard_id} of {shard.total_shard}",
        extra={name: getattr(spec, name) for name in spec.benchmark.shown},
    )


def name_of(model: str | LanguageModel | Model) -> str:
    """As a result shows it."""
    return model if isinstance(model, str) else str(model.name)


def model_of(model: str | LanguageModel | Model) -> Model | None:
    """A model that is given as more than a name: one that is loaded, or a backend's."""
    if isinstance(model, str):
        return None
    return model if isinstance(model, Model) else LoadedModel(model)


def _texts(strategies: str | Strategy | Sequence[str | Strategy]) -> tuple[str, ...]:
    """Strategies as texts; of an object the text says every setting, so that no preset makes it another."""
    many = strategies if isinstance(strategies, Sequence) else [strategies]
    if isinstance(many, str):
        many = [many]
    return tuple(each if isinstance(each, str) else _whole_text(each) for each in many)


def _whole_text(strategy: Strategy) -> str:
    from dola.strategies.text import strategy_text

    return strategy_text(strategy, keep={each.name for each in fields(strategy)})
