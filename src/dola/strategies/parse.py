"""From text to a strategy; the grammar is in `dola.strategies.text`."""

from dola.errors import StrategyError
from dola.strategies.base import Strategy
from dola.strategies.layers import layer_numbers
from dola.strategies.registry import find_strategy, implied_name
from dola.strategies.text import read_settings, required, settings_of


def parse_strategy(text: str) -> Strategy:
    """The strategy that `text` names. `parse_strategy(str(strategy)) == strategy`.

    Raises:
        LayerError: the layers cannot be right in any model (whether a model has them, `resolve` says).
        StrategyError: an unknown name or setting, or a setting of the wrong kind.
    """
    return parse_named(text)[0]


def parse_named(text: str) -> tuple[Strategy, frozenset[str]]:
    """The strategy that `text` names, and which of its settings are said there.

    Raises:
        LayerError, StrategyError: as `parse_strategy`.
    """
    first, *rest = (part.strip() for part in text.strip().split(":"))
    name = implied_name(first)
    if not first:
        layer_numbers(first)  # which refuses it
    if name is None:
        kind, layers = find_strategy(first), ""
        if rest and "=" not in rest[0]:
            layers, *rest = rest
    else:
        kind, layers = find_strategy(name), first
    if len(rest) > 1:
        raise StrategyError(
            f"cannot read {text!r}: expected NAME:layers:key=value,... (a : in a value is %3A)"
        )
    given = dict(kind.from_layers(layers)) if layers else {}
    said = read_settings(rest[0], kind, text) if rest else {}
    missing = [each.name for each in settings_of(kind) if each.name not in {*given, *said} and required(each)]
    if missing and missing[0] in kind.layer_fields:
        raise StrategyError(f"{text!r} needs layers, as in '{first}:0,2,-1' or '{first}:high'")
    if missing:
        raise StrategyError(
            f"{kind.__name__} needs a setting {missing[0]!r}, as in '{first}:{missing[0]}=...'"
        )
    return kind(**given, **said), frozenset(said)
