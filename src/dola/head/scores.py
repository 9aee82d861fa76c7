"""What a head makes of the positions of a pass: scores, and what of that which was read is no number."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dola.contrast import are_distributions, are_finite
from dola.errors import StrategyError
from dola.strategies import Contrast, ExitLogits, Read, ResolvedStrategy


class Scores(NamedTuple):
    """The scores of some positions `[...]`, and what of that which was read there is no number.

    Attributes:
        finite: whether each exit's state is, bool `[E, ...]`.
        unusable: where there is nothing to score by, and which exits are to blame for it, bool `[E, ...]`;
            all False at every position that is as it should be.
    """

    contrast: Contrast
    finite: Tensor
    unusable: Tensor


def unusable(strategy: ResolvedStrategy, contrast: Contrast, tile: ExitLogits, states: Tensor) -> Tensor:
    """Where there is nothing to score by, and which of the exits are to blame for it.

    All that a strategy reads must be distributions, whether it minds or not, unless it leaves out candidates
    that are none, and counts them as `left_out`: then one of them must be left.

    Args:
        contrast: what the strategy made of the tile.
        states: `[E, r, D]` at the exits of what the tile reads.

    Returns:
        `[E, r]` bool; all False at every position that is as it should be.

    Raises:
        StrategyError: the strategy makes NaN, +inf or nothing but -inf of logits that are distributions.
    """
    bad = ~are_distributions(contrast.scores)
    left_out = contrast.details.get("left_out") if strategy.candidates else None
    if left_out is not None:
        bad = bad | (left_out == len(strategy.candidates))
    elif not strategy.plain:
        for read in strategy.reads:
            bad = bad | ~are_distributions(tile.logits(read))
    reading = tile.reading
    blame = bad.new_zeros(len(reading.exits), *bad.shape)
    at_once = bad.device.type == "cpu" and not torch.compiler.is_compiling()
    if at_once and not bool(bad.any()):
        return blame
    finite = are_finite(states).to(bad.device)
    others = torch.zeros_like(bad)
    # Candidates that may be left out are to blame only where nothing else is.
    early = [read for read in strategy.reads if left_out is not None and _only(strategy.candidates, read)]
    for read in (*(read for read in strategy.reads if read not in early), *early):
        broken = bad & ~are_distributions(tile.logits(read))
        if read in early:
            broken = broken & ~others
        else:
            others = others | broken
        places = reading.exits_at(read)
        damaged = ~finite[places]
        blame[places] |= broken & (damaged | ~damaged.any(0))
    if at_once and bool((bad & ~blame.any(0)).any()):
        raise StrategyError(
            f"the strategy {strategy.text} makes scores of NaN, +inf or nothing but -inf of logits that are"
            " sound"
        )
    return blame


def _only(layers: Sequence[int], read: Read) -> bool:
    return all(exit.layer in layers for exit in read.exits)


class Whole:
    """The scores of all positions, put together from those of tiles."""

    def __init__(self, shape: Sequence[int], *, detailed: bool = True) -> None:
        """`shape`: how many exits and positions there are. `detailed`: keep the details too."""
        self._exits, self._rows = shape
        self._detailed = detailed
        self._only: tuple[Contrast, Tensor] | None = None
        self._scores: Tensor | None = None
        self._premature: Tensor | None = None
        self._details: dict[str, Tensor] = {}
        self._unusable: Tensor | None = None

    def put(
        self, rows: slice | Tensor, contrast: Contrast, blame: Tensor, places: list[int] | None = None
    ) -> None:
        """Those at `rows`. `blame` is of the exits at `places`; None: of all."""
        if isinstance(rows, slice) and contrast.scores.shape[0] == self._rows:
            self._only = contrast, blame  # nothing to put together, and nothing to copy
            return
        if self._scores is None or self._unusable is None:
            self._scores = contrast.scores.new_empty(self._rows, contrast.scores.shape[-1])
            self._unusable = blame.new_zeros(self._exits, self._rows)
        self._scores[rows] = contrast.scores
        everywhere = torch.arange(self._exits) if places is None else torch.tensor(places)
        index = torch.arange(self._rows)[rows] if isinstance(rows, slice) else rows
        self._unusable[everywhere[:, None], index.cpu()[None]] = blame
        if contrast.premature is not None:
            if self._premature is None:
                self._premature = contrast.premature.new_full((self._rows,), -1)
            self._premature[rows] = contrast.premature
        for name, detail in contrast.details.items() if self._detailed else ():
            if name not in self._details:
                self._details[name] = detail.new_empty(*detail.shape[:-1], self._rows)
            self._details[name][..., rows] = detail

    def scores(self, finite: Tensor) -> Scores:
        if self._only is not None:
            contrast, blame = self._only
            kept = contrast.details if self._detailed else {}
            return Scores(Contrast(contrast.scores, contrast.premature, kept), finite, blame)
        if self._scores is None or self._unusable is None:
            raise ValueError("no position was read")
        contrast = Contrast(self._scores, self._premature, self._details)
        return Scores(contrast, finite, self._unusable)


def shaped(scores: Scores, positions: Sequence[int]) -> Scores:
    """Of positions `[R]` as of positions `[...]`."""
    if len(positions) == 1:
        return scores
    contrast, *flags = scores
    shaped = Contrast(
        contrast.scores.reshape((*positions, contrast.scores.shape[-1])),
        None if contrast.premature is None else contrast.premature.reshape(positions),
        {name: detail.reshape((*detail.shape[:-1], *positions)) for name, detail in contrast.details.items()},
    )
    return Scores(shaped, *(each.reshape((len(each), *positions)) for each in flags))
