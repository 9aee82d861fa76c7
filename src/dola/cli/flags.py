"""The settings of a run as options of a command: each flag's name, type and help are the setting's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any

import click

from dola.cli.options import FiniteNumber
from dola.runs.settings import Number, OneOf, Place, Setting, Several, Truth, Whole
from dola.runs.spec import setting_of, spec_fields

_Command = Callable[..., Any]


def settings(*names: str) -> Callable[[_Command], _Command]:
    """A decorator that adds the options of these settings, in this order, and hands their values over as one
    dictionary, `said`: the keywords of a `RunSpec`."""
    by_name = {each.name: each for each in spec_fields()}
    chosen = [by_name[name] for name in dict.fromkeys(names)]

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def gathered(**values: Any) -> Any:
            given = {each.name: values.pop(each.name) for each in chosen}
            said = {name: value for name, value in given.items() if value not in (None, ())}
            return command(**values, said=said)

        made: _Command = gathered
        for each in reversed(chosen):
            made = _option(each)(made)
        return made

    return decorate


def _option(each: Field[Any]) -> Callable[[_Command], _Command]:
    how = setting_of(each)
    default = None if isinstance(how.check, Several) or each.default is MISSING else each.default
    return click.option(
        *_spelled(how),
        each.name,
        default=default,
        show_default=how.shown,
        metavar=how.metavar,
        help=how.help,
        **_kind(how),
    )


def _spelled(how: Setting) -> Sequence[str]:
    if isinstance(how.check, Truth) and how.check.off:
        return [f"{how.flags[0]}/{how.check.off}"]
    return how.flags


def _kind(how: Setting) -> dict[str, Any]:
    check = how.check
    if isinstance(check, Truth):
        return {} if check.off else {"is_flag": True}
    if isinstance(check, Several):
        return {"multiple": True}
    return {"type": _type(check)}


def _type(check: object) -> click.ParamType[Any]:
    if isinstance(check, Whole):
        return click.IntRange(check.low, check.high)
    if isinstance(check, Number):
        if check.low is None:
            return click.FLOAT
        return FiniteNumber(check.low, check.high, min_open=check.above)
    if isinstance(check, OneOf):
        return click.Choice(list(check.words))
    return click.Path(path_type=Path) if isinstance(check, Place) else click.STRING
