"""The benchmarks by name: ours, and those that other packages declare under the entry point `dola.tasks`.

[project.entry-points."dola.tasks"]
mine = "my_package:BENCHMARK"
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from dola.errors import RunError
from dola.tasks.benchmark import Benchmark

GROUP = "dola.tasks"

# Name -> where its `BENCHMARK` is.
_OURS = {
    "tfqa-mc": "dola.tasks.tfqa_mc",
    "factor": "dola.tasks.factor",
    "gsm8k": "dola.tasks.gsm8k",
    "strqa": "dola.tasks.strqa",
    "tfqa": "dola.tasks.tfqa",
    "vicuna": "dola.tasks.vicuna",
}


def benchmark_names() -> tuple[str, ...]:
    """Ours in their order, then those of other packages."""
    others = sorted({point.name for point in entry_points(group=GROUP)} - _OURS.keys())
    return (*_OURS, *others)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of this name.

    Raises:
        RunError: there is none, or what another package declares is none.
    """
    found = import_module(_OURS[name]).BENCHMARK if name in _OURS else _of_others(name)
    if not isinstance(found, Benchmark) or found.name != name:
        raise RunError(
            f"the entry point {name!r} of {GROUP} is no dola.tasks.benchmark.Benchmark of that name"
        )
    return found


def _of_others(name: str) -> object:
    for point in entry_points(group=GROUP, name=name):
        return point.load()
    raise RunError(f"unknown benchmark {name!r}: expected one of {', '.join(benchmark_names())}")
