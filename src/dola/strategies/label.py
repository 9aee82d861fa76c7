"""What a table calls a strategy: short, and never the same for two algorithms."""

import typing
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from dola.strategies.base import Strategy
from dola.strategies.text import settings_of, strategy_text, value_text
from dola.strategies.vanilla import Vanilla


def strategy_label(strategy: Strategy, task: str, *, keep: Collection[str] = ()) -> str:
    """The shorter of two: the text form, and what differs from the settings of the strategy's own released
    code for the task, as in `high (released)` or `high (released, alpha=0.2)`. Plain decoding: `vanilla`.
    The settings to `keep` are said either way."""
    if type(strategy) is Vanilla:
        return "vanilla"
    text, layers = strategy_text(strategy, keep=keep), strategy.layers_text()
    released: dict[str, Any] = dict(strategy.released(task))
    if not released or not layers:
        return text
    base = replace(strategy, **released)
    kinds = typing.get_type_hints(type(strategy))
    changes = [
        f"{each.name}={value_text(getattr(strategy, each.name), kinds[each.name])}"
        for each in settings_of(type(strategy))
        if getattr(strategy, each.name) != getattr(base, each.name)
        or (each.name in keep and each.name not in strategy.layer_fields)
    ]
    alone: Any = type(strategy)
    other = f"{alone(**strategy.from_layers(layers))} ({', '.join(['released', *changes])})"
    return min(text, other, key=len)
