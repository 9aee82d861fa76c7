"""What tuning compares, and the choice among it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dola.errors import StrategyError
from dola.result import Tuning
from dola.result.form import read
from dola.runs.asked_strategies import ContrastSettings
from dola.runs.measured import Measured
from dola.runs.tune import Candidate, tuning_json, two_fold

if TYPE_CHECKING:
    from dola.strategies import Depth, Strategy

_DOLA = "dola"
STATIC = "static "


@dataclass(frozen=True)
class Tried:
    """What there is to choose from: what a strategy says of itself, or a list."""

    strategy: str | None = None
    buckets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.strategy is not None and self.buckets:
            raise StrategyError(
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


class Sweep:
    """What is compared, and, once it is scored, the choice."""

    def __init__(
        self,
        tried: Tried,
        contrast: ContrastSettings,
        task: str,
        metric: str,
        seed: int,
        *,
        together: bool,
        tell: Callable[[str], None],
    ) -> None:
        """`together`: all are scored from the same forward passes, and of DoLa every static layer too."""
        self._tried = tried
        self._contrast = contrast
        self._task = task
        self._metric = metric
        self._seed = seed
        self._together = together
        self._tell = tell
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
        self._tell(self._announcement(len(layers)))
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
        return {"tuning": read(Tuning, tuning_json(measured, found, candidates, static))}


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
