"""The result of a run: its figures with everything needed to make them again, and its file.

    {"question": [...], "model_scores": [...], "total_mc1": ..., ...      the first strategy, as released
     "dola": {"format": 1, "manifest": {...}, "rows": [...], "examples": [...], ...}}

A program that reads the released files finds what it looks for; where the released file is no JSON object but
JSON lines, they are in a file of their own, and the result file has our key alone. Each strategy that was
asked for, the first one too, has its released JSON whole under `dola.strategies[i].released`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dola.errors import DataError, MissingExtraError
from dola.result.cycles import no_search_for_cycles
from dola.result.examples import GeneratedExample, ScoredExample
from dola.result.files import check_writable, write_json
from dola.result.form import FormError, read, written
from dola.result.parts import RatedBy, Settings, StrategyFigures, Tuning
from dola.result.rows import Row, Rows
from dola.result.table import plain_table

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
KEY = "dola"

Kind = Literal["scoring", "generation"]
# Judges write files with our key too.
_KINDS = ("scoring", "generation")
_OPTIONAL = ("tuning", "rating", "spec")


@dataclass(frozen=True)
class Result:
    """What a run comes to. `print` shows its table; `dola.report` makes a page of it.

    Attributes:
        kind: whether answers were scored or generated.
        manifest: everything that the records depend on, as it is compared when a run is gone on with.
        environment: what it was made with: versions of Python and packages.
        metrics, binary: the task's metrics, and those of them that are 0 or 1 for every example.
        counts: examples, and how many were cut, left out, retried and the like.
        findings: what the table shows and what it does not, in sentences.
        rows: the table: by place or by label, `rows["high"].differences["MC1"]`.
        strategies: those that were run; `Row.strategy` is a place among them.
        examples: every example with its scores or completions.
        tuning, rating: what `tune` chose and `rate` found, where they did.
        spec: the run as it was asked for, as `RunSpec.of` reads it; None in files of before.
        released: the first strategy's output as the released script writes it.
        extra: keys of the file that this version does not know; they are written again.
    """

    kind: Kind
    manifest: Mapping[str, Any]
    environment: Mapping[str, str]
    settings: Settings
    metrics: tuple[str, ...]
    binary: tuple[str, ...]
    counts: Mapping[str, int]
    findings: tuple[str, ...]
    rows: Rows
    strategies: tuple[StrategyFigures, ...]
    examples: tuple[ScoredExample | GeneratedExample, ...]
    tuning: Tuning | None = None
    rating: RatedBy | None = None
    spec: Mapping[str, Any] | None = None
    released: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return str(self.manifest["task"])

    @property
    def scored(self) -> tuple[ScoredExample, ...]:
        """The examples of a run that scored; none of one that generated."""
        return tuple(each for each in self.examples if isinstance(each, ScoredExample))

    @property
    def generated(self) -> tuple[GeneratedExample, ...]:
        """The examples of a run that generated; none of one that scored."""
        return tuple(each for each in self.examples if isinstance(each, GeneratedExample))

    def __str__(self) -> str:
        title = f"{self.settings.task_title} · {Path(self.settings.model).name or self.settings.model}"
        lines = [title, "", plain_table(self.rows, all_metrics(self.metrics, self.rows))]
        return "\n".join([*lines, *(f"• {line}" for line in self.findings)])

    def to_pandas(self) -> pd.DataFrame:
        """The table, one line a row and metric; shares from 0 to 1, unrounded.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("Result.to_pandas", "pandas") from None
        return pd.DataFrame(self.flat())

    def flat(self) -> list[dict[str, Any]]:
        """The table as records, one a row and metric."""
        return [
            _flat_line(self, row, metric)
            for row in self.rows
            for metric in all_metrics(self.metrics, self.rows) or ("",)
        ]

    def save(self, path: str | Path) -> None:
        """Write the result file, whole or not at all.

        Raises:
            RunError: it cannot be written there.
        """
        check_writable(Path(path))
        write_json(Path(path), self._content())

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """A result file of `dola eval`, `dola tune` or `Result.save`.

        Raises:
            DataError: not there, not JSON, or not made by dola in a format that this version reads.
        """
        return read_result(Path(path))

    def to_json(self) -> dict[str, Any]:
        """The result file's content."""
        made: dict[str, Any] = written(self._content())
        return made

    def _content(self) -> dict[str, Any]:
        """The same, what is in it as it is: of many examples not to be copied before it is written."""
        ours = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("extra", "released", *_OPTIONAL)
        }
        added = {name: getattr(self, name) for name in _OPTIONAL if getattr(self, name) is not None}
        return {**self.released, KEY: {"format": FORMAT, **ours, **added, **self.extra}}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Result:
        """A result file's content; the inverse of `to_json`.

        Raises:
            FormError: something in it is missing or of another type.
        """
        given = dict(found[KEY])
        given.pop("format", None)
        parts = {
            "kind": given.pop("kind", "scoring"),
            "rows": Rows(_each(Row, given, "rows")),
            "strategies": _each(StrategyFigures, given, "strategies"),
        }
        kind: type[Any] = GeneratedExample if parts["kind"] == "generation" else ScoredExample
        parts["examples"] = _each(kind, given, "examples")
        for name, form in (("settings", Settings), ("tuning", Tuning), ("rating", RatedBy)):
            if name in given:
                parts[name] = _part(form, given.pop(name), name)
        for name in ("metrics", "binary", "findings"):
            parts[name] = tuple(_taken(given, name))
        for name in ("manifest", "environment", "counts"):
            parts[name] = dict(_taken(given, name))
        if "settings" not in parts:
            raise FormError("no key 'settings'")
        released = {key: value for key, value in found.items() if key != KEY}
        return cls(**parts, spec=given.pop("spec", None), released=released, extra=given)


@no_search_for_cycles()
def read_result(path: Path) -> Result:
    """A result file; see `Result.load`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file: expected the --output-path of a finished run", path=path) from None
    except IsADirectoryError:
        raise DataError("a folder: expected the result file of a finished run", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from None
    except ValueError as error:
        raise DataError(f"not a result file: expected JSON ({error})", path=path) from None
    return result_of(found, path)


def result_of(found: object, path: Path) -> Result:
    """The content of a file as a result; `path`: where it was read, for errors.

    Raises:
        DataError: it is none, or of a format that this version does not read.
    """
    ours = found.get(KEY) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(ours, dict) or "format" not in ours:
        raise DataError(
            f"no key {KEY!r}: expected a result of `dola eval` (the released scripts' files have"
            " no intervals in them)",
            path=path,
        )
    if ours["format"] != FORMAT:
        raise DataError(f"written in format {ours['format']}; this version reads format {FORMAT}", path=path)
    if ours.get("kind", "scoring") not in _KINDS:
        raise DataError(
            f"holds what a judge said ({ours['kind']}): expected a result of `dola eval` or `dola tune`",
            path=path,
        )
    try:
        return Result.from_json(found)
    except FormError as error:
        raise DataError(f"not a whole result: {error}", path=path) from None


def all_metrics(metrics: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    """The metrics of a table: the task's own, then what judges have added to the rows since."""
    return tuple(dict.fromkeys((*metrics, *(metric for row in rows for metric in row.measures))))


def _flat_line(result: Result, row: Row, metric: str) -> dict[str, Any]:
    measure, apart = row.measures.get(metric), (row.differences or {}).get(metric)
    line: dict[str, Any] = {
        "task": result.task,
        "model": result.settings.model,
        "kind": row.kind,
        "row": row.label,
        "metric": metric,
    }
    line |= {name: getattr(measure, name, None) for name in ("mean", "low", "high")}
    line["spread"] = row.spread.get(metric)
    named = ("mean", "low", "high", "p", "test")
    return line | {f"difference_{name}": getattr(apart, name, None) for name in named}


def _taken(given: dict[str, Any], name: str) -> Any:
    if name not in given:
        raise FormError(f"no key {name!r}")
    return given.pop(name)


def _each(kind: type[Any], given: dict[str, Any], name: str) -> tuple[Any, ...]:
    return tuple(_part(kind, each, f"{name}.{at}") for at, each in enumerate(_taken(given, name)))


def _part(kind: type[Any], found: object, place: str) -> Any:
    try:
        return read(kind, found)
    except FormError as error:
        raise error.within(place) from None
