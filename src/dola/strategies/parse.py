"""From text to a strategy: the released layer strings, bucket names, registered names, and settings.

-1                          vanilla (also N alone)
14,30                       static: premature layer 14, mature layer 30
0,2,4,6,8,10,12,14,30       dynamic: candidates, then the mature layer
dola:14,30                  dynamic, though there is one candidate only
low | high | auto           dynamic: a bucket of candidates, the last layer mature
high:alpha=0.2,divergence=js        any of them, with settings
NAME:key=value,...          a registered strategy by its name (see `registry`)
"""

import typing
from dataclasses import MISSING, fields
from typing import Any

from dola.errors import LayerError, StrategyError
from dola.strategies.base import Strategy
from dola.strategies.dola import DoLa, DoLaStatic
from dola.strategies.layers import BUCKETS
from dola.strategies.registry import find_strategy
from dola.strategies.vanilla import Vanilla


def parse_strategy(text: str) -> Strategy:
    """The strategy that `text` names. `parse_strategy(str(strategy)) == strategy`.

    Raises:
        LayerError: the layers cannot be right in any model (whether a model has them, `resolve` says).
        StrategyError: an unknown name or setting, or a setting of the wrong kind.
    """
    kind, _, rest = text.strip().partition(":")
    dynamic = kind == "dola"
    head, _, tail = (rest if dynamic else text.strip()).partition(":")
    settings = _pairs(tail, text)
    name = head.strip()
    if name in BUCKETS:
        return _build(DoLa, {"candidate_premature_layers": name}, settings)
    bucket_name, _, mature = name.partition(",")
    if bucket_name in BUCKETS:
        last, *more = _layer_numbers(mature, text)
        if more:
            raise LayerError(f"cannot read layers from {text!r}: after {bucket_name!r}, one mature layer")
        return _build(DoLa, {"candidate_premature_layers": bucket_name, "mature_layer": last}, settings)
    if not name or name[0] in "-+0123456789,":
        return _from_numbers(_layer_numbers(name, text), settings, dynamic=dynamic)
    return _build(find_strategy(name), {}, settings)


def _from_numbers(layers: list[int], settings: dict[str, str], *, dynamic: bool) -> Strategy:
    *premature, last = layers
    mature = None if last == -1 else last
    if not premature and dynamic:
        raise LayerError(f"dola:{last}: expected candidate layers before the mature one, as in 'dola:2,-1'")
    if not premature:
        return _build(Vanilla, {"mature_layer": mature}, settings)
    if len(premature) == 1 and not dynamic:
        return _build(DoLaStatic, {"premature_layer": premature[0], "mature_layer": mature}, settings)
    return _build(DoLa, {"candidate_premature_layers": tuple(premature), "mature_layer": mature}, settings)


def _layer_numbers(text: str, whole: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise LayerError(
            f"cannot read layers from {whole!r}: expected numbers as in '0,2,4,32', '-1', or one of"
            f" {', '.join(BUCKETS)}"
        ) from None


def _pairs(text: str, whole: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise StrategyError(f"cannot read the setting {part!r} of {whole!r}: expected key=value")
        if key.strip() in pairs:
            raise StrategyError(f"the setting {key.strip()!r} is given twice in {whole!r}")
        pairs[key.strip()] = value.strip()
    return pairs


def _build(kind: type[Strategy], layers: dict[str, Any], settings: dict[str, str]) -> Strategy:
    types = typing.get_type_hints(kind)
    known = {field.name for field in fields(kind) if field.name not in layers}
    for key in settings:
        if key not in known:
            raise StrategyError(
                f"{kind.__name__} has no setting {key!r}; it has: {', '.join(sorted(known)) or 'none'}"
            )
    missing = [
        field.name
        for field in fields(kind)
        if field.init
        and field.default is MISSING
        and field.default_factory is MISSING
        and field.name not in {*layers, *settings}
    ]
    if missing:
        raise StrategyError(f"{kind.__name__} needs a setting {missing[0]!r}, as in 'NAME:{missing[0]}=...'")
    return kind(**layers, **{key: _value(key, text, types[key]) for key, text in settings.items()})


def _value(key: str, text: str, kind: object) -> object:
    """`text` as the type of the setting: nothing, a number, a truth value, or a word."""
    if type(None) in typing.get_args(kind) and text.lower() == "none":
        return None
    if kind is bool or bool in typing.get_args(kind):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise StrategyError(f"the setting {key!r} must be true or false, found {text!r}")
    for number in (int, float):
        if kind is number or number in typing.get_args(kind):
            try:
                return number(text)
            except ValueError:
                raise StrategyError(f"the setting {key!r} must be a number, found {text!r}") from None
    return text
