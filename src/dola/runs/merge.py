"""Shards of one run back to one result, as if there had been no shards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dola.errors import RunError
from dola.result import RatedBy, Result, Tuning
from dola.result.form import read
from dola.runs.generation_measured import summarise_generation
from dola.runs.layer_counts import added_layers
from dola.runs.manifest import OF_A_SHARD, SAID, differences
from dola.runs.measured import Columns, Measured, MeasuredRow, Speed, to_twelve_digits
from dola.runs.results import measured_of, result_of
from dola.runs.summary import Summary, summarise
from dola.runs.tune import Candidate, tuning_json, two_fold

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
    alike = not differences(one.manifest, other.manifest, ignoring=OF_A_SHARD + SAID)
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
    result = result_of(
        measured,
        _summary(measured, first),
        released,
        manifest={**first.manifest, "rows": _rows(shards)},
        settings=replace(first.settings, shard=None),
        environment=first.environment,
    )
    result = replace(result, tuning=_tuning(measured, first), spec=_spec(first), extra=first.extra)
    return _with_rating(result, [shard.rating for shard in shards])


def _rows(shards: Sequence[Result]) -> str:
    """Which rows they are of: of shards that follow each other what it is of a whole run."""
    places = [example.index for shard in shards for example in shard.examples]
    whole = f"{places[0]} to {places[-1]}, {len(places)} of {shards[0].settings.data_rows}"
    return (
        whole if places == list(range(places[0], places[-1] + 1)) else f"{whole}, from {len(shards)} shards"
    )


def _spec(first: Result) -> Mapping[str, Any] | None:
    """The run as it would be asked for in one go."""
    shard = ("shard_id", "total_shard")
    return first.spec and {name: value for name, value in first.spec.items() if name not in shard}


def _tuning(measured: Measured, first: Result) -> Tuning | None:
    """The choice, made anew on the examples of all shards."""
    if first.tuning is None:
        return None
    candidates = [Candidate(each.row, each.layers, each.flag) for each in first.tuning.buckets]
    static = {int(layer): row for layer, row in first.tuning.static.items()}
    found = two_fold(measured, candidates, first.tuning.metric, seed=first.settings.seed)
    return read(Tuning, tuning_json(measured, found, candidates, static))


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
    return MeasuredRow(
        first.label, first.kind, first.strategy, first.per_token, per_example, _joined_spread(rows, weights)
    )


def _joined_spread(rows: Sequence[MeasuredRow], weights: Sequence[int]) -> dict[str, float]:
    """The examples' draws are independent, so variances of sums add."""
    return to_twelve_digits(
        {
            metric: math.sqrt(
                math.fsum((w * row.spread[metric]) ** 2 for w, row in zip(weights, rows, strict=True))
            )
            / sum(weights)
            for metric in rows[0].spread
        }
    )


def _joined_speed(parts: Sequence[Speed]) -> Speed:
    return Speed(
        tokens=sum(part.tokens for part in parts),
        timed=sum(part.timed for part in parts),
        seconds=math.fsum(part.seconds for part in parts),
    )


def _joined_released(parts: Sequence[Mapping[str, Any]], shards: Sequence[Result]) -> dict[str, Any]:
    """Lists one after another, counts added, and means taken anew of the examples' values, where the released
    JSON has them; else of the shards' means."""
    weights = [len(shard.examples) for shard in shards]
    joined = {key: _joined_value([part[key] for part in parts], weights) for key in parts[0]}
    return {key: _mean_anew(key, value, joined) for key, value in joined.items()}


def _joined_value(values: Sequence[Any], weights: Sequence[int]) -> Any:
    if isinstance(values[0], list):
        return [each for value in values for each in value]
    if isinstance(values[0], int):
        return sum(values)
    total = math.fsum(value * weight for value, weight in zip(values, weights, strict=True))
    return total / sum(weights)


def _mean_anew(key: str, value: Any, joined: Mapping[str, Any]) -> Any:
    """`total_mc1` is the mean of `MC1` over the dictionaries of one of the lists."""
    name = key.removeprefix("total_")
    if not isinstance(value, float) or name == key:
        return value
    for each in joined.values():
        if not isinstance(each, list) or not each or not isinstance(each[0], Mapping):
            continue
        named = next((own for own in each[0] if own.lower() == name.lower()), None)
        if named is not None:
            return math.fsum(one[named] for one in each) / len(each)
    return value
