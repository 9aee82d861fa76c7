"""What a run of either kind is, once it is planned: the one path of scoring and generating."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dola.runs.keeping import Kept
from dola.runs.measured import Measured
from dola.runs.progress import Means
from dola.runs.record_lines import Recorded
from dola.runs.results import Released
from dola.runs.summary import Summary

if TYPE_CHECKING:
    from dola.runs.executor import Worker
    from dola.runs.variants import Lineup

R = TypeVar("R", bound=Recorded)


class Pipeline(Protocol[R]):
    """Examples with strategies, to be made into records, and records into figures."""

    @property
    def kind(self) -> type[R]:
        """Of its records."""

    @property
    def lineup(self) -> Lineup: ...

    @property
    def manifest(self) -> dict[str, Any]: ...

    @property
    def examples(self) -> int: ...

    @property
    def total(self) -> int:
        """How many records there will be."""

    @property
    def made(self) -> str:
        """What they are of, and what was done with it: `examples are scored`."""

    def work(self) -> str:
        """What is to be done, in words, before a tokenizer is there."""

    def left(self, records: Kept[R]) -> int:
        """How many are not there yet."""

    def execute(self, worker: Worker, records: Kept[R], on_record: Callable[[R], None]) -> None:
        """Make and keep those."""

    def means(self) -> Means[R]:
        """Running means, to be shown meanwhile."""

    def measure(self, records: Kept[R]) -> tuple[Measured, Summary, dict[int, Released]]:
        """What all records come to, and what the released script writes of each strategy."""
