"""Several results set against each other, and shards put together, as `dola report` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dola.errors import RunError
from dola.result import Comparison, Result
from dola.runs.across import across
from dola.runs.merge import merge_shards

Given = str | Path | Result


def compare(results: Sequence[Given], *, names: Sequence[str] = ()) -> Comparison:
    """Results on the same examples, each strategy against the first result's first: another model, another
    prompt, another version.

    Args:
        results: results, or their files.
        names: what to call them; where they are left out, files go by their names and results by numbers.

    Raises:
        RunError: they are not of the same examples, or have no metric in common.
        DataError: a file that is no result.
    """
    named = _named(results, names)
    found = across(named)
    if len(found) != 1 or len(found[0].files) != len(named):
        raise RunError(
            "expected two results or more of one benchmark on the same rows of the same data, with a metric"
            f" in common, found {'; '.join(_told(name, result) for name, result in named)}"
        )
    return found[0]


def merge(results: Sequence[Given]) -> Result:
    """The shards of one run back to one result.

    Args:
        results: results, or their files.

    Raises:
        RunError: they are not shards of one run, or one of them is given twice.
        DataError: a file that is no result.
    """
    named = _named(results, [])
    merged = merge_shards(dict(named))
    if len(merged) != 1:
        raise RunError(
            f"expected shards of one run, found {'; '.join(_told(name, result) for name, result in named)}"
        )
    return merged[0][1]


def load_all(results: Sequence[Given]) -> list[Result]:
    """Results as they are, files read."""
    return [each if isinstance(each, Result) else Result.load(each) for each in results]


def _named(results: Sequence[Given], names: Sequence[str]) -> list[tuple[Path, Result]]:
    if names and len(names) != len(results):
        raise RunError(f"expected a name for each of {len(results)} results, found {len(names)}")
    called = names or [
        f"result {at}" if isinstance(each, Result) else str(each) for at, each in enumerate(results, 1)
    ]
    return [(Path(name), result) for name, result in zip(called, load_all(results), strict=True)]


def _told(name: Path, result: Result) -> str:
    shard = f", shard {result.settings.shard}" if result.settings.shard else ""
    return f"{name}: {result.task}, {len(result.examples)} examples{shard}"
