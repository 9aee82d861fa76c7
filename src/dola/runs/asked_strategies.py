"""The strategies of a run as objects: each text with the settings that the run gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dola.runs.spec import RunSpec
    from dola.strategies import Depth, Strategy


@dataclass(frozen=True)
class ContrastSettings:
    """Settings for every strategy that has them, where its own text does not set them."""

    preset: str
    alpha: float | None = None
    filter_value: float | None = None
    divergence: str | None = None
    early_exit_norm: bool | None = None
    post_softmax: bool | None = None

    @classmethod
    def of(cls, spec: RunSpec) -> ContrastSettings:
        return cls(**{each.name: getattr(spec, each.name) for each in fields(cls)})

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
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "preset"}
        settings |= {name: value for name, value in given.items() if value is not None}
        known = {field.name for field in fields(strategy)} - said
        unsaid: dict[str, Any] = {name: value for name, value in settings.items() if name in known}
        return replace(strategy, **unsaid)


def with_numbers(strategies: Sequence[tuple[str, Strategy]], depth: Depth) -> list[tuple[str, Strategy]]:
    """Labelled strategies with the layers' own numbers."""
    from dola.strategies import OWN, resolve_strategy

    return [(label, resolve_strategy(strategy, {OWN: depth}).strategy) for label, strategy in strategies]
