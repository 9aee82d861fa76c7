"""What `dola tune` compares, the choice among it, and how that is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dola.cli.loading import tell
from dola.cli.options import option_group
from dola.cli.scoring_options import ContrastOptions
from dola.errors import StrategyError
from dola.report.view import metric_name, percent, view_of
from dola.runs.measured import Measured
from dola.runs.results import KEY
from dola.runs.tune import Candidate, tuning_json, two_fold

if TYPE_CHECKING:
    from dola.strategies import Depth, Strategy

_DOLA = "dola"
STATIC = "static "


@dataclass(frozen=True)
class TriedOptions:
    """What there is to choose from: what a strategy says of itself, or a list."""

    strategy: str | None
    buckets: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.strategy is not None and self.buckets:
            raise click.UsageError(
                f"--strategy {self.strategy} says what to try, and so does --bucket {self.buckets[0]}:"
                " give one of them"
            )

    @property
    def name(self) -> str:
        return self.strategy or _DOLA

    def texts(self, depth: Depth) -> list[str]:
        """The strategies to choose from in a model of this depth."""
        from dola.strategies import OWN, find_strategy, grid_texts
        from dola.strategies.registry import implied_name

        if self.buckets:
            return list(self.buckets)
        if ":" in self.name or implied_name(self.name):
            raise StrategyError(
                f"--strategy {self.name}: expected a name alone, as in 'dola', 'sled' or 'delta'; what has"
                f" layers or settings is given as --bucket {self.name}"
            )
        return grid_texts(find_strategy(self.name), {OWN: depth})

    def asked(self, text: str) -> str:
        """How this one of the `texts` was asked for."""
        return f"--bucket {text}" if self.buckets else f"--strategy {self.name}"


tried_options = option_group(
    "tried",
    TriedOptions,
    click.option(
        "--strategy",
        metavar="NAME",
        help="Choose among what this strategy has to tune: dola (its layers), sled (layers, rate and scale),"
        " delta (M and L), static, or another's.  [default: dola: low and high; in a model of more than 40"
        " layers a bucket for every 20]",
    ),
    click.option(
        "--bucket",
        "--early-exit-layers",
        "buckets",
        multiple=True,
        metavar="LAYERS",
        help="Choose among these instead: layers, or any strategy, as in 'sled:low:rate=2'. Several times.",
    ),
)


class Sweep:
    """What is compared, and, once it is scored, the choice."""

    def __init__(
        self,
        tried: TriedOptions,
        contrast: ContrastOptions,
        task: str,
        metric: str,
        seed: int,
        *,
        together: bool,
    ) -> None:
        """`together`: all are scored from the same forward passes, and of DoLa every static layer too."""
        self._tried = tried
        self._contrast = contrast
        self._task = task
        self._metric = metric
        self._seed = seed
        self._together = together
        self._static = together and tried.name == _DOLA
        self._candidates: dict[str, tuple[tuple[int, ...], str]] = {}  # by label: layers, and what to paste

    def strategies(self, depth: Depth) -> list[tuple[str, Strategy]]:
        """Vanilla, what there is to choose from, then every static layer, where they are asked for."""
        from dola.strategies import OWN, parse_named, resolve_strategy, strategy_label

        texts = self._tried.texts(depth)
        made = self._contrast.strategies(["-1"], self._task)
        for text, (_, strategy) in zip(texts, self._contrast.strategies(texts, self._task), strict=True):
            resolved = resolve_strategy(strategy, {OWN: depth})
            if resolved.plain:
                raise StrategyError(
                    f"{self._tried.asked(text)}: vanilla is what all are compared with; expected another"
                    " strategy, as in '0,2,4,-1', 'low' or 'sled:high'"
                )
            said = parse_named(text)[1]
            label = strategy_label(strategy, self._task, keep=said)
            flag = _flag(strategy, resolved.strategy, said, self._task)
            self._candidates[label] = resolved.candidates, flag
            made.append((label, strategy))
        layers = range(depth.num_layers) if self._static else ()
        static = [f"{layer},{depth.num_layers}" for layer in layers]
        made += [
            (f"{STATIC}{layer}", strategy)
            for layer, (_, strategy) in enumerate(self._contrast.strategies(static, self._task))
        ]
        tell(self._announcement(len(layers)))
        return made

    def _announcement(self, static: int) -> str:
        """How many are tried: each costs."""
        count = len(self._candidates)
        others = f" and {static} static layers" if static else ""
        how = "all from the same forward passes" if self._together else "each generates all completions anew"
        return f"{count} {'strategy' if count == 1 else 'strategies'} to try beside vanilla{others}: {how}"

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
        return {"tuning": tuning_json(measured, found, candidates, static)}


def _flag(strategy: Strategy, numbered: Strategy, said: Collection[str], task: str) -> str:
    """What to paste. Of a strategy that goes by its name all of it, so that no preset makes it another.

    Of layers without a name, which the released scripts take too, their numbers and what was said: the other
    settings are the preset's or given as flags, but for the norm, which a bucket has by its name and layers
    by number have not.
    """
    from dola.strategies.registry import implied_name, name_of
    from dola.strategies.text import strategy_text

    if implied_name(strategy.layers_text()) != name_of(type(strategy)):
        released = strategy.released(task)
        others = {name for name, value in released.items() if getattr(strategy, name, value) != value}
        return strategy_text(strategy, keep={*said, *others})
    known = {each.name for each in fields(numbered)}
    taken = sorted({*numbered.layer_fields, "early_exit_norm", *said} & known)
    # What was said stays, even where it is the strategy's own default: the preset's is another.
    return strategy_text(type(numbered)(**{name: getattr(numbered, name) for name in taken}), keep=said)


def show_choice(result: dict[str, Any]) -> None:
    """The table, how the halves chose, and the flag to paste."""
    console = Console(emoji=False)  # a text form holds colons: `mine:-1:power=2`
    ours, view = result[KEY], view_of(result)
    tuning = ours["tuning"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("in %")
    for metric in view.metrics:
        table.add_column(metric_name(metric), no_wrap=True)
    for row in view.rows:
        cells = (f"{row.cells[metric].value} ({row.cells[metric].interval})" for metric in view.metrics)
        table.add_row(Text(row.label), *cells, style="bold cyan" if row.label == tuning["chosen"] else "")
    console.print(Text(view.title, style="bold"), "", table, "", sep="\n")
    for fold in tuning["folds"]:
        console.print(
            f"• one half chooses {fold['chosen']} ({percent(fold['on_own'])}); on the other half it reaches"
            f" {percent(fold['held_out'])}",
            markup=False,
            highlight=False,
        )
    others = [row.label for row in view.rows if row.label != tuning["chosen"]]
    for line in (tuning["verdict"], *_without(view.findings, others), *view.notes):
        console.print(f"• {line}", highlight=False, markup=False)
    console.print(f"\n{tuning['flag']}", highlight=False, markup=False, soft_wrap=True)


def _without(findings: Sequence[str], labels: Sequence[str]) -> list[str]:
    """What is not said of one of these: of 30 static layers it would be too much."""
    return [line for line in findings if not line.startswith(tuple(f"{label}:" for label in labels))]
