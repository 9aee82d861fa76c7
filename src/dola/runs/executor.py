"""Where a run's work is done. An executor knows nothing of which benchmark or backend it is for.

In this process it is `LocalExecutor`. One elsewhere is one file: an object with `at_work`, given to
`dola.evaluate(..., executor=...)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dola.runs.execute import LocalScoring, Texts
from dola.runs.generating import Batch, LocalGenerating

if TYPE_CHECKING:
    from dola.runs.completions import Completion
    from dola.runs.model import Model
    from dola.scoring.result import Scored
    from dola.strategies import Strategy


@dataclass(frozen=True)
class Sizes:
    """How much is run at a time; None: as much as memory takes.

    Attributes:
        tokens: in one scoring pass; `prompts`: in one batch of generation.
        truncate: cut texts too long for the model on the left, where answers are scored.
    """

    tokens: int | None = None
    prompts: int | None = None
    truncate: bool = False


class Worker(Protocol):
    """Does what it is given; hands `(which, what came of it)` over as each is done, in any order."""

    def score(self, requests: Sequence[Texts]) -> Iterator[tuple[int, Scored]]:
        """Each prompt's continuations, under every strategy."""

    def generate(self, batch: Batch) -> Iterator[tuple[int, Completion]]:
        """Each prompt's completion, under one strategy."""


class Executor(Protocol):
    """Where workers are."""

    def at_work(
        self, model: Model, strategies: Sequence[Strategy], sizes: Sizes
    ) -> AbstractContextManager[Worker]:
        """A worker with this model loaded; let go of at the end."""


class LocalExecutor:
    """In this process, one piece after another."""

    @contextmanager
    def at_work(self, model: Model, strategies: Sequence[Strategy], sizes: Sizes) -> Iterator[Worker]:
        yield _Local(model.load(strategies), tuple(strategies), sizes)


@dataclass(frozen=True)
class _Local:
    lm: object
    strategies: tuple[Strategy, ...]
    sizes: Sizes

    def score(self, requests: Sequence[Texts]) -> Iterator[tuple[int, Scored]]:
        return LocalScoring(self.lm, self.strategies, self.sizes.truncate, self.sizes.tokens).score(requests)

    def generate(self, batch: Batch) -> Iterator[tuple[int, Completion]]:
        return LocalGenerating(self.lm, self.strategies, self.sizes.prompts).generate(batch)
