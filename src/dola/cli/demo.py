"""`dola demo`: questions answered by vanilla and DoLa side by side, with the layer of each token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from dola.cli.explain import layers_strip, trace_of
from dola.cli.loading import load_for, waiting
from dola.cli.options import DEFAULT_MODEL, ModelOptions

if TYPE_CHECKING:
    from dola.language_model import LanguageModel
    from dola.strategies import Strategy

# Picked for showing different things, DoLa's failures included.
QUESTIONS = (
    "How many legs does a spider have?",
    "In which country is Mount Kilimanjaro?",
    "Who wrote the novel Frankenstein?",
    "What is the longest river in Africa?",
    "What is the capital of Australia?",
)
LAYERS = "high"
MAX_NEW_TOKENS = 16

_NEXT = (
    (
        'dola generate "Who discovered penicillin?" --chat --compare --explain',
        "your own question, and how far every layer was",
    ),
    ("dola chat --early-exit-layers low", "a conversation, with vanilla beside DoLa on /compare"),
    ("dola generate --help", "any Hugging Face model, sampling, JSON"),
    ("dola models", "the embedded models, and where they are kept"),
)


@click.command()
@click.option("--device", default="cpu", show_default=True, metavar="auto|cpu|cuda|mps", help="Where to run.")
def demo(*, device: str) -> None:
    """Answer a few questions with and without DoLa, on a small model that is fetched once."""
    from dola.strategies import Vanilla, parse_strategy

    console = Console(highlight=False)
    strategy = parse_strategy(LAYERS)
    model = ModelOptions(
        model_name=DEFAULT_MODEL,
        device=device,
        dtype=None,
        num_gpus="1",
        max_gpu_memory=27,
        trust_remote_code=False,
    )
    lm = load_for(model, (strategy,))
    started = time.monotonic()
    console.print(_opening(lm, strategy))
    for number, question in enumerate(QUESTIONS, 1):
        with waiting(f"{number} of {len(QUESTIONS)}: {question}"):
            answered = _answered(lm, number, question, (Vanilla(), strategy), console.width)
        console.print(answered)
    console.print(_closing(time.monotonic() - started))


def _opening(lm: LanguageModel, strategy: Strategy) -> Group:
    from dola.strategies import resolve_strategy

    resolved = resolve_strategy(strategy, lm.depths)
    layers = ", ".join(map(str, resolved.candidates))
    return Group(
        Rule("DoLa: decoding by contrasting layers", characters="─"),
        Text(
            f"{lm.name} has {lm.depth.num_layers} layers. Vanilla decoding takes the last one's word."
            f" DoLa asks earlier layers too ({layers}), contrasts the last layer with the one that"
            " differs most from it, and so favours what the model learned late."
        ),
        Text(
            "Below each DoLa token: the premature layer it was contrasted with, and how far apart the two"
            " layers were, in nats. Here early exits are normed (--early-exit-layers high); the released"
            " code leaves that out.",
            style="dim",
        ),
        Text(),
    )


def _answered(
    lm: LanguageModel, number: int, question: str, strategies: tuple[Strategy, Strategy], width: int
) -> Panel:
    prompt = lm.chat_prompt([{"role": "user", "content": question}])
    vanilla, contrasted = (
        lm.generate(prompt, strategy, max_new_tokens=MAX_NEW_TOKENS)[0] for strategy in strategies
    )
    answers = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    answers.add_column(width=8, style="dim")
    answers.add_column(overflow="fold")
    for name, generation, style in (("vanilla", vanilla, ""), ("DoLa", contrasted, "bold green")):
        cut = " …" if generation.finish_reason == "length" else ""
        answers.add_row(name, Text(" ".join(generation.text.split()) + cut, style=style))
    tokens = trace_of(lm, contrasted, strategies[1])
    return Panel(
        Group(answers, Text(), layers_strip(tokens, width - 4)) if tokens else answers,
        title=Text(f"{number}. {question}", style="bold"),
        title_align="left",
        border_style="dim",
    )


def _closing(seconds: float) -> Group:
    commands = Text()
    for command, what in _NEXT:
        commands.append(f"# {what}\n", style="dim")
        commands.append(f"{command}\n", style="bold")
    return Group(
        Text(
            f"Answered in {seconds:.0f} s. So small a model shows the mechanism, not the gain, which was"
            " measured on models of 7 billion parameters and more. No answer here is to be trusted.",
        ),
        Rule("Next", characters="─"),
        commands,
    )
