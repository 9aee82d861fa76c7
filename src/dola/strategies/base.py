"""What every strategy is: where it leaves the trunk, and how the logits found there become scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from torch import Tensor

from dola.errors import StrategyError
from dola.strategies.exit_logits import ExitLogits
from dola.strategies.reads import Depths, Read, Reading


@dataclass(frozen=True)
class Contrast:
    """What a strategy made of the logits of some positions `[...]`.

    Attributes:
        scores: `[..., V]` float32; takes the place of the logits.
        premature: `[...]` int64, the number of the layer that each position was contrasted with (of several,
            the one that counted most); None where there is none.
        details: by name, what the scores were made from, for whoever asks why: of each position a number
            `[...]`, or one for each candidate layer, in order, `[K, ...]`.
    """

    scores: Tensor
    premature: Tensor | None = None
    details: Mapping[str, Tensor] = field(default_factory=dict)


class Explanation(NamedTuple):
    """What is read beside the scores where somebody asks why; see `ResolvedStrategy`.

    Attributes:
        reads: what it needs beside what the strategy reads anyway.
        details: by name, of each position a number `[...]`, of each candidate `[K, ...]`, or of each token of
            the vocabulary `[..., V]`, of which the token's that was chosen is shown.
    """

    reads: tuple[Read, ...]
    details: Callable[[ExitLogits], Mapping[str, Tensor]]


@dataclass(frozen=True)
class ResolvedStrategy:
    """A strategy for a model of known depth: what can contrast.

    Attributes:
        strategy: the strategy with the layers' own numbers. Its text form says what is computed.
        reads: what it asks the head for.
        contrast: from the logits of a tile of positions to their scores. Positions never influence each
            other; the arithmetic is float32.
        normalised: whether a token's score is what a log-likelihood sums. False: a log-softmax over the
            vocabulary comes first, as for plain logits.
        candidates: the layers that may be contrasted with the mature one, in the order of the details.
        explanation: what else `trace` asks for; None: nothing.
        plain: the scores are the last layer's logits as they are.
        reading: the reads in order, for the head.
    """

    strategy: "Strategy"
    reads: tuple[Read, ...]
    contrast: Callable[[ExitLogits], Contrast]
    normalised: bool
    candidates: tuple[int, ...] = ()
    explanation: Explanation | None = None
    plain: bool = False
    reading: Reading = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reading", Reading.of(self.reads))

    @property
    def text(self) -> str:
        """As `parse_strategy` reads it, the layers by number."""
        return str(self.strategy)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Strategy(ABC):
    """How early-exit logits become scores. Concrete strategies are frozen dataclasses of settings.

    A strategy is written without knowing the model (`DoLa("high")`). `resolve` makes of it what can contrast.
    Its text form, `NAME:layers:key=value,...`, follows from the name that it is registered by and from its
    fields (`dola.strategies.text`).
    """

    version: ClassVar[int] = 1
    """Counted up where the same settings come to give other scores: a run is not gone on with then."""

    layer_fields: ClassVar[tuple[str, ...]] = ()
    """The settings that the layers of the text form stand for."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        made = vars(cls)
        property_of_before = "exits" in made and "exits" not in made.get("__annotations__", {})
        # What nobody calls: of a subclass of ours that leaves `resolve` as it is.
        uncalled = "contrast" in made and cls.resolve.__module__.partition(".")[0] == "dola"
        if property_of_before or uncalled:
            raise StrategyError(
                f"{cls.__module__}.{cls.__qualname__} was written for dola's former contract (`exits`,"
                " `contrast(logits)`): now resolve(depths) returns a ResolvedStrategy(strategy, reads,"
                " contrast, normalised); CONTRIBUTING.md has an example under 'Adding a strategy'"
            )

    @abstractmethod
    def resolve(self, depths: Depths) -> ResolvedStrategy:
        """What contrasts in a model of this depth.

        Args:
            depths: by stream; `depths[""]` is the text's own.

        Raises:
            LayerError: the model lacks a layer, or none is left to contrast with.
        """

    def released(self, task: str) -> Mapping[str, object]:  # noqa: ARG002 - of this one nothing is known
        """The settings that the strategy's own released code used for a task, where it is known."""
        return {}

    @classmethod
    def tuning_grid(cls, depths: Depths) -> Sequence["Strategy"]:
        """What `dola tune --strategy NAME` tries in a model of this depth: a dozen at most, each costs a run.

        Settings in which these differ are tuned; what all have alike and is the default, is the preset's.
        Unless a strategy says otherwise it is itself with its defaults, over `low` and `high` where it needs
        layers.

        Raises:
            StrategyError: of a strategy that needs other settings and says nothing of them.
        """
        from dola.strategies.grid import default_grid

        return default_grid(cls, depths)

    @classmethod
    def from_layers(cls, layers: str) -> Mapping[str, object]:
        """The settings that the layers of a text form stand for.

        Raises:
            LayerError: this strategy takes none, or not these.
        """
        raise StrategyError(f"{cls.__name__} takes no layers, found {layers!r}: give settings, as key=value")

    def layers_text(self) -> str:
        """The layers of the text form; empty where there are none."""
        return ""

    def __str__(self) -> str:
        from dola.strategies.text import strategy_text

        return strategy_text(self)


def resolve_all(strategies: Iterable[Strategy | str], depths: Depths) -> list[ResolvedStrategy]:
    """Each strategy, or what its text form names, as it contrasts in a model of this depth.

    Raises:
        LayerError: a layer that the model lacks.
        StrategyError: what resolves to something else than a `ResolvedStrategy`.
    """
    return [resolve_strategy(strategy, depths) for strategy in strategies]


def resolve_strategy(strategy: Strategy | str, depths: Depths) -> ResolvedStrategy:
    """The strategy as it contrasts in a model of this depth; see `resolve_all`."""
    if isinstance(strategy, str):
        from dola.strategies.parse import parse_strategy

        strategy = parse_strategy(strategy)
    if not isinstance(strategy, Strategy):
        raise StrategyError(f"expected a strategy, as in dola.DoLa('high') or 'high', found {strategy!r}")
    resolved = strategy.resolve(depths)
    if not isinstance(resolved, ResolvedStrategy):
        raise StrategyError(
            f"{type(strategy).__name__}.resolve must return a ResolvedStrategy, found"
            f" {type(resolved).__name__}: see 'Adding a strategy' in CONTRIBUTING.md"
        )
    other = sorted({exit.stream for read in resolved.reads for exit in read.exits} - set(depths))
    if other:
        raise StrategyError(f"{resolved.text} reads {other[0]!r}, a second stream, and none is given here")
    return resolved
