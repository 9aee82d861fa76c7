"""The command `dola`: finds the command's module when it is used, and says what went wrong in one line."""

from __future__ import annotations

import sys
from typing import Any

import click

from dola import __version__
from dola.cli.failures import explained
from dola.cli.lazy_group import LazyGroup

# Command -> module, name in it, and its line in `dola --help`, which must not import what it lists.
COMMANDS = {
    "generate": ("dola.cli.generate", "generate", "Continue prompts, with DoLa, vanilla, or both."),
    "chat": ("dola.cli.chat", "chat", "Talk to a model, and switch strategies as you go."),
    "demo": ("dola.cli.demo", "demo", "See what DoLa changes, on a small embedded model."),
    "eval": ("dola.cli.eval", "evaluate", "Measure strategies on a benchmark, with statistics."),
    "judge": ("dola.cli.judge", "judge", "Let judges rate answers: truth and information, or pairwise."),
    "tune": ("dola.cli.tune", "tune", "Choose the candidate layers for a model by two-fold validation."),
    "report": ("dola.cli.report", "report", "Show results as a page or a table; join shards."),
    "models": ("dola.cli.models", "models", "List, fetch and remove the embedded models."),
}


class _Dola(LazyGroup):
    """The outermost group: whatever goes wrong below is said in one line here."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with explained():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with explained():
            return super().invoke(ctx)


@click.group(
    cls=_Dola,
    commands_at=COMMANDS,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # The released scripts spell their flags both ways.
        "token_normalize_func": lambda name: name.replace("_", "-"),
        "max_content_width": 110,
    },
)
@click.version_option(__version__, prog_name="dola")
@click.pass_context
def dola(context: click.Context) -> None:
    """DoLa: decoding by contrasting layers, on any Hugging Face causal language model.

    \b
    dola demo                                        see it work
    dola generate "Q: ..." --compare                 vanilla and DoLa on your own prompt
    dola generate "Q: ..." --early-exit-layers high --explain
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """The console script. Exit codes: 0 done, 2 wrong usage or input, 130 interrupted, 1 a fault of ours."""
    for stream in (sys.stdout, sys.stderr):
        # A model may write what the terminal's encoding lacks.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    dola(prog_name="dola")
