"""A run that scores given answers: every strategy from the same passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dola.runs.execute import execute, missing
from dola.runs.keeping import Kept
from dola.runs.measured import Measured, measure, scores_of
from dola.runs.plan import Plan, RunConfig, make_plan
from dola.runs.progress import ScoringMeans
from dola.runs.records import Record
from dola.runs.results import Released
from dola.runs.summary import Summary, summarise
from dola.runs.variants import Lineup
from dola.runs.versions import version_of

if TYPE_CHECKING:
    from dola.runs.executor import Worker
    from dola.runs.model import Model
    from dola.runs.spec import RunSpec
    from dola.tasks.base import Dataset, Task

# Of English text, in the tokenizers that are about.
BYTES_A_TOKEN = 4


@dataclass(frozen=True)
class ScoringRun:
    """See `Pipeline`."""

    spec: RunSpec
    plan: Plan
    lineup: Lineup
    kind = Record

    @property
    def manifest(self) -> dict[str, Any]:
        return self.plan.manifest

    @property
    def examples(self) -> int:
        return len(self.plan.examples)

    @property
    def total(self) -> int:
        return len(self.plan.examples)

    @property
    def made(self) -> str:
        return "examples are scored"

    def work(self) -> str:
        requests = self.plan.requests
        answers = sum(len(each.continuations) for each in requests)
        read = about_tokens([text for each in requests for text in (each.prompt, *each.continuations)])
        return f"{answers:,} answers to score, all strategies from one pass over about {read:,} tokens"

    def left(self, records: Kept[Record]) -> int:
        return len(missing(self.plan, records))

    def execute(self, worker: Worker, records: Kept[Record], on_record: Callable[[Record], None]) -> None:
        execute(self.plan, worker, records, on_record)

    def means(self) -> ScoringMeans:
        return ScoringMeans(self.plan, self.lineup)

    def measure(self, records: Kept[Record]) -> tuple[Measured, Summary, dict[int, Released]]:
        measured = measure(self.plan, self.lineup, records.done, seed=self.spec.seed)
        done = [records.done[example.index] for example in self.plan.examples]
        task, examples = self.plan.task, self.plan.examples
        released: dict[int, Released] = {
            row.strategy: task.released_json(examples, [scores_of(row, record) for record in done])
            for row in self.lineup.asked
        }
        return measured, summarise(measured, seed=self.spec.seed), released


def scoring_run(
    spec: RunSpec, task: Task[Any], dataset: Dataset[Any], model: Model, lineup: Lineup
) -> ScoringRun:
    """The run, planned."""
    config = RunConfig(
        model_identity=model.identity(),
        dtype=model.dtype(),
        strategies=tuple(str(strategy) for strategy in lineup.scored),
        versions=tuple(version_of(strategy) for strategy in lineup.scored),
        selection=spec.selection,
        truncate=spec.truncate,
    )
    return ScoringRun(spec, make_plan(task, dataset, config), lineup)


def about_tokens(texts: Sequence[str]) -> int:
    """How many tokens texts have, about: two digits of it are meant."""
    count = sum(-(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN) for text in texts)
    digits = max(0, len(str(count)) - 2)
    return round(count, -digits)
