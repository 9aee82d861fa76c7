"""How a result is made again: the command, the Python call and the recipe of its run."""

from __future__ import annotations

from dola.errors import DolaError
from dola.result import Result
from dola.runs.spec import RunSpec


def ways_to_run(result: Result) -> tuple[tuple[str, str], ...]:
    """Each way with its heading; none for a result of before, and for one of a benchmark that is not here.

    A tuned result is made by `dola tune`, whose choices are no part of a run's spec.
    """
    if result.spec is None or result.tuning is not None:
        return ()
    try:
        spec = RunSpec.of(result.spec)
    except DolaError:
        return ()
    return (
        ("Command", spec.command()),
        ("Python", spec.call()),
        ("Recipe, for dola.RunSpec.load", spec.recipe()),
    )
