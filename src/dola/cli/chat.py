"""`dola chat`: a conversation with a model, and a change of strategy in the middle of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click
from rich.console import Console

from dola.cli.explain import layers_table, trace_of
from dola.cli.generate import named
from dola.cli.loading import load_for, tell_once
from dola.cli.options import (
    ModelOptions,
    SamplingOptions,
    StrategyOptions,
    model_options,
    sampling_options,
    strategy_options,
)
from dola.errors import DolaError

if TYPE_CHECKING:
    from dola.language_model import LanguageModel
    from dola.strategies import Strategy

_HELP = """\
/layers LAYERS   change the strategy: low, high, auto, 14,30, 0,2,4,30, or -1
/compare         answer with vanilla too, or stop doing so
/explain         show what each token was chosen by, or stop doing so
/reset           forget the conversation (the system message stays)
/exit            end; so does Ctrl-D. Ctrl-C stops an answer"""


@click.command()
@strategy_options
@sampling_options
@click.option("--system", metavar="TEXT", help="System message.")
@click.option("--explain", is_flag=True, help="Show of each token what it was chosen by.")
@model_options
def chat(
    *,
    system: str | None,
    explain: bool,
    strategy: StrategyOptions,
    sampling: SamplingOptions,
    model: ModelOptions,
) -> None:
    """Talk to an instruction-tuned model. /help lists what can be said to the session itself.

    With several strategies each answers in turn; the last one's answer is the one that the conversation
    goes on from.
    """
    strategies = strategy.strategies()
    notes: list[str] = []
    lm = load_for(model, strategies, notes)
    session = Session(lm, sampling, strategies, system, explain=explain)
    session.prompt([{"role": "user", "content": "?"}])  # refuses a base model before the first question
    tell_once(notes)
    click.echo(f"{lm.name}: {session.strategies_named()}. /help lists the commands, Ctrl-D ends.", err=True)
    with suppress(ImportError):
        import readline  # noqa: F401 (line editing and history, by being imported)
    while True:
        try:
            line = input("you> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo("\n/exit or Ctrl-D ends.", err=True)
            continue
        try:
            if not session.take(line):
                return
        except DolaError as error:
            click.echo(f"dola: {' '.join(str(error).split())}", err=True)


@dataclass
class Session:
    """A conversation so far, and how it is answered."""

    lm: LanguageModel
    sampling: SamplingOptions
    strategies: tuple[Strategy, ...]
    system: str | None
    explain: bool = field(kw_only=True)
    turns: list[dict[str, str]] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Answer a line or obey it; whether the session goes on.

        Raises:
            DolaError: what was asked for is not possible; the conversation is as it was.
        """
        if not line:
            return True
        if not line.startswith("/"):
            self._answer(line)
            return True
        command, _, rest = line.partition(" ")
        if command in ("/exit", "/quit"):
            return False
        self._obey(command, rest.strip())
        return True

    def strategies_named(self) -> str:
        """The strategies as people read them."""
        return ", ".join(map(named, self.strategies))

    def prompt(self, turns: Sequence[dict[str, str]]) -> str:
        """The system message, if there is one, and the turns, in the model's own template.

        Raises:
            ModelError: the model has no chat template, or one that refuses them.
        """
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return self.lm.chat_prompt([*system, *turns])

    def _obey(self, command: str, rest: str) -> None:
        from dola.strategies import Vanilla, parse_strategy, resolve_strategy

        if command == "/reset":
            self.turns.clear()
            click.echo("the conversation starts anew", err=True)
        elif command == "/explain":
            self.explain = not self.explain
            click.echo(f"layers are {'shown' if self.explain else 'not shown'}", err=True)
        elif command == "/compare":
            others = tuple(each for each in self.strategies if not isinstance(each, Vanilla))
            self.strategies = others if others != self.strategies and others else (Vanilla(), *others)
            click.echo(f"answering with {self.strategies_named()}", err=True)
        elif command == "/layers" and rest:
            chosen = parse_strategy(rest)
            resolve_strategy(chosen, self.lm.depths)
            self.strategies = (chosen,)
            click.echo(f"answering with {self.strategies_named()}", err=True)
        elif command == "/layers":
            click.echo(
                f"answering with {self.strategies_named()}, in a model of {self.lm.depth.num_layers} layers",
                err=True,
            )
        else:
            if command != "/help":
                click.echo(f"no command {command}; there are:", err=True)
            click.echo(_HELP, err=True)

    def _answer(self, question: str) -> None:
        asked = [*self.turns, {"role": "user", "content": question}]
        prompt = self.prompt(asked)
        answer = ""
        for strategy in self.strategies:
            name = f"{named(strategy)}> " if len(self.strategies) > 1 else "model> "
            click.secho(name if sys.stdout.isatty() else "", nl=False, bold=True)
            answer, stopped = self._stream(prompt, strategy)
            if stopped:
                break
        self.turns = [*asked, {"role": "assistant", "content": answer}]

    def _stream(self, prompt: str, strategy: Strategy) -> tuple[str, bool]:
        """The answer as far as it came, and whether Ctrl-C stopped it."""
        said: list[str] = []

        def show(text: str) -> None:
            said.append(text)
            click.echo(text, nl=False)
            sys.stdout.flush()

        streamed = self.sampling.num_beams == 1
        try:
            generation = self.lm.generate(
                prompt, strategy, **self.sampling.arguments(), on_text=show if streamed else None
            )[0]
        except KeyboardInterrupt:
            click.echo(" [stopped]")
            return "".join(said), True
        if not streamed:
            show(generation.text)
        click.echo()
        tokens = trace_of(self.lm, generation, strategy) if self.explain else ()
        if tokens:
            console = Console(highlight=False)
            console.print(layers_table(tokens, console))
        return generation.text, False
