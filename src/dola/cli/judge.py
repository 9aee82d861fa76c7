"""`dola judge`: what judges say of answers, by an endpoint or by a local model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dola.cli.lazy_group import LazyGroup

COMMANDS = {
    "tfqa": ("dola.cli.judge_tfqa", "tfqa", "Rate TruthfulQA answers: %Truth, %Info, %Truth×Info, %Reject."),
    "train": ("dola.cli.judge_train", "train", "Train a judge of truth or information of your own."),
    "agreement": (
        "dola.cli.judge_agreement",
        "agreement",
        "How far two judges agree, or a judge and people: kappa, confusion, bias.",
    ),
    "pairwise": ("dola.cli.judge_pairwise", "pairwise", "Which of two answers is better, in both orders."),
}


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def judge() -> None:
    """Let judges rate the answers of `dola eval tfqa` and `dola eval vicuna`.

    Every verdict is kept as it arrives: interrupted, the same command goes on and pays for nothing twice.
    """


def rate_result(path: Path, config_path: Path | None = None) -> dict[str, Any]:
    """What `--do-rating` does: see `dola.cli.judge_tfqa.rate_result`."""
    from dola.cli import judge_tfqa

    return judge_tfqa.rate_result(path, config_path)
