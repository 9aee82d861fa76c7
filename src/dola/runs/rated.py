"""A rating as files: added to the result that it is of, and the released rating file.

The released file is the rating of the first strategy; all of them are under our key, as in a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dola.errors import RunError
from dola.judges.card import KINDS
from dola.judges.truthful import METRICS, THRESHOLD, released_rating
from dola.result import KEY, GeneratedExample, JudgeName, RatedBy, Result, Row, Rows
from dola.result.form import written
from dola.runs.judging import Judge
from dola.runs.rating import Rating
from dola.runs.results import result_row


def rated_result(result: Result, rating: Rating) -> Result:
    """A result of `dola eval tfqa` with the rating in it; an earlier rating's figures are replaced."""
    earlier = result.rating.findings if result.rating else ()
    by_strategy = {row.row.strategy: result_row(row) for row in rating.summary.rows}
    return replace(
        result,
        metrics=_with_ratings(result.metrics),
        binary=_with_ratings(result.binary),
        findings=(*(line for line in result.findings if line not in earlier), *rating.findings),
        rows=Rows([_rated_row(row, by_strategy.get(row.strategy)) for row in result.rows]),
        examples=tuple(_rated_example(one, at, rating) for at, one in enumerate(result.generated)),
        rating=_rated_by(rating),
    )


def carried_rating(result: Result, earlier: Result | None, path: Path) -> Result:
    """A result that is made anew, with the rating that the one in its place has.

    Raises:
        RunError: the rating is of other texts, and would be lost.
    """
    if earlier is None or earlier.rating is None or result.rating is not None:
        return result
    if _texts(result) != _texts(earlier):
        raise RunError(
            f"{path} holds a rating, of other texts than these: rename it to keep the rating, or give another"
            " --output-path, or --overwrite to lose it"
        )
    by_strategy = {row.strategy: row for row in earlier.rows}
    return replace(
        result,
        metrics=earlier.metrics,
        binary=earlier.binary,
        findings=(*result.findings, *earlier.rating.findings),
        rows=Rows([_with_rating(row, by_strategy.get(row.strategy)) for row in result.rows]),
        examples=tuple(
            _with_verdicts(*pair) for pair in zip(result.generated, earlier.generated, strict=True)
        ),
        rating=earlier.rating,
    )


def _texts(result: Result) -> list[tuple[int, list[str]]]:
    return [(each.index, [made.text for made in each.completions]) for each in result.generated]


def _with_rating(row: Row, earlier: Row | None) -> Row:
    if earlier is None:
        return row
    rated = replace(
        earlier,
        measures={name: each for name, each in earlier.measures.items() if name in METRICS},
        per_example={name: each for name, each in earlier.per_example.items() if name in METRICS},
        differences=earlier.differences
        and {name: each for name, each in earlier.differences.items() if name in METRICS},
    )
    return _rated_row(row, rated)


def _with_verdicts(example: GeneratedExample, earlier: GeneratedExample) -> GeneratedExample:
    made = (
        replace(new, verdicts=old.verdicts, measures={**old.measures, **new.measures})
        for new, old in zip(example.completions, earlier.completions, strict=True)
    )
    return replace(example, completions=tuple(made))


def rating_json(rating: Rating) -> dict[str, Any]:
    """The released rating file of the first strategy, and under our key the figures of all."""
    released = [
        released_rating(*pair)
        for pair in zip(rating.probabilities["truth"], rating.probabilities["info"], strict=True)
    ]
    rows = [
        {**written(result_row(row)), "released": each}
        for row, each in zip(rating.summary.rows, released, strict=True)
    ]
    described = written(_rated_by(rating))
    ours = {"format": 1, "kind": "rating", **described, "metrics": list(METRICS), "rows": rows}
    return {**released[0], KEY: ours}


def _with_ratings(metrics: tuple[str, ...]) -> tuple[str, ...]:
    return (*(name for name in metrics if name not in METRICS), *METRICS)


def _rated_row(row: Row, rated: Row | None) -> Row:
    if rated is None:
        return row
    differences = row.differences
    if rated.differences:
        differences = {**(row.differences or {}), **rated.differences}
    return replace(
        row,
        measures={**row.measures, **rated.measures},
        per_example={**row.per_example, **rated.per_example},
        differences=differences,
        fixed=rated.fixed,
        broken=rated.broken,
    )


def _rated_example(example: GeneratedExample, at: int, rating: Rating) -> GeneratedExample:
    completions = list(example.completions)
    for row, measured in enumerate(rating.measured.rows):
        if measured.strategy is None:
            continue
        made = completions[measured.strategy]
        values: Mapping[str, float] = {metric: measured.per_example[metric][at] for metric in METRICS}
        completions[measured.strategy] = replace(
            made,
            verdicts={kind: rating.probabilities[kind][row][at] for kind in KINDS},
            measures={**made.measures, **values},
        )
    return replace(example, completions=tuple(completions))


def _rated_by(rating: Rating) -> RatedBy:
    judges = {kind: rating.judges.of(kind) for kind in KINDS}
    return RatedBy(
        judges={kind: JudgeName(judge.name, _whom(judge)) for kind, judge in judges.items()},
        threshold=THRESHOLD,
        malformed=rating.malformed,
        findings=rating.findings,
    )


def _whom(judge: Judge) -> str:
    """How and where it was asked, and which weights it is."""
    asked = judge.asked("", "")
    return f"{asked.judge}: {asked.model}"
