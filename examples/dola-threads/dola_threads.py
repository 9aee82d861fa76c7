"""An executor of a third party: several workers in threads, each with a model of its own.

dola.evaluate("tfqa-mc", model="smollm2", executor=ThreadExecutor(4))
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from dola.runs.executor import LocalExecutor, Sizes, Worker
from dola.runs.generating import Batch
from dola.runs.model import Model


@dataclass(frozen=True)
class ThreadExecutor:
    """So many `workers`, in this process."""

    workers: int = 2

    @contextmanager
    def at_work(self, model: Model, strategies: Sequence[Any], sizes: Sizes) -> Iterator[Worker]:
        with ThreadPoolExecutor(self.workers) as threads, ExitStack() as loaded:
            local = LocalExecutor()
            workers = [
                loaded.enter_context(local.at_work(model, strategies, sizes)) for _ in range(self.workers)
            ]
            yield _Workers(workers, threads)


@dataclass(frozen=True)
class _Workers:
    workers: list[Worker]
    threads: ThreadPoolExecutor

    def score(self, requests: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        return self._dealt(len(requests), lambda worker, mine: worker.score([requests[at] for at in mine]))

    def generate(self, batch: Batch) -> Iterator[tuple[int, Any]]:
        def generate(worker: Worker, mine: Sequence[int]) -> Iterator[tuple[int, Any]]:
            return worker.generate(replace(batch, prompts=tuple(batch.prompts[at] for at in mine)))

        return self._dealt(len(batch.prompts), generate)

    def _dealt(
        self, count: int, do: Callable[[Worker, Sequence[int]], Iterator[tuple[int, Any]]]
    ) -> Iterator[tuple[int, Any]]:
        """Every worker's part as it is done, each piece with its place in the whole."""
        parts = [range(first, count, len(self.workers)) for first in range(len(self.workers))]
        started = {
            self.threads.submit(lambda worker, mine: list(do(worker, mine)), worker, mine): mine
            for worker, mine in zip(self.workers, parts, strict=True)
            if mine
        }
        for done in as_completed(started):
            for which, made in done.result():
                yield started[done][which], made
