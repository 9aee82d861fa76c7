"""The text form of strategies: `NAME:layers:key=value,...`, one grammar for ours and others'.

The layers, or the settings, or both may be missing, and the paper's three forms need no name:

    -1    14,-1    0,2,4,30    high    high,20    high:alpha=0.2       vanilla, static, dola
    dola:14,-1                 what would read as another form
    sled:high:rate=2.0         a registered strategy by its name

A value is a number, `true`, `false`, `none`, a word, or, for a setting that is a tuple, each element followed
by `/`. In a word `% , : = /` and what a number or `none` would read as is written as in a URL (`%2C`).
"""

import re
import types
import typing
from collections.abc import Collection, Iterator
from dataclasses import MISSING, Field, fields
from typing import Any
from urllib.parse import quote, unquote

from dola.errors import StrategyError
from dola.strategies.base import Strategy
from dola.strategies.registry import implied_name, name_of

_RESERVED = re.compile(r"[%,:=/]|^\s|\s$|[\x00-\x1f\x7f]")


def strategy_text(strategy: Strategy, *, keep: Collection[str] = ()) -> str:
    """As `parse_strategy` reads it: what is as it would be anyway is left out, but for `keep`."""
    layers = strategy.layers_text()
    said = _said(strategy, layers, keep)
    settings = ",".join(f"{key}={value_text(value, kind)}" for key, value, kind in said)
    name = name_of(type(strategy))
    if layers and implied_name(layers) == name:
        name = ""
    return ":".join(part for part in (name, layers, settings) if part)


def _said(strategy: Strategy, layers: str, keep: Collection[str]) -> Iterator[tuple[str, object, object]]:
    """The settings to `keep`, and those that differ from what the same layers have with nothing said."""
    kinds = typing.get_type_hints(type(strategy))
    given = dict(strategy.from_layers(layers)) if layers else {}
    plain: Strategy | None = None
    needed = {each.name for each in settings_of(type(strategy)) if required(each)}
    if needed <= set(given):
        plain = type(strategy)(**given)
    for each in settings_of(type(strategy)):
        value = getattr(strategy, each.name)
        if each.name in strategy.layer_fields:
            continue
        if plain is None:
            unsaid = not required(each) and value == _default(each)
        else:
            unsaid = value == getattr(plain, each.name)
        if not unsaid or each.name in keep:
            yield each.name, value, kinds[each.name]


def settings_of(kind: type[Strategy]) -> tuple["Field[Any]", ...]:
    """The fields that a strategy of this class is made with."""
    return tuple(each for each in fields(kind) if each.init)


def required(each: "Field[Any]") -> bool:
    """Whether a strategy cannot be made without this setting."""
    return each.default is MISSING and each.default_factory is MISSING


def _default(each: "Field[Any]") -> object:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def value_text(value: object, kind: object) -> str:
    """A setting's value, as `parse_value` reads it for a setting of this type."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        (element,) = {*_elements(kind)} or {str}
        return "".join(f"{value_text(each, element)}/" for each in value)
    if isinstance(value, float):
        short = repr(value).removesuffix(".0")
        return short if int not in _options(kind) else repr(value)
    if not isinstance(value, str):
        return repr(value)
    text = _RESERVED.sub(lambda match: quote(match[0], safe=""), value)
    if text and _other_than_word(text, kind):
        first = "".join(f"%{byte:02X}" for byte in text[0].encode())  # a digit of any script
        text = first + text[1:]
    return text


def parse_value(text: str, kind: object) -> object:
    """A setting's value from its text.

    Args:
        kind: the setting's type: `int`, `float`, `bool`, `str`, `None`, a `Literal`, a tuple of one of
            these, or a union of any.

    Raises:
        ValueError: no such value.
    """
    for option in _options(kind):
        try:
            return _value(text, option)
        except ValueError:
            continue
    raise ValueError(f"no {kind}: {text!r}")


def _value(text: str, kind: object) -> object:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        words = {
            str(each).lower() if isinstance(each, bool) else str(each): each for each in typing.get_args(kind)
        }
        if unquote(text) in words:
            return words[unquote(text)]
    elif origin is tuple:
        return _tuple(text, kind)
    elif kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    elif kind is type(None) and text.lower() == "none":
        return None
    elif kind is int:
        return int(text)
    elif kind is float and (number := float(text)) == number:  # not NaN, which equals nothing
        return number
    elif kind is str:
        return unquote(text)
    raise ValueError(text)


def _tuple(text: str, kind: object) -> tuple[object, ...]:
    (element,) = {*_elements(kind)}
    return tuple(parse_value(each, element) for each in text.removesuffix("/").split("/")) if text else ()


def _elements(kind: object) -> Iterator[object]:
    """The type of a tuple's elements, from the tuple's, or from a union with one in it."""
    for option in _options(kind):
        if typing.get_origin(option) is tuple:
            yield typing.get_args(option)[0]


_ORDER = (type(None), bool, int, float)


def _options(kind: object) -> list[Any]:
    """The types of a union, those first whose values a word could be taken for."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    options = list(typing.get_args(kind)) if union else [kind]
    return sorted(options, key=lambda each: _ORDER.index(each) if each in _ORDER else 4 + (each is str))


def _other_than_word(text: str, kind: object) -> bool:
    try:
        return not isinstance(parse_value(text, kind), str)
    except ValueError:
        return False


def read_settings(text: str, kind: type[Strategy], whole: str) -> dict[str, object]:
    """The settings `key=value,...` of a strategy of this class.

    Raises:
        StrategyError: a setting that it lacks, or one of the wrong kind.
    """
    known = {each.name for each in settings_of(kind)} - set(kind.layer_fields)
    kinds = typing.get_type_hints(kind)
    settings: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals:
            raise StrategyError(f"cannot read the setting {part!r} of {whole!r}: expected key=value")
        if key in settings:
            raise StrategyError(f"the setting {key!r} is given twice in {whole!r}")
        if key not in known:
            raise StrategyError(
                f"{kind.__name__} has no setting {key!r}; it has: {', '.join(sorted(known)) or 'none'}"
            )
        try:
            settings[key] = parse_value(value, kinds[key])
        except ValueError:
            raise StrategyError(
                f"the setting {key!r} must be {_in_words(kinds[key])}, found {value!r}"
            ) from None
    return settings


def _in_words(kind: object) -> str:
    named = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a word",
        type(None): "none",
    }
    words: list[str] = []
    for option in _options(kind):
        if typing.get_origin(option) is typing.Literal:
            words += map(str, typing.get_args(option))
        elif typing.get_origin(option) is tuple:
            words.append("values, each followed by /")
        else:
            words.append(named.get(option, str(option)))
    words = words[1:] + words[:1] if words[:1] == ["none"] else words
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
