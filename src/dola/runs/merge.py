"""Shards of one run back to one result, as if there had been no shards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dola.errors import RunError
from dola.result import RatedBy, Result
from dola.runs.generation_measured import summarise_generation
from dola.runs.layer_counts import added_layers
from dola.runs.manifest import OF_A_SHARD, differences
from dola.runs.measured import Columns, Measured, MeasuredRow, Speed
from dola.runs.results import measured_of, result_of
from dola.runs.summary import Summary, summarise

Named = tuple[Path, Result]


def merge_shards(results: Mapping[Path, Result]) -> list[Named]:
    """Results that are shards of one run joined into one, under the first one's path; others as they are.

    Raises:
        RunError: two of them hold the same row of one run.
    """
    groups: list[list[Named]] = []
    for path, result in results.items():
        for group in groups:
            if _same_run(group[0][1], result):
                group.append((path, result))
                break
        else:
            groups.append([(path, result)])
    return [group[0] if len(group) == 1 else (group[0][0], _merged(group)) for group in groups]


def _same_run(one: Result, other: Result) -> bool:
    sharded = one.settings.shard and other.settings.shard
    labels = [[row.label for row in each.rows] for each in (one, other)]
    alike = not differences(one.manifest, other.manifest, ignoring=OF_A_SHARD)
    return bool(sharded) and labels[0] == labels[1] and alike


def _merged(group: Sequence[Named]) -> Result:
    ordered = sorted(group, key=lambda each: each[1].examples[0].index)
    seen: dict[int, Path] = {}
    for path, result in ordered:
        for example in result.examples:
            if example.index in seen:
                raise RunError(
                    f"row {example.index} is in {seen[example.index]} and in {path}: give each shard once"
                )
            seen[example.index] = path
    shards = [result for _, result in ordered]
    _check_rated_alike(ordered)
    measured = _joined([measured_of(shard) for shard in shards])
    first = shards[0]
    released = {
        place: _joined_released([shard.strategies[place].released for shard in shards], shards)
        for place, strategy in enumerate(first.strategies)
        if strategy.released is not None
    }
    count, rows = len(measured.examples), first.settings.data_rows
    result = result_of(
        measured,
        _summary(measured, first),
        released,
        manifest={**first.manifest, "rows": f"{count} of {rows}, from {len(shards)} shards"},
        settings=replace(first.settings, shard=None),
        environment=first.environment,
    )
    return _with_rating(result, [shard.rating for shard in shards])


def _check_rated_alike(group: Sequence[Named]) -> None:
    """
    Raises:
        RunError: not all shards are rated, or not by the same judges.
    """
    by = [(each.rating.judges, each.rating.threshold) if each.rating else None for _, each in group]
    for (path, _), judges in zip(group, by, strict=True):
        if judges != by[0]:
            raise RunError(
                f"{group[0][0]} and {path} are shards of one run, and not rated by the same judges: rate all"
                " of them by `dola judge tfqa`, with the same judges"
            )


def _with_rating(result: Result, ratings: Sequence[RatedBy | None]) -> Result:
    """The joined result with who rated the shards, and what is to be said of the judges."""
    given = [rating for rating in ratings if rating]
    if not given:
        return result
    # What a shard's figures show is said anew, of all of them.
    rows = tuple(f"{row.label}: " for row in result.rows)
    lines = (line for rating in given for line in rating.findings if not line.startswith(rows))
    of_judges = tuple(dict.fromkeys(lines))
    shown = tuple(line for line in result.findings if line.startswith(rows))
    rating = replace(
        given[0],
        malformed=sum(rating.malformed for rating in given),
        findings=(*shown, *of_judges),
    )
    return replace(result, findings=(*result.findings, *of_judges), rating=rating)


def _summary(measured: Measured, first: Result) -> Summary:
    seed = first.settings.seed
    if measured.kind == "generation":
        return summarise_generation(measured, first.manifest["repetition_penalty"], seed=seed)
    return summarise(measured, seed=seed)


def _joined(shards: Sequence[Measured]) -> Measured:
    weights = [len(shard.examples) for shard in shards]
    return Measured(
        metrics=shards[0].metrics,
        binary=shards[0].binary,
        rows=tuple(
            _joined_row(rows, weights) for rows in zip(*(shard.rows for shard in shards), strict=True)
        ),
        layers=tuple(added_layers(each) for each in zip(*(shard.layers for shard in shards), strict=True)),
        examples=tuple(example for shard in shards for example in shard.examples),
        counts={
            name: sum(shard.counts.get(name, 0) for shard in shards)
            for name in dict.fromkeys(name for shard in shards for name in shard.counts)
        },
        speeds=tuple(_joined_speed(each) for each in zip(*(shard.speeds for shard in shards), strict=True)),
    )


def _joined_row(rows: Sequence[MeasuredRow], weights: Sequence[int]) -> MeasuredRow:
    first = rows[0]
    per_example: Columns = {
        metric: [value for row in rows for value in row.per_example[metric]] for metric in first.per_example
    }
    # The examples' draws are independent, so variances of sums add.
    spread = {
        metric: math.sqrt(sum((w * row.spread[metric]) ** 2 for w, row in zip(weights, rows, strict=True)))
        / sum(weights)
        for metric in first.spread
    }
    return MeasuredRow(first.label, first.kind, first.strategy, first.per_token, per_example, spread)


def _joined_speed(parts: Sequence[Speed]) -> Speed:
    return Speed(
        tokens=sum(part.tokens for part in parts),
        timed=sum(part.timed for part in parts),
        seconds=math.fsum(part.seconds for part in parts),
    )


def _joined_released(parts: Sequence[Mapping[str, Any]], shards: Sequence[Result]) -> dict[str, Any]:
    """Lists one after another, counts added, means weighted by the number of examples."""
    weights = [len(shard.examples) for shard in shards]
    return {key: _joined_value([part[key] for part in parts], weights) for key in parts[0]}


def _joined_value(values: Sequence[Any], weights: Sequence[int]) -> Any:
    if isinstance(values[0], list):
        return [each for value in values for each in value]
    if isinstance(values[0], int):
        return sum(values)
    total = math.fsum(value * weight for value, weight in zip(values, weights, strict=True))
    return total / sum(weights)
