"""The result file: the released script's JSON, and everything of ours under one key more, `dola`.

    {"question": [...], "model_scores": [...], "total_mc1": ..., ...      the first strategy, as released
     "dola": {"format": 1, "manifest": {...}, "rows": [...], "examples": [...], ...}}

A program that reads the released files finds what it looks for; where the released file is no JSON object but
JSON lines, they are in a file of their own, and the result file has our key alone. Each strategy that was
asked for, the first one too, has its released JSON whole under `dola.strategies[i].released`.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from dola.errors import DataError, RunError
from dola.runs.cycles import no_search_for_cycles
from dola.runs.measured import Measured, MeasuredRow, Speed
from dola.runs.summary import Summary, SummaryRow

FORMAT = 1
KEY = "dola"
# Judges write files with our key too.
_KINDS = ("scoring", "generation")
# How many of a list are made into text at once, and below which level of the file everything is.
_PIECE = 1_000
_DEEP = 5


def result_json(
    measured: Measured,
    summary: Summary,
    released: Mapping[int, Mapping[str, Any] | Sequence[Mapping[str, Any]]],
    *,
    manifest: Mapping[str, Any],
    settings: Mapping[str, Any],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The result file's content. `released` has the released JSON of each strategy asked for, by its place
    among those scored; the first goes to the top."""
    strategies = [
        {"spec": spec, "layers": layers, "released": released.get(place)}
        for place, (spec, layers) in enumerate(zip(manifest["strategies"], measured.layers, strict=True))
    ]
    ours = {
        "format": FORMAT,
        "kind": measured.kind,
        "manifest": dict(manifest),
        "environment": dict(environment),
        "settings": dict(settings),
        "metrics": list(measured.metrics),
        "binary": list(measured.binary),
        "counts": measured.counts,
        "findings": list(summary.findings),
        "rows": [row_json(row) | _speed_json(row, measured.speeds) for row in summary.rows],
        "strategies": strategies,
        "examples": list(measured.examples),
    }
    first = released[min(released)]
    return {**(first if isinstance(first, Mapping) else {}), KEY: ours}


def measured_of(result: Mapping[str, Any]) -> Measured:
    """What a result file holds, example by example; the inverse of `result_json` where that matters."""
    ours = result[KEY]
    return Measured(
        metrics=tuple(ours["metrics"]),
        binary=tuple(ours["binary"]),
        rows=tuple(
            MeasuredRow(
                row["label"],
                row["kind"],
                row["strategy"],
                row["per_token"],
                row["per_example"],
                row["spread"],
            )
            for row in ours["rows"]
        ),
        layers=tuple(strategy["layers"] for strategy in ours["strategies"]),
        examples=tuple(ours["examples"]),
        counts=ours["counts"],
        speeds=_speeds(ours) if ours.get("kind") == "generation" else (),
    )


@no_search_for_cycles()
def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all: a reader never meets half of it. What is not finite is null."""
    write_text(path, chain(_pieces(result), ["\n"]))


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a text file, in one or in pieces, whole or not at all."""
    # With the rights that the user's umask gives, as any new file; mkstemp's are for secrets.
    umask = os.umask(0)
    os.umask(umask)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        # A text out of JSON may hold half a character: its escape is what JSON takes for it.
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines([text] if isinstance(text, str) else text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


@no_search_for_cycles()
def read_result(path: Path) -> dict[str, Any]:
    """A result file of `dola eval` or `dola tune`.

    Raises:
        DataError: not there, not JSON, or not made by dola in a format that this version reads.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file: expected the --output-path of a finished run", path=path) from None
    except IsADirectoryError:
        raise DataError("a folder: expected the result file of a finished run", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from None
    except ValueError as error:
        raise DataError(f"not a result file: expected JSON ({error})", path=path) from None
    ours = result.get(KEY) if isinstance(result, dict) else None
    if not isinstance(ours, dict) or "format" not in ours:
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
    return dict(result)


def check_writable(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Make the folder of an output path, and see that a file can be written there, and that it is none of
    those that are read.

    Raises:
        RunError: with the reason and the place.
    """
    if path.resolve() in {each.resolve() for each in inputs}:
        raise RunError(f"{path} is read, and would be written over: give another name for the output")
    if path.is_dir():
        raise RunError(f"{path} is a folder: expected the name of a file for --output-path")
    if path.exists() and not path.is_file():  # it would be replaced, /dev/full and its like too
        raise RunError(f"{path} is no file but a device or a pipe: expected the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RunError(f"cannot write to --output-path {path}: {error.strerror or error}") from None


def row_json(row: SummaryRow) -> dict[str, Any]:
    """A row of the table, as the result file has it."""
    return {
        "label": row.row.label,
        "kind": row.row.kind,
        "strategy": row.row.strategy,
        "per_token": row.row.per_token,
        "measures": {metric: asdict(interval) for metric, interval in row.intervals.items()},
        "spread": row.row.spread,
        "difference": row.differences
        and {
            metric: {**asdict(each.interval), "p": each.p, "test": each.test}
            for metric, each in row.differences.items()
        },
        "fixed": row.fixed,
        "broken": row.broken,
        "per_example": row.row.per_example,
    }


def _speed_json(row: SummaryRow, speeds: Sequence[Speed]) -> dict[str, Any]:
    """What a row of a generation run has beside the others' keys."""
    if not speeds or row.row.strategy is None:
        return {}
    speed = speeds[row.row.strategy]
    return {
        "tokens": speed.tokens,
        "timed_tokens": speed.timed,
        "seconds": speed.seconds,
        "tokens_per_second": speed.tokens_per_second,
    }


def _speeds(ours: Mapping[str, Any]) -> tuple[Speed, ...]:
    by_strategy = {row["strategy"]: row for row in ours["rows"] if "tokens" in row}
    return tuple(
        Speed(row["tokens"], row["timed_tokens"], row["seconds"])
        for row in (by_strategy[place] for place in range(len(ours["strategies"])))
    )


def _pieces(value: Any, depth: int = 0) -> Iterator[str]:
    """What `json.dumps` makes of it, a part at a time: made at once, a text of a hundred thousand examples
    takes five times its size."""
    if depth == _DEEP or not isinstance(value, Mapping | list | tuple) or not value:
        yield _dumped(value)
    elif isinstance(value, Mapping):
        for at, (key, each) in enumerate(value.items()):
            name = key if isinstance(key, str) else json.dumps(key)
            yield f"{', ' if at else '{'}{json.dumps(name, ensure_ascii=False)}: "
            yield from _pieces(each, depth + 1)
        yield "}"
    elif len(value) > _PIECE:
        for at in range(0, len(value), _PIECE):
            yield f"{', ' if at else '['}{_dumped(value[at : at + _PIECE])[1:-1]}"
        yield "]"
    else:
        for at, each in enumerate(value):
            yield ", " if at else "["
            yield from _pieces(each, depth + 1)
        yield "]"


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:  # what is finite need not be copied
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(each) for each in value]
    return value
