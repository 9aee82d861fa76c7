"""What `dola tune` tries of a strategy, as text."""

from collections.abc import Sequence

from dola.errors import DolaError, StrategyError
from dola.strategies.base import Strategy
from dola.strategies.layers import filled_buckets
from dola.strategies.reads import OWN, Depths
from dola.strategies.text import required, settings_of, strategy_text


def grid_texts(kind: type[Strategy], depths: Depths) -> list[str]:
    """The strategies of a class's `tuning_grid`, each once, in the text form with what is tuned said.

    What is tuned is said even where it is a default: a preset changes only what is not said.

    Raises:
        StrategyError: a grid that is empty, or holds something else than strategies.
    """
    try:
        given: list[object] = list(kind.tuning_grid(depths))
    except TypeError as error:  # as of a subclass that needs more than the grid that it inherits gives
        raise StrategyError(f"{kind.__name__}.tuning_grid cannot be made: {error}") from error
    grid = [each for each in given if isinstance(each, Strategy)]
    if not grid or len(grid) < len(given):
        found = next((repr(each) for each in given if not isinstance(each, Strategy)), "none")
        raise StrategyError(
            f"{kind.__name__}.tuning_grid must give strategies, found {found}: see 'Adding a strategy' in"
            " CONTRIBUTING.md"
        )
    return list(dict.fromkeys(strategy_text(each, keep=_tuned(each, grid)) for each in grid))


def _tuned(strategy: Strategy, grid: Sequence[Strategy]) -> set[str]:
    """The settings in which another strategy of its class differs from it."""
    others = [each for each in grid if type(each) is type(strategy)]
    return {
        setting.name
        for setting in settings_of(type(strategy))
        if any(getattr(each, setting.name) != getattr(strategy, setting.name) for each in others)
    }


def default_grid(kind: type[Strategy], depths: Depths) -> list[Strategy]:
    """The strategy with its defaults; where it needs layers, over `low` and over `high`."""
    needed = {each.name for each in settings_of(kind) if required(each)}
    if not needed:
        return [kind()]
    names = [name for name in filled_buckets(depths[OWN]) if name in ("low", "high")]
    try:
        if needed <= set(kind.layer_fields):
            return [kind(**kind.from_layers(name)) for name in names]
    except DolaError:
        pass  # its layers are no buckets
    raise StrategyError(
        f"{kind.__name__} does not say what to try (tuning_grid), and needs {', '.join(sorted(needed))}: name"
        " what to choose from, each by --bucket"
    )
