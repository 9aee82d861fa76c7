"""A group of commands whose modules are imported when they are called, and not to list them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

# Command -> module, name in it, and its line in the help.
Commands = Mapping[str, tuple[str, str, str]]


class LazyGroup(click.Group):
    """A group of `commands_at`, in that order, after those that its own module adds."""

    def __init__(self, *args: Any, commands_at: Commands, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self._commands_at]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._commands_at:
            return super().get_command(ctx, cmd_name)
        module, name, _ = self._commands_at[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        own = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        lines = own | {name: line for name, (_, _, line) in self._commands_at.items()}
        with formatter.section("Commands"):
            formatter.write_dl(list(lines.items()))
