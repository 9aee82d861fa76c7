"""A rating as files: added to the result that it is of, and the released rating file.

The released file is the rating of the first strategy; all of them are under our key, as in a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dola.judges.card import KINDS
from dola.judges.truthful import METRICS, THRESHOLD, released_rating
from dola.runs.judging import Judge
from dola.runs.rating import Rating
from dola.runs.results import KEY, row_json


def rated_result(result: Mapping[str, Any], rating: Rating) -> dict[str, Any]:
    """A result of `dola eval tfqa` with the rating in it; an earlier rating's figures are replaced."""
    ours = result[KEY]
    earlier = ours.get("rating", {}).get("findings", [])
    by_strategy = {row.row.strategy: row_json(row) for row in rating.summary.rows}
    return {
        **result,
        KEY: {
            **ours,
            "metrics": [*(name for name in ours["metrics"] if name not in METRICS), *METRICS],
            "binary": [*(name for name in ours["binary"] if name not in METRICS), *METRICS],
            "findings": [*(line for line in ours["findings"] if line not in earlier), *rating.findings],
            "rows": [_rated_row(row, by_strategy.get(row["strategy"])) for row in ours["rows"]],
            "examples": [_rated_example(one, at, rating) for at, one in enumerate(ours["examples"])],
            "rating": _described(rating),
        },
    }


def rating_json(rating: Rating) -> dict[str, Any]:
    """The released rating file of the first strategy, and under our key the figures of all."""
    released = [
        released_rating(*pair)
        for pair in zip(rating.probabilities["truth"], rating.probabilities["info"], strict=True)
    ]
    rows = [
        {**row_json(row), "released": each} for row, each in zip(rating.summary.rows, released, strict=True)
    ]
    ours = {"format": 1, "kind": "rating", **_described(rating), "metrics": list(METRICS), "rows": rows}
    return {**released[0], KEY: ours}


def _rated_row(row: Mapping[str, Any], rated: Mapping[str, Any] | None) -> dict[str, Any]:
    if rated is None:
        return dict(row)
    joined = {key: {**(row[key] or {}), **rated[key]} for key in ("measures", "per_example")}
    if rated["difference"]:
        joined["difference"] = {**(row["difference"] or {}), **rated["difference"]}
    return {**row, **joined, "fixed": rated["fixed"], "broken": rated["broken"]}


def _rated_example(example: Mapping[str, Any], at: int, rating: Rating) -> dict[str, Any]:
    completions = [dict(each) for each in example["completions"]]
    for row, measured in enumerate(rating.measured.rows):
        if measured.strategy is None:
            continue
        completion = completions[measured.strategy]
        completion["verdicts"] = {kind: rating.probabilities[kind][row][at] for kind in KINDS}
        completion["measures"] = {
            **completion["measures"],
            **{metric: measured.per_example[metric][at] for metric in METRICS},
        }
    return {**example, "completions": completions}


def _described(rating: Rating) -> dict[str, Any]:
    judges = {kind: rating.judges.of(kind) for kind in KINDS}
    return {
        "judges": {kind: {"name": judge.name, "asked": _whom(judge)} for kind, judge in judges.items()},
        "threshold": THRESHOLD,
        "malformed": rating.malformed,
        "findings": list(rating.findings),
    }


def _whom(judge: Judge) -> str:
    """How and where it was asked, and which weights it is."""
    asked = judge.asked("", "")
    return f"{asked.judge}: {asked.model}"
