"""A run whose answers the model writes: strategy by strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dola.runs.completions import GenerationRecord
from dola.runs.decoding import attempts_of, decoding_of, penalties_of
from dola.runs.generating import generate_missing, lacking
from dola.runs.generation_measured import (
    measure_generation,
    outcome_of,
    penalty_findings,
    released_of,
    summarise_generation,
)
from dola.runs.generation_plan import GenerationConfig, GenerationPlan, make_generation_plan
from dola.runs.keeping import Kept
from dola.runs.measured import Measured
from dola.runs.progress import GenerationMeans
from dola.runs.results import Released
from dola.runs.scoring_run import about_tokens
from dola.runs.summary import Summary
from dola.runs.variants import Lineup
from dola.runs.versions import version_of

if TYPE_CHECKING:
    from dola.runs.executor import Worker
    from dola.runs.model import Model
    from dola.runs.spec import RunSpec
    from dola.tasks.base import Dataset, GenerationTask


@dataclass(frozen=True)
class GenerationRun:
    """See `Pipeline`."""

    spec: RunSpec
    plan: GenerationPlan
    lineup: Lineup
    kind = GenerationRecord

    @property
    def manifest(self) -> dict[str, Any]:
        return self.plan.manifest

    @property
    def examples(self) -> int:
        return len(self.plan.examples)

    @property
    def total(self) -> int:
        return len(self.plan.examples) * len(self.lineup.scored)

    @property
    def made(self) -> str:
        return "completions are generated"

    def work(self) -> str:
        longest, read = self.plan.config.decoding.max_new_tokens, about_tokens(self.plan.prompts)
        return (
            f"{self.total:,} completions of at most {longest} tokens, each strategy after prompts of about"
            f" {read:,} tokens in all"
        )

    def left(self, records: Kept[GenerationRecord]) -> int:
        return lacking(self.plan, records)

    def execute(
        self,
        worker: Worker,
        records: Kept[GenerationRecord],
        on_record: Callable[[GenerationRecord], None],
    ) -> None:
        generate_missing(self.plan, worker, records, on_record)

    def means(self) -> GenerationMeans:
        return GenerationMeans(self.plan, self.lineup)

    def measure(self, records: Kept[GenerationRecord]) -> tuple[Measured, Summary, dict[int, Released]]:
        plan, writer = self.plan, self.spec.benchmark.writer
        outcomes = [outcome_of(plan, place, records.done) for place in range(len(self.lineup.scored))]
        measured = measure_generation(plan, self.lineup, outcomes)
        released: dict[int, Released] = {
            row.strategy: released_of(
                writer(plan.task, row.strategy, row.label), plan.examples, outcomes[row.strategy]
            )
            for row in self.lineup.rows
        }
        return measured, summarise_generation(measured, plan.config.penalties, seed=self.spec.seed), released


def generation_run(
    spec: RunSpec,
    task: GenerationTask[Any],
    dataset: Dataset[Any],
    model: Model,
    lineup: Lineup,
    tell: Callable[[str], None],
) -> GenerationRun:
    """The run, planned; what is without effect, and where strategies differ in more than that, is told."""
    config = GenerationConfig(
        model_identity=model.identity(),
        dtype=model.dtype(),
        strategies=tuple(str(strategy) for strategy in lineup.scored),
        versions=tuple(version_of(strategy) for strategy in lineup.scored),
        penalties=penalties_of(spec, lineup.scored, model.depth()),
        decoding=decoding_of(spec, tell),
        selection=spec.selection,
        attempts=attempts_of(spec, tell),
        shuffled=spec.do_shuffle,
    )
    for line in penalty_findings([(row.label, config.penalties[row.strategy]) for row in lineup.rows]):
        tell(line)
    return GenerationRun(spec, make_generation_plan(task, dataset, config), lineup)
