"""What every command has that asks a judge: the endpoint's options, the dry run, and how far it is."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dola.cli.options import POSITIVE, option_group
from dola.judges.settings import EndpointSettings, JudgeConfig, endpoint_settings, read_config

if TYPE_CHECKING:
    from dola.runs.verdicts import Asked, Verdicts

# Of English text in the tokenizers that are about.
BYTES_A_TOKEN = 4


@dataclass(frozen=True)
class EndpointOptions:
    """Where a judge is, and how patiently it is asked."""

    base_url: str | None = None
    concurrency: int = 8
    max_retries: int = 6
    timeout: float = 120.0

    def settings(self, config: JudgeConfig | None = None, *, keyless: bool = False) -> EndpointSettings:
        """With the key and the address of a config or of the environment; a dry run may be `keyless`.

        Raises:
            JudgeError: no key.
        """
        return endpoint_settings(
            config,
            base_url=self.base_url,
            concurrency=self.concurrency,
            max_retries=self.max_retries,
            timeout=self.timeout,
            keyless=keyless,
        )


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say`, which says nothing twice: two judges may be one model."""
    said: set[str] = set()

    def said_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return said_once


def judge_config(path: Path | None) -> JudgeConfig:
    """The config file, where one is named; said where everybody can read the key in it.

    Raises:
        DataError: it is none.
    """
    config = read_config(path) if path else JudgeConfig()
    if config.warning:
        click.echo(f"dola: {config.warning}", err=True)
    return config


endpoint_options = option_group(
    "endpoint",
    EndpointOptions,
    click.option(
        "--base-url",
        metavar="URL",
        help="Any OpenAI-compatible endpoint, up to and with /v1.  [default: $OPENAI_BASE_URL, or OpenAI]",
    ),
    click.option(
        "--concurrency", type=click.IntRange(min=1), default=8, show_default=True, help="Requests at a time."
    ),
    click.option(
        "--max-retries",
        type=click.IntRange(min=0),
        default=6,
        show_default=True,
        help="Of a request after 429, 5xx, a timeout or a cut connection.",
    ),
    click.option(
        "--timeout",
        type=POSITIVE,
        default=120.0,
        show_default=True,
        help="Seconds for one attempt, up to the reply's last byte.",
    ),
)


def estimated_tokens(asked: Sequence[Asked]) -> int:
    """How many tokens the prompts have, about: a token for every four bytes."""
    return sum(-(-len(one.prompt.encode()) // BYTES_A_TOKEN) for one in asked)


def tell_calls(what: str, left: Sequence[Asked], total: int, *, max_reply: int) -> None:
    """A line of a dry run, on standard output: what asking would take."""
    known = f" ({total - len(left)} of {total} verdicts are there already)" if len(left) < total else ""
    click.echo(
        f"{what}: {len(left)} calls{known}, about {estimated_tokens(left)} tokens to read, at most"
        f" {len(left) * max_reply} to write"
    )


def tell_estimate() -> None:
    """How the tokens of a dry run were counted."""
    click.echo(
        f"Tokens to read are an estimate by no tokenizer, {BYTES_A_TOKEN} bytes each: the judge's own is not"
        " known here, and the network was not used."
    )


@contextmanager
def asking(total: int, verdicts: Verdicts) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal; what is given back is to be called with each verdict. Interrupted, it says how to
    go on; and first what is to be said of the verdicts that were found."""
    if verdicts.remark:
        click.echo(verdicts.remark, err=True)
    console = Console(stderr=True)
    with Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("verdicts, left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=total)
        try:
            yield lambda _: progress.advance(task)
        except KeyboardInterrupt:
            progress.stop()
            click.echo(
                f"\n{len(verdicts.done)} verdicts are kept in {verdicts.path}; go on with:\n  {_command()}",
                err=True,
            )
            raise


def written(*paths: Path) -> None:
    """Say where the results are."""
    click.echo(f"written: {', '.join(map(str, paths))}", err=True)


def _command() -> str:
    """The command as it was given, without what would start it anew."""
    return shlex.join(["dola", *(word for word in sys.argv[1:] if word != "--overwrite")])
