"""FACTOR: does the model find a text's true continuation more likely than three near misses?

One row of `expert_factor.csv` (made up; the longer texts shortened, the other columns are not used):

    full_prefix           Question: How is tea made? Answer: Boil some water. ...
    turncated_prefixes    Answer: Boil some water.         (sic: the prefix, cut to fit small models)
    completion            Pour the water over the leaves.
    contradiction_0       Pour the leaves over the water.
    contradiction_1       Pour the milk over the leaves.
    contradiction_2       Drink the water beside the leaves.

The score is the sum over the completion's tokens, as released; FACTOR's own is the mean (`base.per_token`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.errors import DataError, DolaError
from dola.tasks.base import Dataset, Request, checked_scores
from dola.tasks.benchmark import Asked, Benchmark
from dola.tasks.csv_rows import Row, Table, read_table
from dola.tasks.fetch import fetch
from dola.tasks.presets import PRESETS
from dola.tasks.sources import FACTOR

FULL, TRUNCATED = "full_prefix", "turncated_prefixes"
COMPLETIONS = ("completion", "contradiction_0", "contradiction_1", "contradiction_2")


@dataclass(frozen=True)
class Example:
    """A prefix, with the spaces or the newline that it ends with, and its completions, the true one first."""

    index: int
    prefix: str
    completions: tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """The task `factor`. Versions of the data: `wiki`, `news`, `expert`.

    Attributes:
        prefix_column: None: `full_prefix` for news and `turncated_prefixes` for the others, as released,
            or the one of them that the file has.
        own_seam: join prefix and completion as FACTOR's own evaluation does: by one space where the prefix
            ends with one, and else by nothing. The released script always adds a space, and so has two of
            them after most expert prefixes, and one at the start of a line after most news prefixes.
    """

    prefix_column: str | None = None
    own_seam: bool = False

    name = "factor"
    version = 1
    metrics = ("accuracy",)
    binary_metrics = frozenset({"accuracy"})

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[Example]:
        """Read and check a FACTOR file: a file, a folder that holds it, or None to fetch the pinned one.

        Raises:
            DataError: malformed data.
            DolaError: no such version, or none said where there are several to choose from.
        """
        path = _path(data_path, version)
        table = read_table(path)
        table.require(COMPLETIONS)
        column = _prefix_column(table, self.prefix_column)
        examples = tuple(_example(index, row, column) for index, row in enumerate(table.rows))
        return Dataset(examples, table.sha256, f"{_source(table)}, prefix column {column}", path)

    def request(self, example: Example) -> Request:
        if not self.own_seam:
            return Request(example.prefix, tuple(f" {text}" for text in example.completions))
        space = " " if example.prefix.endswith(" ") else ""
        prompt = example.prefix.removesuffix(" ")
        return Request(prompt, tuple(space + text.lstrip(" ") for text in example.completions))

    def measure(self, example: Example, scores: Sequence[float]) -> dict[str, float]:
        """1.0 if no false completion scores above the true one; a tie counts as correct, as released.

        `accuracy_strict` counts it as wrong. A model's scores hardly ever tie, but lengths often do: the
        length controls lie between the two.

        Raises:
            DolaError: a score is NaN.
        """
        true, *false = checked_scores(scores, len(example.completions))
        return {"accuracy": float(true >= max(false)), "accuracy_strict": float(true > max(false))}

    def describe(self, example: Example) -> dict[str, Any]:
        labels = ("best", "false", "false", "false")
        return {
            "question": example.prefix,
            "group": None,
            "answers": [
                {"text": t, "label": label} for t, label in zip(example.completions, labels, strict=True)
            ],
        }

    def released_json(self, examples: Sequence[Example], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
        """The released script's output: two of its lists are always empty."""
        pairs = list(zip(examples, scores, strict=True))
        return {
            "is_correct": [bool(self.measure(example, ones)["accuracy"]) for example, ones in pairs],
            "model_answer": [],
            "model_completion": [list(ones) for ones in scores],
            "full_input_text": [],
        }


def _path(data_path: Path | None, version: str | None) -> Path:
    if version is not None and version not in FACTOR:
        raise DolaError(f"FACTOR has no data version {version!r}; there are: {', '.join(FACTOR)}")
    if data_path is None:
        if version is None:
            raise DolaError(
                f"FACTOR has {len(FACTOR)} parts: choose by --data-version {'|'.join(FACTOR)}, "
                "or name a file with --data-path"
            )
        return fetch(FACTOR[version], option="--data-path")
    if not data_path.is_dir():
        return data_path
    names = [f"{name}_factor.csv" for name in ([version] if version else FACTOR)]
    found = [data_path / name for name in names if (data_path / name).is_file()]
    if not found:
        raise DataError(f"expected {' or '.join(names)} in this folder", path=data_path)
    if len(found) > 1:
        listed = ", ".join(file.name for file in found)
        raise DataError(f"there are {listed} here: name one, or say --data-version", path=data_path)
    return found[0]


def _prefix_column(table: Table, named: str | None) -> str:
    """The released rule, on the file's own name: there any folder called news above it would decide too."""
    if named is not None:
        table.require((named,))
        return named
    present = [column for column in (FULL, TRUNCATED) if column in table.columns]
    if not present:
        raise DataError(
            f"expected the prefix in {FULL!r} or {TRUNCATED!r}, found {', '.join(map(repr, table.columns))}; "
            "--prefix-column names another",
            path=table.path,
            line=1,
        )
    released = FULL if "news" in table.path.name.lower() else TRUNCATED
    column = released if released in present else present[0]
    table.require((column,))
    return column


def _source(table: Table) -> str:
    raw = table.path.read_bytes()  # of wiki only git's id is known, which the table does not have
    known = next((pinned.title for pinned in FACTOR.values() if pinned.fits(raw)), None)
    return known or f"{table.path.name}: {len(table.rows)} rows, none of the pinned files"


def _example(index: int, row: Row, prefix_column: str) -> Example:
    return Example(index, row.text(prefix_column), tuple(row.text(column) for column in COMPLETIONS))


def _made(asked: Asked) -> Factor:
    return Factor(asked.prefix_column, asked.own_seam)


BENCHMARK = Benchmark(
    name="factor",
    title="FACTOR",
    summary="FACTOR (wiki, news, expert): is the true completion the likeliest?",
    preset=PRESETS["factor"],
    generates=False,
    make=_made,
    takes=("prefix_column", "own_seam"),
)
