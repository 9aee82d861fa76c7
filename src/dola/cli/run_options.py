"""The options of a run that decide nothing of what comes out: where it goes, which shard, how to go on."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dola.cli.options import option_group
from dola.runs.evaluate import Way
from dola.runs.spec import RunSpec

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
class OutputOptions:
    """Where the result goes."""

    output_path: Path | None
    overwrite: bool

    def way(self, spec: RunSpec, default: Path | None = None) -> Way:
        """To the path given, else `default`, else the released script's."""
        preset = spec.benchmark.preset
        path = self.output_path or default or Path(preset.output_path)
        return Way(
            preset.output_of_shard(path, spec.shard_id), overwrite=self.overwrite, again=command_line()
        )


@dataclass(frozen=True)
class ParallelOptions:
    """Whether one shard is run."""

    parallel: bool

    def check(self, said: dict[str, Any]) -> None:
        """
        Raises:
            UsageError: a shard is named and not asked for, or the other way round.
        """
        shard, total = said.get("shard_id"), said["total_shard"]
        if self.parallel and shard is None:
            raise click.UsageError(
                f"--parallel needs --shard-id, one of 0 to {total - 1}: one process for each,"
                " then join their results by `dola report`"
            )
        if shard is not None and not self.parallel:
            raise click.UsageError(
                "--shard-id needs --parallel: without it the whole data would be scored in every process"
            )


def command_line() -> str:
    """The command as it was given, without what would start it anew."""
    return shlex.join(["dola", *(word for word in sys.argv[1:] if word != "--overwrite")])


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

output_options = option_group(
    "output",
    OutputOptions,
    click.option(
        "--output-path",
        type=click.Path(path_type=Path),
        help="The result file; its folder is made.  [default: the released script's; of a tuning TASK_tuned]",
    ),
    click.option("--overwrite", is_flag=True, help="Start anew where there are records or a result."),
)

parallel_options = option_group(
    "parallel",
    ParallelOptions,
    click.option("--parallel", is_flag=True, help="Run one shard; `dola report` joins them."),
)
