"""`dola generate`: continue prompts with each strategy in turn, as text or as JSON lines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click
from rich.console import Console

from dola.cli.explain import layers_table, trace_of
from dola.cli.loading import load_for, tell_once
from dola.cli.options import (
    ModelOptions,
    SamplingOptions,
    StrategyOptions,
    model_options,
    sampling_options,
    strategy_options,
)
from dola.cli.prompts import read_prompts

if TYPE_CHECKING:
    from dola.language_model import Generation, LanguageModel
    from dola.strategies import Strategy


@dataclass(frozen=True)
class Asked:
    """A prompt as the user gave it, and as the model is given it."""

    prompt: str
    text: str


@click.command()
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option(
    "--file", "files", multiple=True, metavar="FILE", help="Read a prompt from a file. May be repeated."
)
@click.option("--lines", is_flag=True, help="Each line of the files or of standard input is a prompt.")
@strategy_options
@sampling_options
@click.option("--system", metavar="TEXT", help="System message; means --chat.")
@click.option("--chat/--no-chat", default=None, help="Wrap the prompt in the model's chat template.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Prompts at a time."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a prompt and strategy, a line each.")
@click.option("--explain", is_flag=True, help="Show of each token what it was chosen by.")
@model_options
def generate(
    *,
    prompts: tuple[str, ...],
    files: tuple[str, ...],
    lines: bool,
    system: str | None,
    chat: bool | None,
    batch_size: int,
    as_json: bool,
    explain: bool,
    strategy: StrategyOptions,
    sampling: SamplingOptions,
    model: ModelOptions,
) -> None:
    """Continue each PROMPT; `-`, or no prompt at all, reads standard input.

    The text alone goes to standard output, as it is generated. With several prompts or strategies each text
    gets a heading; with --json each is an object with the keys prompt, strategy, text, token_ids, scores,
    premature_layers, finish_reason, raw_text and prompt_tokens; where candidate layers held NaN or infinity,
    left_out too: how many were left out of the choice.
    """
    if as_json and explain:
        raise click.UsageError("--explain is for people: with --json the layers stand in premature_layers")
    if chat is False and system is not None:
        raise click.UsageError("--system needs the chat template: leave out --no-chat")
    if sampling.prompt_lookup_num_tokens is not None and batch_size > 1:
        raise click.UsageError("--prompt-lookup-num-tokens works with --batch-size 1 only")
    texts = read_prompts(prompts, files, lines=lines)
    strategies = strategy.strategies()
    notes: list[str] = []
    lm = load_for(model, strategies, notes)
    templated = chat if chat is not None else system is not None
    asked = [Asked(text, _templated(lm, text, system) if templated else text) for text in texts]
    writer = _Writer(lm, sampling, len(asked) * len(strategies) > 1, len(asked) > 1, explain)
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        for each in strategies:
            if as_json:
                _write_json(lm, batch, each, sampling)
            else:
                writer.write(batch, each)
            tell_once(notes)


def _templated(lm: LanguageModel, text: str, system: str | None) -> str:
    messages = [] if system is None else [{"role": "system", "content": system}]
    return lm.chat_prompt([*messages, {"role": "user", "content": text}])


def _write_json(
    lm: LanguageModel, batch: Sequence[Asked], strategy: Strategy, sampling: SamplingOptions
) -> None:
    generations = lm.generate([asked.text for asked in batch], strategy, **sampling.arguments())
    for asked, generation in zip(batch, generations, strict=True):
        record = {"prompt": asked.prompt, "strategy": str(strategy)} | {
            key: value for key, value in asdict(generation).items() if key != "prompt"
        }
        if not generation.left_out:
            del record["left_out"]
        # JSON has no word for what is not a finite number.
        record["scores"] = [score if math.isfinite(score) else None for score in generation.scores]
        click.echo(json.dumps(record, ensure_ascii=False))
        sys.stdout.flush()


@dataclass
class _Writer:
    """Prints the texts for people: streamed where one prompt is decoded without beams."""

    lm: LanguageModel
    sampling: SamplingOptions
    headed: bool
    with_prompt: bool
    explain: bool
    written: int = 0

    def write(self, batch: Sequence[Asked], strategy: Strategy) -> None:
        texts = [asked.text for asked in batch]
        if len(batch) == 1 and self.sampling.num_beams == 1:
            self._heading(batch[0], strategy)
            generations = self.lm.generate(texts, strategy, **self.sampling.arguments(), on_text=_stream)
            self._finish(generations[0], strategy)
            return
        generations = self.lm.generate(texts, strategy, **self.sampling.arguments())
        for asked, generation in zip(batch, generations, strict=True):
            self._heading(asked, strategy)
            _stream(generation.text)
            self._finish(generation, strategy)

    def _heading(self, asked: Asked, strategy: Strategy) -> None:
        if not self.headed:
            return
        if self.written:
            click.echo()
        self.written += 1
        if self.with_prompt:
            click.secho(f"> {' '.join(asked.prompt.split())[-72:]}", dim=True)
        click.secho(f"[{named(strategy)}]", bold=True)

    def _finish(self, generation: Generation, strategy: Strategy) -> None:
        click.echo()
        if not self.explain:
            return
        console = Console(highlight=False)
        tokens = trace_of(self.lm, generation, strategy)
        console.print()
        console.print(layers_table(tokens, console) if tokens else "Vanilla: no layer was contrasted.")


def named(strategy: Strategy) -> str:
    """A strategy as people read it: DoLa's forms need no name in text, and have one here."""
    from dola.strategies import DoLa, DoLaStatic, Vanilla

    if type(strategy) is Vanilla:
        return "vanilla"
    return f"DoLa {strategy}" if type(strategy) in (DoLa, DoLaStatic) else str(strategy)


def _stream(text: str) -> None:
    click.echo(text, nl=False)
    sys.stdout.flush()
