"""What `dola tune` compares, the choice among it, and how that is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dola.cli.scoring_options import ContrastOptions
from dola.errors import StrategyError
from dola.report.view import metric_name, percent, view_of
from dola.result import Result, Tuning
from dola.result.form import read
from dola.runs.measured import Measured
from dola.runs.tune import Candidate, tuning_json, two_fold

if TYPE_CHECKING:
    from dola.strategies import Depth, Strategy

# Up to 40 layers the paper has two buckets, beyond one for every 20 layers (section 3.1).
_HALVED_UP_TO = 40
_BUCKET = 20
STATIC = "static "

bucket_option = click.option(
    "--bucket",
    "buckets",
    multiple=True,
    metavar="LAYERS",
    help="A bucket to choose from, or any strategy, as in --early-exit-layers. Several times.  [default: low"
    " and high; in a model of more than 40 layers one for every 20]",
)


class Sweep:
    """What is compared, and, once it is scored, the choice."""

    def __init__(
        self,
        buckets: Sequence[str],
        contrast: ContrastOptions,
        task: str,
        metric: str,
        seed: int,
        *,
        static: bool,
    ) -> None:
        """`static`: compare every static layer too."""
        self._buckets = tuple(buckets)
        self._contrast = contrast
        self._task = task
        self._metric = metric
        self._seed = seed
        self._static = static
        self._candidates: dict[str, tuple[tuple[int, ...], str]] = {}  # by label: layers, and what to paste

    def strategies(self, depth: Depth) -> list[tuple[str, Strategy]]:
        """Vanilla, the buckets, then every static layer, where they are asked for."""
        texts = ["-1", *(self._buckets or _default_buckets(depth.num_layers))]
        from dola.strategies import OWN, resolve_strategy

        made = self._contrast.strategies(texts, self._task)
        for text, (label, strategy) in zip(texts[1:], made[1:], strict=True):
            resolved = resolve_strategy(strategy, {OWN: depth})
            if resolved.plain:
                raise StrategyError(
                    f"--bucket {text}: vanilla is what all are compared with; expected another strategy, as"
                    " in '0,2,4,-1', 'low' or 'sled:high'"
                )
            self._candidates[label] = resolved.candidates, _flag(resolved.strategy, text)
        layers = range(depth.num_layers) if self._static else ()
        static = [f"{layer},{depth.num_layers}" for layer in layers]
        made += [
            (f"{STATIC}{layer}", strategy)
            for layer, (_, strategy) in enumerate(self._contrast.strategies(static, self._task))
        ]
        return made

    def tuning(self, measured: Measured) -> dict[str, Any]:
        """The two-fold choice among the buckets."""
        by_label = {row.label: at for at, row in enumerate(measured.rows)}
        candidates = [
            Candidate(by_label[label], layers, flag)
            for label, (layers, flag) in self._candidates.items()
            if label in by_label
        ]
        static = {
            int(label.removeprefix(STATIC)): at for label, at in by_label.items() if label.startswith(STATIC)
        }
        found = two_fold(measured, candidates, self._metric, seed=self._seed)
        return {"tuning": read(Tuning, tuning_json(measured, found, candidates, static))}


def _default_buckets(num_layers: int) -> list[str]:
    if num_layers <= _HALVED_UP_TO:
        return ["low", "high"]
    starts = range(0, num_layers, _BUCKET)
    return [
        ",".join(map(str, [*range(start, min(start + _BUCKET, num_layers), 2), num_layers]))
        for start in starts
    ]


def _flag(strategy: Strategy, text: str) -> str:
    """The strategy's layers by number, and what was said of it: its other settings are the preset's or given
    as flags, but for the norm, which a bucket has by its name and layers by number have not."""
    from dola.strategies import parse_named
    from dola.strategies.text import strategy_text

    said = parse_named(text)[1]
    known = {each.name for each in fields(strategy)}
    taken = sorted({*strategy.layer_fields, "early_exit_norm", *said} & known)
    # What was said stays, even where it is the strategy's own default: the preset's is another.
    return strategy_text(type(strategy)(**{name: getattr(strategy, name) for name in taken}), keep=said)


def show_choice(result: Result) -> None:
    """The table, how the halves chose, and the flag to paste."""
    console = Console()
    view, tuning = view_of(result), result.tuning
    if tuning is None:
        raise ValueError("nothing was tuned")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("in %")
    for metric in view.metrics:
        table.add_column(metric_name(metric), no_wrap=True)
    for row in view.rows:
        cells = (f"{row.cells[metric].value} ({row.cells[metric].interval})" for metric in view.metrics)
        table.add_row(Text(row.label), *cells, style="bold cyan" if row.label == tuning.chosen else "")
    console.print(Text(view.title, style="bold"), "", table, "", sep="\n")
    for fold in tuning.folds:
        console.print(
            f"• one half chooses {fold.chosen} ({percent(fold.on_own)}); on the other half it reaches"
            f" {percent(fold.held_out)}",
            highlight=False,
        )
    others = [row.label for row in view.rows if row.label != tuning.chosen]
    for line in (tuning.verdict, *_without(view.findings, others), *view.notes):
        console.print(f"• {line}", highlight=False, markup=False)
    console.print(f"\n{tuning.flag}", highlight=False, soft_wrap=True)


def _without(findings: Sequence[str], labels: Sequence[str]) -> list[str]:
    """What is not said of one of these: of 30 static layers it would be too much."""
    return [line for line in findings if not line.startswith(tuple(f"{label}:" for label in labels))]
