"""The options of `dola eval` and `dola tune`: the released scripts' flags by their names, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dola.cli.options import option_group
from dola.runs.plan import Selection
from dola.tasks.presets import PRESETS
from dola.tasks.subset import Shard

if TYPE_CHECKING:
    from dola.strategies import Strategy

DEFAULT_SEED = 42

# Flags of the released scripts that the released code accepts and scoring has no use for.
_WITHOUT_EFFECT = (
    ("--max-new-tokens", int, "max_new_tokens"),
    ("--top_p", float, "top_p"),
    ("--top_k", int, "top_k"),
    ("--temperature", float, "temperature"),
    ("--repetition_penalty", float, "repetition_penalty"),
    ("--do_sample", None, "do_sample"),
    ("--do_shuffle", None, "do_shuffle"),
    ("--do-rating", None, "do_rating"),
    ("--gpt3-config", str, "gpt3_config"),
    ("--retry", int, "retry"),
)


@dataclass(frozen=True)
class IgnoredOptions:
    """What was given of the flags without effect."""

    max_new_tokens: int | None
    top_p: float | None
    top_k: int | None
    temperature: float | None
    repetition_penalty: float | None
    do_sample: bool
    do_shuffle: bool
    do_rating: bool
    gpt3_config: str | None
    retry: int | None

    def warn(self) -> None:
        """Say in one line which flags do nothing here."""
        given = [flag for flag, _, name in _WITHOUT_EFFECT if getattr(self, name) not in (None, False)]
        if given:
            click.echo(f"{', '.join(given)}: without effect in scoring, as in the released script", err=True)


@dataclass(frozen=True)
class ContrastOptions:
    """Settings for every strategy that has them, where its own text does not set them."""

    preset: str
    relative_top: float | None
    relative_top_value: float | None
    divergence: str | None
    early_exit_norm: bool | None
    post_softmax: bool | None

    def strategies(self, texts: Sequence[str], task: str) -> list[tuple[str, Strategy]]:
        """Each text as the strategy that it stands for in this task's preset, with what a table calls it.

        Raises:
            LayerError, StrategyError: a text that is no strategy.
        """
        from dola.strategies import parse_named, strategy_label

        made = [self._with_settings(*parse_named(text), task) for text in texts]
        return [(strategy_label(strategy, task), strategy) for strategy in made]

    def _with_settings(self, strategy: Strategy, said: frozenset[str], task: str) -> Strategy:
        settings = dict(strategy.released(task)) if self.preset == "released" else {}
        flags = {
            "alpha": self.relative_top,
            "filter_value": self.relative_top_value,
            "divergence": self.divergence,
            "early_exit_norm": self.early_exit_norm,
            "post_softmax": self.post_softmax,
        }
        settings |= {name: value for name, value in flags.items() if value is not None}
        known = {field.name for field in fields(strategy)} - said
        unsaid: dict[str, Any] = {name: value for name, value in settings.items() if name in known}
        return replace(strategy, **unsaid)


@dataclass(frozen=True)
class RowOptions:
    """Which rows of the data are scored."""

    data_path: Path | None
    data_version: str | None
    debug: bool
    limit: int | None
    parallel: bool
    total_shard: int
    shard_id: int | None

    def __post_init__(self) -> None:
        if self.parallel and self.shard_id is None:
            raise click.UsageError(
                f"--parallel needs --shard-id, one of 0 to {self.total_shard - 1}: one process for each,"
                " then join their results by `dola report`"
            )
        if self.shard_id is not None and not self.parallel:
            raise click.UsageError(
                "--shard-id needs --parallel: without it the whole data would be scored in every process"
            )

    def selection(self, task: str) -> Selection:
        """The rows, in the order in which the task's released script cuts them."""
        shard = None if self.shard_id is None else Shard(self.shard_id, self.total_shard)
        return Selection(shard, self.debug, PRESETS[task].debug_before_shard, self.limit)


@dataclass(frozen=True)
class OutputOptions:
    """Where the result goes, and how the run is made."""

    output_path: Path | None
    overwrite: bool
    truncate: bool
    batch_tokens: int | None
    seed: int

    def path(self, task: str, shard_id: int | None) -> Path:
        preset = PRESETS[task]
        return preset.output_of_shard(self.output_path or Path(preset.output_path), shard_id)


ignored_options = option_group(
    "ignored",
    IgnoredOptions,
    *(
        click.option(flag, name, is_flag=True, hidden=True)
        if kind is None
        else click.option(flag, name, type=kind, hidden=True)
        for flag, kind, name in _WITHOUT_EFFECT
    ),
)

contrast_options = option_group(
    "contrast",
    ContrastOptions,
    click.option(
        "--preset",
        type=click.Choice(["released", "own"]),
        default="released",
        show_default=True,
        help="What a strategy's settings are unless said: the released script's, or the strategy's own.",
    ),
    click.option(
        "--relative_top",
        "--alpha",
        type=click.FloatRange(0.0, 1.0),
        help="Rule out tokens less likely than this share of the likeliest.  [released: 0 in tfqa-mc, 0.1"
        " elsewhere]",
    ),
    click.option(
        "--relative_top_value",
        type=float,
        help="Score of a token that is ruled out.  [released: -1000, in generation -inf; own: below all"
        " others]",
    ),
    click.option("--divergence", type=click.Choice(["released", "js"]), help="Picks the premature layer."),
    click.option(
        "--early-exit-norm/--no-early-exit-norm", default=None, help="Norm early exits.  [released: no]"
    ),
    click.option(
        "--post-softmax/--no-post-softmax",
        default=None,
        help="Renormalise the contrast.  [released: yes in factor, else no]",
    ),
)

row_options = option_group(
    "rows",
    RowOptions,
    click.option(
        "--data-path",
        type=click.Path(path_type=Path),
        help="The data file, or its folder.  [default: fetched on first use]",
    ),
    click.option(
        "--data-version",
        metavar="VERSION",
        help="tfqa-mc, tfqa: paper (817 questions, the default) or 2025 (790); factor: wiki, news or expert;"
        " gsm8k: test (the default), train or validation (1,000 of train); vicuna: text or turns.",
    ),
    click.option("--debug", is_flag=True, help="The first 10 rows only."),
    click.option("--limit", type=click.IntRange(min=1), help="The first LIMIT rows only."),
    click.option("--parallel", is_flag=True, help="Score one shard; `dola report` joins them."),
    click.option(
        "--total-shard", type=click.IntRange(min=1), default=8, show_default=True, help="With --parallel."
    ),
    click.option("--shard-id", type=click.IntRange(min=0), help="With --parallel: which one, from 0."),
)

output_options = option_group(
    "output",
    OutputOptions,
    click.option(
        "--output-path",
        type=click.Path(path_type=Path),
        help="The result file; its folder is made.  [default: the released script's]",
    ),
    click.option("--overwrite", is_flag=True, help="Start anew where there are records or a result."),
    click.option("--truncate", is_flag=True, help="Cut texts too long for the model on the left."),
    click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens to run at a time."),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=DEFAULT_SEED,
        show_default=True,
        help="Of the bootstrap, the permutations and the random control; scoring draws nothing.",
    ),
)
