"""The options that commands share, each group of them declared once and handed over as one value."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import click

from dola.models.placement import DTYPES, Placement

if TYPE_CHECKING:
    from dola.strategies import Strategy

DEFAULT_MODEL = "smollm2"
DEFAULT_LAYERS = "low"

_Function = Callable[..., Any]


class FiniteNumber(click.FloatRange):
    """A finite number in a range: a comparison with NaN would let it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


POSITIVE = FiniteNumber(0.0, min_open=True)
SHARE = FiniteNumber(0.0, 1.0, min_open=True)
NOT_NEGATIVE = FiniteNumber(0.0)


@dataclass(frozen=True)
class PlacementOptions:
    """Where a model goes."""

    device: str
    dtype: str | None
    num_gpus: str
    max_gpu_memory: int
    trust_remote_code: bool

    @property
    def placement(self) -> Placement:
        return Placement(self.device, self.dtype, self.num_gpus, self.max_gpu_memory)


@dataclass(frozen=True)
class ModelOptions(PlacementOptions):
    """Which model, and where it goes."""

    model_name: str


@dataclass(frozen=True)
class StrategyOptions:
    """Which strategies, in turn."""

    early_exit_layers: tuple[str, ...]
    relative_top: float | None
    divergence: str | None
    early_exit_norm: bool | None
    post_softmax: bool | None
    compare: bool

    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies that were asked for; settings given as flags hold where a strategy has no own."""
        from dola.strategies import Vanilla, parse_named

        asked = tuple(
            self._with_flags(*parse_named(text)) for text in self.early_exit_layers or (DEFAULT_LAYERS,)
        )
        if self.compare and not any(type(strategy) is Vanilla for strategy in asked):
            return (Vanilla(), *asked)
        return asked

    def _with_flags(self, strategy: Strategy, said: frozenset[str]) -> Strategy:
        flags = {
            "alpha": self.relative_top,
            "divergence": self.divergence,
            "early_exit_norm": self.early_exit_norm,
            "post_softmax": self.post_softmax,
        }
        known = {field.name for field in fields(strategy)} - said
        return replace(strategy, **{k: v for k, v in flags.items() if v is not None and k in known})


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are taken from the scores, by Hugging Face's names."""

    max_new_tokens: int
    do_sample: bool
    temperature: float | None
    top_p: float | None
    top_k: int | None
    num_beams: int
    repetition_penalty: float
    prompt_lookup_num_tokens: int | None
    stop: tuple[str, ...]
    seed: int | None

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p", "top_k"):
            if getattr(self, name) is not None and not self.do_sample:
                raise click.UsageError(
                    f"--{name} has no effect without --do_sample: add it, or leave this out"
                )
        if self.prompt_lookup_num_tokens is not None and self.num_beams > 1:
            raise click.UsageError("--prompt-lookup-num-tokens works with --num_beams 1 only")
        if "" in self.stop:
            raise click.UsageError("--stop is empty: expected the text to stop at")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `LanguageModel.generate`."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) is not None
        }


def option_group(
    parameter: str, kind: type[Any], *options: Callable[[_Function], _Function]
) -> Callable[[_Function], _Function]:
    """A decorator that adds the options and hands their values over as one `kind`, named `parameter`."""

    def decorate(command: _Function) -> _Function:
        @functools.wraps(command)
        def gathered(**values: Any) -> Any:
            given = {field.name: values.pop(field.name) for field in fields(kind)}
            return command(**values, **{parameter: kind(**given)})

        made: _Function = gathered
        for option in reversed(options):
            made = option(made)
        return made

    return decorate


_PLACEMENT = (
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where to run.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        help="Of the weights.  [default: float32 on the CPU, else as saved where the device can]",
    ),
    click.option(
        "--num-gpus",
        default="1",
        show_default=True,
        metavar="auto|N",
        help="On CUDA: spread the model over N GPUs, or over all.",
    ),
    click.option(
        "--max_gpu_memory",
        type=click.IntRange(min=1),
        default=27,
        show_default=True,
        help="GiB for each of several GPUs.",
    ),
    click.option(
        "--trust-remote-code",
        is_flag=True,
        help="Run Python code that comes with the model. Off unless asked.",
    ),
)

model_options = option_group(
    "model",
    ModelOptions,
    click.option(
        "--model-name",
        default=DEFAULT_MODEL,
        show_default=True,
        help="An alias (`dola models`), a Hugging Face id, a folder, or a .gguf file.",
    ),
    *_PLACEMENT,
)

placement_options = option_group("placing", PlacementOptions, *_PLACEMENT)

strategy_options = option_group(
    "strategy",
    StrategyOptions,
    click.option(
        "--early-exit-layers",
        multiple=True,
        metavar="LAYERS",
        help="`0,2,...,30` (candidates, then the mature layer), `low`, `high`, `auto`, `P,N` (static) or `-1`"
        " (vanilla), with settings as in `high:alpha=0.2`. Several times: each in turn.  [default: low]",
    ),
    click.option(
        "--relative_top",
        "--alpha",
        type=FiniteNumber(0.0, 1.0),
        help="Rule out tokens less likely than this share of the likeliest.  [default: 0.1]",
    ),
    click.option(
        "--divergence",
        type=click.Choice(["released", "js"]),
        help="Picks the premature layer.  [default: released]",
    ),
    click.option(
        "--early-exit-norm/--no-early-exit-norm",
        default=None,
        help="Norm early exits as the last layer is normed.",
    ),
    click.option(
        "--post-softmax/--no-post-softmax", default=None, help="Renormalise the contrast over the vocabulary."
    ),
    click.option("--compare", is_flag=True, help="Vanilla first, then the strategies."),
)

sampling_options = option_group(
    "sampling",
    SamplingOptions,
    click.option(
        "--max-new-tokens", type=click.IntRange(min=1), default=64, show_default=True, help="At most."
    ),
    click.option("--do_sample", is_flag=True, help="Draw tokens at random instead of taking the best."),
    click.option("--temperature", type=POSITIVE, help="With --do_sample.  [default: 1.0]"),
    click.option("--top_p", type=SHARE, help="With --do_sample.  [default: 1.0]"),
    click.option("--top_k", type=click.IntRange(min=0), help="With --do_sample; 0: all.  [default: 0]"),
    click.option(
        "--num_beams", type=click.IntRange(min=1), default=1, show_default=True, help="Beam search."
    ),
    click.option(
        "--repetition_penalty",
        type=POSITIVE,
        default=1.0,
        show_default=True,
        help="Above 1: tokens that were there count less. The paper takes 1.2 with DoLa.",
    ),
    click.option(
        "--prompt-lookup-num-tokens",
        type=click.IntRange(min=1),
        help="Guess this many tokens from the prompt and check them in one pass.",
    ),
    click.option("--stop", multiple=True, metavar="TEXT", help="End at this text. May be repeated."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="For --do_sample: the same text again."),
)
