"""Strategies by name, ours and third parties' (entry-point group `dola.strategies`)."""

import difflib
from importlib.metadata import entry_points

from dola.errors import StrategyError
from dola.strategies.base import Strategy
from dola.strategies.layers import BUCKETS
from dola.strategies.vanilla import Vanilla

ENTRY_POINT_GROUP = "dola.strategies"

_OWN: dict[str, type[Strategy]] = {"vanilla": Vanilla}


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
    try:
        found = others[name].load()
    except Exception as error:  # whatever a third party's module does when it is imported
        raise StrategyError(
            f"the strategy {name!r} ({others[name].value}) cannot be imported: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(f"the entry point {name!r} names {found!r}, which is not a dola Strategy class")
    return found
