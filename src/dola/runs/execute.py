"""Score what a plan still lacks, and keep each record as it is made.

`Scoring` is all that is known here of how requests are scored: in this process, or by workers elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dola.runs.keeping import Kept
from dola.runs.plan import Plan
from dola.runs.records import Record

if TYPE_CHECKING:
    from dola.scoring.result import LogLikelihood, Scored
    from dola.strategies import Strategy

# A prompt and its continuations.
Texts = tuple[str, Sequence[str]]


class Scoring(Protocol):
    """Scores requests; hands `(which request, its scores)` over as each is done, in any order."""

    def score(self, requests: Sequence[Texts]) -> Iterator[tuple[int, Scored]]: ...


@dataclass(frozen=True)
class LocalScoring:
    """Scores in this process, with a model that is loaded.

    Attributes:
        lm: a `dola.LanguageModel`, or whatever has its `iter_loglikelihood`.
        batch_tokens: how many tokens to run at a time; None: as many as memory takes.
    """

    lm: Any
    strategies: tuple[Strategy, ...]
    truncate: bool = False
    batch_tokens: int | None = None

    def score(self, requests: Sequence[Texts]) -> Iterator[tuple[int, Scored]]:
        return iter(
            self.lm.iter_loglikelihood(
                requests, self.strategies, truncate=self.truncate, batch_tokens=self.batch_tokens
            )
        )


def execute(
    plan: Plan,
    executor: Scoring,
    records: Kept[Record],
    on_record: Callable[[Record], None] | None = None,
) -> None:
    """Score the rows of the plan that have no record yet; `on_record` is told of each that is on the disk."""
    left = missing(plan, records)
    requests = [(plan.requests[at].prompt, plan.requests[at].continuations) for at in left]
    for which, scored in executor.score(requests):
        record = _record(plan.examples[left[which]].index, scored)
        records.append(record)
        if on_record is not None:
            on_record(record)


def missing(plan: Plan, records: Kept[Record]) -> list[int]:
    """The places in the plan that have no record yet."""
    return [at for at, example in enumerate(plan.examples) if example.index not in records.done]


def _record(index: int, scored: Scored) -> Record:
    return Record(
        index=index,
        tokens=tuple(one.tokens for one in scored.by_strategy[0]),
        prefix=tuple(scored.prompt_is_prefix),
        truncated=scored.truncated,
        scores=tuple(tuple(one.score for one in each) for each in scored.by_strategy),
        layers=tuple(_layer_counts(each) for each in scored.by_strategy),
        left_out=sum(one.left_out for each in scored.by_strategy for one in each),
    )


def _layer_counts(continuations: Sequence[LogLikelihood]) -> dict[str, int] | None:
    """Tokens by the premature layer they were contrasted with, all continuations together."""
    if any(one.premature_layers is None for one in continuations):
        return None
    counts = Counter(layer for one in continuations for layer in one.premature_layers or ())
    return {str(layer): counts[layer] for layer in sorted(counts)}
