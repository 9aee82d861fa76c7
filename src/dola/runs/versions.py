"""What decides whether records can be gone on with: the versions that the parts of a run declare.

A part counts its version up where the same settings come to record something else: a strategy other
scores, a task another attempt, a judge another question. A file more in a room, another name, a faster way
to the same figures change no version, and a run of yesterday is gone on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import Distribution, distribution, entry_points, packages_distributions
from typing import Protocol

# Counted up where the same model and settings come to other scores, or to other texts, by code that no part
# of a run declares a version of: the head, the models, the scoring, the hosts.
SCORING = 1
GENERATION = 1

# Where third parties declare what they bring.
_GROUPS = ("dola.strategies", "dola.tasks")

Version = int | str
"""A part's own number; of a third party's with its distribution: `1 (dola-mean 1.0)`."""


class Versioned(Protocol):
    """A strategy, a task, a judge."""

    @property
    def version(self) -> int: ...


def version_of(part: Versioned) -> Version:
    """The version that a part declares; of a third party's, with that of the distribution it comes from."""
    module = type(part).__module__.partition(".")[0]
    found = [] if module == "dola" else _distributions_of(module)
    if not found:
        return part.version
    return f"{part.version} ({', '.join(f'{each.name} {each.version}' for each in found)})"


def first_alike(version: Version) -> Version:
    """The first version of the same part, as of before versions were recorded, of whatever distribution."""
    number, *_ = str(version).split(" ", 1)
    return version if number == "1" else 1


def strategy_versions(versions: Sequence[Version]) -> dict[str, list[Version]]:
    """As the manifest has them, where they are known."""
    return {"strategy_versions": list(versions)} if versions else {}


def _distributions_of(module: str) -> list[Distribution]:
    """Where a module comes from: by the entry points of ours, which an editable install has too, or else by
    what is installed. None for a script's own."""
    declared = {
        point.dist.name: point.dist
        for group in _GROUPS
        for point in entry_points(group=group)
        if point.dist and point.module.partition(".")[0] == module
    }
    if declared:
        return [declared[name] for name in sorted(declared)]
    return [distribution(name) for name in sorted(set(packages_distributions().get(module, ())))]
