"""Frozen dataclasses as JSON objects and back, by their annotations; keys that none knows are kept.

A class with a field `extra` keeps them there, and they are written again. A field may be called otherwise in
the file (`named`), and be left out of it where it is None (`optional`).
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]

EXTRA = "extra"

# What is in JSON as it is: most of what there is, and a call for each would be half of the time.
_PLAIN = frozenset({str, int, bool, types.NoneType})

# Of each class, what reads it and how it is written: worked out once.
_READERS: dict[type[Any], Reader] = {}
_KEYS: dict[type[Any], tuple[tuple[str, str, bool], ...]] = {}


def named(key: str, **settings: Any) -> Any:
    """A field that the file has under another name."""
    return field(metadata={"key": key}, **settings)


def optional() -> Any:
    """A field that the file has only where it is not None."""
    return field(default=None, metadata={"optional": True})


def unknown() -> Any:
    """The field that keeps the keys which its class does not know."""
    return field(default_factory=dict)


class FormError(ValueError):
    """A value that is not of its form: `rows.0.label: expected text, found 3`."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.place = place

    def within(self, place: object) -> FormError:
        """The same, seen from one level above."""
        return FormError(self.problem, ".".join(filter(None, (str(place), self.place))))


def read(kind: type[T], found: object) -> T:
    """A JSON object as a dataclass.

    Raises:
        FormError: a key that is missing, or a value of another type, with its place.
    """
    made: T = _object(kind)(found)
    return made


def written(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, what is not finite as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict | Mapping):  # the first by far the most, and the second slow to tell
        return {key: each if type(each) in _PLAIN else written(each) for key, each in value.items()}
    if isinstance(value, list | tuple | Sequence):
        return [
            each
            if (kind := type(each)) in _PLAIN or (kind is float and math.isfinite(each))
            else written(each)
            for each in value
        ]
    if is_dataclass(value):
        return written(opened(value))
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def opened(value: Any) -> Any:
    """A dataclass as the object that it is written as, with what is in it as it is; others as they are."""
    if not is_dataclass(value):
        return value
    made = {}
    for each, key, left_out in _keys(type(value)):
        inside = getattr(value, each)
        if not (left_out and inside is None):
            made[key] = inside
    return {**made, **getattr(value, EXTRA, {})}


def _keys(kind: type[Any]) -> tuple[tuple[str, str, bool], ...]:
    """Of each field: its name, its key in the file, and whether it is left out where it is None."""
    if kind not in _KEYS:
        _KEYS[kind] = tuple(
            (each.name, _key(each), bool(each.metadata.get("optional")))
            for each in fields(kind)
            if each.name != EXTRA
        )
    return _KEYS[kind]


def _key(each: Field[Any]) -> str:
    return str(each.metadata.get("key", each.name))


def _object(kind: type[Any]) -> Reader:
    if kind not in _READERS:
        _READERS[kind] = _reader_of(kind)
    return _READERS[kind]


def _reader_of(kind: type[Any]) -> Reader:
    hints = get_type_hints(kind)
    known = {_key(each): each.name for each in fields(kind) if each.name != EXTRA}
    readers = {_key(each): _reader(hints[each.name]) for each in fields(kind) if each.name != EXTRA}
    needed = [_key(each) for each in fields(kind) if each.default is each.default_factory is MISSING]
    keeps = len(known) < len(fields(kind))

    def reader(found: Any) -> Any:
        if not isinstance(found, Mapping):
            raise FormError(f"expected an object, found {_shown(found)}")
        given: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for key, value in found.items():
            if key not in known:
                others[key] = value
                continue
            try:
                given[known[key]] = readers[key](value)
            except FormError as error:
                raise error.within(key) from None
        missing = [key for key in needed if key not in found]
        if missing:
            raise FormError(f"no key {missing[0]!r}")
        return kind(**given, **({EXTRA: others} if keeps and others else {}))

    return reader


def _reader(hint: Any) -> Reader:
    """What reads a value of this annotation."""
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda found: found
    if origin in (Union, types.UnionType):
        return _maybe([each for each in inside if each is not types.NoneType])
    if origin is Literal:
        return _one_of(inside)
    if origin is tuple:
        return _sequence(_reader(inside[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_reader(inside[1]))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _sequence(_reader(inside[0]))
    return _object(hint) if isinstance(hint, type) and is_dataclass(hint) else _SCALARS[hint]


def _maybe(kinds: Sequence[Any]) -> Reader:
    """A value or null; of several kinds the first that fits."""
    readers = [_reader(kind) for kind in kinds]

    def reader(found: Any) -> Any:
        if found is None:
            return None
        for each in readers[:-1]:
            try:
                return each(found)
            except FormError:
                continue
        return readers[-1](found)

    return reader


def _sequence(inside: Reader) -> Reader:
    def reader(found: Any) -> Any:
        if not isinstance(found, list | tuple):
            raise FormError(f"expected a list, found {_shown(found)}")
        made = []
        for at, each in enumerate(found):
            try:
                made.append(inside(each))
            except FormError as error:
                raise error.within(at) from None
        return tuple(made)

    return reader


def _mapping(inside: Reader) -> Reader:
    def reader(found: Any) -> Any:
        if not isinstance(found, Mapping):
            raise FormError(f"expected an object, found {_shown(found)}")
        made = {}
        for key, each in found.items():
            try:
                made[key] = inside(each)
            except FormError as error:
                raise error.within(key) from None
        return made

    return reader


def _one_of(choices: tuple[Any, ...]) -> Reader:
    def reader(found: Any) -> Any:
        if found not in choices:
            raise FormError(f"expected one of {', '.join(map(str, choices))}, found {_shown(found)}")
        return found

    return reader


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise FormError(f"expected text, found {_shown(found)}")
    return found


def _whole(found: Any) -> int:
    if not isinstance(found, int) or isinstance(found, bool):
        raise FormError(f"expected a whole number, found {_shown(found)}")
    return found


def _number(found: Any) -> float:
    """A number; null is one that is not finite, which JSON cannot say."""
    if found is None:
        return math.nan
    if not isinstance(found, float | int) or isinstance(found, bool):
        raise FormError(f"expected a number, found {_shown(found)}")
    return found


def _truth(found: Any) -> bool:
    if not isinstance(found, bool):
        raise FormError(f"expected true or false, found {_shown(found)}")
    return found


_SCALARS: dict[Any, Reader] = {str: _text, int: _whole, float: _number, bool: _truth}


def _shown(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:60]}..."
