"""Several results on the same examples, set against the first one's first strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dola.result.form import written
from dola.result.result import all_metrics
from dola.result.rows import Rows
from dola.result.table import plain_table


@dataclass(frozen=True)
class Comparison:
    """A table of the strategies of several results; `print` shows it.

    Attributes:
        files: each result's name and model.
        rows: as in a result; labels end with the name of the result that they are of.
        notes: what else differs between the results: a difference may be of that as well.
    """

    task_title: str
    data_sha256: str
    examples: int
    files: tuple[str, ...]
    metrics: tuple[str, ...]
    binary: tuple[str, ...]
    rows: Rows
    findings: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        title = f"{self.task_title} · {len(self.files)} results side by side"
        lines = [title, "", plain_table(self.rows, all_metrics(self.metrics, self.rows))]
        return "\n".join([*lines, *(f"• {line}" for line in (*self.findings, *self.notes))])

    def to_json(self) -> dict[str, Any]:
        """As `dola report --format json` writes it."""
        made: dict[str, Any] = written(self)
        return made
