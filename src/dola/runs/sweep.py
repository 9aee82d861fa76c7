"""What tuning compares, and the choice among it."""

from __future__ import annotations

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

# Up to 40 layers the paper has two buckets, beyond one for every 20 layers (section 3.1).
_HALVED_UP_TO = 40
_BUCKET = 20
STATIC = "static "


@dataclass(frozen=True)
class Tried:
    """What there is to choose from: `buckets`, or, where there are none, the paper's.

    In a model of up to 40 layers those are `low` and `high`, in a deeper one a bucket for every 20 layers.
    """

    buckets: tuple[str, ...] = ()

    def texts(self, depth: Depth) -> list[str]:
        """The strategies to choose from in a model of this depth."""
        return list(self.buckets or _default_buckets(depth.num_layers))


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
        static: bool,
    ) -> None:
        """`static`: compare every static layer too."""
        self._tried = tried
        self._contrast = contrast
        self._task = task
        self._metric = metric
        self._seed = seed
        self._static = static
        self._candidates: dict[str, tuple[tuple[int, ...], str]] = {}  # by label: layers, and what to paste

    def strategies(self, depth: Depth) -> list[tuple[str, Strategy]]:
        """Vanilla, the buckets, then every static layer, where they are asked for."""
        texts = ["-1", *self._tried.texts(depth)]
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
