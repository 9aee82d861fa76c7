"""Strategies by name, ours and third parties' (entry-point group `dola.strategies`)."""

import difflib
from importlib.metadata import EntryPoint, entry_points

from dola.errors import StrategyError
from dola.strategies.base import Strategy
from dola.strategies.delta import DeLTa
from dola.strategies.dola import DoLa, DoLaStatic
from dola.strategies.layers import BUCKETS
from dola.strategies.sled import SLED
from dola.strategies.vanilla import Vanilla

ENTRY_POINT_GROUP = "dola.strategies"

_OWN: dict[str, type[Strategy]] = {
    "vanilla": Vanilla,
    "static": DoLaStatic,
    "dola": DoLa,
    "sled": SLED,
    "delta": DeLTa,
}


def find_strategy(name: str) -> type[Strategy]:
    """The strategy class registered under `name`.

    A third party registers one in its own `pyproject.toml`; it is imported when it is asked for:

        [project.entry-points."dola.strategies"]
        mine = "my_package:MyStrategy"

    Raises:
        StrategyError: no such name (the nearest is suggested), or what it names is no strategy.
    """
    if name in _OWN:
        return _OWN[name]
    others = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in others:
        known = sorted({*_OWN, *others, *BUCKETS})
        nearest = difflib.get_close_matches(name, known, n=1)
        suggestion = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise StrategyError(f"unknown strategy {name!r}; known: {', '.join(known)}.{suggestion}")
    return _loaded(others[name])


def name_of(kind: type[Strategy]) -> str:
    """The name that a class is registered by; of one that is not, the class's own."""
    for name, own in _OWN.items():
        if own is kind:
            return name
    home = f"{kind.__module__}:{kind.__qualname__}"
    package = kind.__module__.partition(".")[0]
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.value == home or (point.module.partition(".")[0] == package and _loaded(point) is kind):
            return point.name
    return kind.__name__


def implied_name(layers: str) -> str | None:
    """Which strategy layers without a name stand for: `-1` vanilla, `14,-1` static, `0,2,-1` and a bucket
    dola; None for what are no layers."""
    first, *more = (part.strip() for part in layers.split(","))
    if first in BUCKETS:
        return "dola"
    if not first or first[0] not in "-+0123456789":
        return None
    return ("vanilla", "static", "dola")[min(len(more), 2)]


def _loaded(point: EntryPoint) -> type[Strategy]:
    try:
        found = point.load()
    except Exception as error:  # whatever a third party's module does when it is imported
        raise StrategyError(
            f"the strategy {point.name!r} ({point.value}) cannot be imported: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(
            f"the entry point {point.name!r} names {found!r}, which is not a dola Strategy class"
        )
    return found
