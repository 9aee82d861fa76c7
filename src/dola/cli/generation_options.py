"""The options of the benchmarks that generate: the released scripts' flags by their names, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dola.cli.options import POSITIVE, SHARE, option_group
from dola.cli.scoring_options import DEFAULT_SEED
from dola.runs.generation_plan import Decoding
from dola.tasks.presets import PRESETS

if TYPE_CHECKING:
    from dola.strategies import Depth, Strategy

EXTRACTIONS = ("own", "released")


@dataclass(frozen=True)
class DecodingOptions:
    """How tokens are taken from a strategy's scores; what is None is the released script's."""

    max_new_tokens: int | None
    do_sample: bool | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    repetition_penalty: float | None

    def sampled(self, task: str) -> bool:
        """Whether tokens are drawn."""
        return bool(PRESETS[task].do_sample) if self.do_sample is None else self.do_sample

    def settings(self, task: str, seed: int) -> Decoding:
        """The settings for a task, as its released script has them unless said."""
        released = PRESETS[task]
        limit = self.max_new_tokens or released.max_new_tokens
        if limit is None:
            raise ValueError(f"{task} generates nothing")
        if not self.sampled(task):
            self._say_unused()
            return Decoding(limit)
        known = released.sampling
        return Decoding(
            max_new_tokens=limit,
            do_sample=True,
            temperature=known.temperature if self.temperature is None else self.temperature,
            top_p=known.top_p if self.top_p is None else self.top_p,
            top_k=known.top_k if self.top_k is None else self.top_k,
            seed=seed,
        )

    def penalties(
        self, strategies: Sequence[Strategy], depth: Depth, task: str, preset: str
    ) -> tuple[float, ...]:
        """Each strategy's repetition penalty: as said, else as released, else (`own`) none."""
        if self.repetition_penalty is not None:
            return (self.repetition_penalty,) * len(strategies)
        if preset != "released":
            return (1.0,) * len(strategies)
        from dola.strategies import OWN, resolve_all

        released = PRESETS[task]
        return tuple(
            released.repetition_penalty_vanilla if resolved.plain else released.repetition_penalty_contrast
            for resolved in resolve_all(strategies, {OWN: depth})
        )

    def _say_unused(self) -> None:
        unused = [
            flag
            for flag, given in (
                ("--temperature", self.temperature),
                ("--top_p", self.top_p),
                ("--top_k", self.top_k),
            )
            if given is not None
        ]
        if unused:
            click.echo(f"{', '.join(unused)}: without effect in greedy decoding (see --do_sample)", err=True)


@dataclass(frozen=True)
class GenerationOutput:
    """Where the result goes, and how the run is made."""

    output_path: Path | None
    overwrite: bool
    batch_size: int | None
    seed: int

    def path(self, task: str, shard_id: int | None) -> Path:
        preset = PRESETS[task]
        return preset.output_of_shard(self.output_path or Path(preset.output_path), shard_id)


@dataclass(frozen=True)
class RetryOptions:
    """What the scripts with few-shot reasoning have beside the others."""

    retry: int
    do_shuffle: bool
    extraction: str

    def attempts(self, task: str, *, sampled: bool) -> int:
        """How often to generate at most; says where asking for more is in vain."""
        if self.retry > 1 and task != "strqa":
            click.echo(f"--retry: without effect in {task}, as in the released script", err=True)
            return 1
        if self.retry > 1 and not (sampled or self.do_shuffle):
            click.echo(
                "--retry: greedy decoding of the same prompt gives the same text, so it is not repeated"
                " (see --do_sample and --do_shuffle)",
                err=True,
            )
        return self.retry


decoding_options = option_group(
    "decoding",
    DecodingOptions,
    click.option(
        "--max-new-tokens",
        type=click.IntRange(min=1),
        help="At most.  [default: as released: gsm8k and strqa 256, tfqa 50, vicuna 1024]",
    ),
    click.option(
        "--do_sample/--no_do_sample",
        default=None,
        help="Draw tokens at random instead of taking the best.  [default: yes in vicuna, else no]",
    ),
    click.option("--temperature", type=POSITIVE, help="With --do_sample.  [default: 0.9, vicuna 0.7]"),
    click.option("--top_p", type=SHARE, help="With --do_sample.  [default: 0.95]"),
    click.option("--top_k", type=click.IntRange(min=0), help="With --do_sample; 0: all.  [default: 0]"),
    click.option(
        "--repetition_penalty",
        type=POSITIVE,
        help="Of all strategies alike.  [released: 1.0 for vanilla, 1.2 for contrasted layers; own: 1.0]",
    ),
)

generation_output_options = option_group(
    "output",
    GenerationOutput,
    click.option(
        "--output-path",
        type=click.Path(path_type=Path),
        help="The result file; its folder is made.  [default: the released script's]",
    ),
    click.option("--overwrite", is_flag=True, help="Start anew where there are records or a result."),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        help="Prompts at a time.  [default: by the device]",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=DEFAULT_SEED,
        show_default=True,
        help="Of the sampling and the shuffling; of the bootstrap too.",
    ),
)

retry_options = option_group(
    "retrying",
    RetryOptions,
    click.option(
        "--retry",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Generate at most so often, until there is an answer.",
    ),
    click.option(
        "--do_shuffle", is_flag=True, help="Shuffle the worked examples, otherwise for each question."
    ),
    click.option(
        "--extraction",
        type=click.Choice(EXTRACTIONS),
        default="own",
        show_default=True,
        help="How the answer is read: rightly, or by the released script's rule. Both are reported.",
    ),
)
