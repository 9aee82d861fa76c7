"""The logits of a tile of positions at all that a pass reads there, and what strategies share of them."""

from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor

from dola.contrast import Divergence, divergences
from dola.strategies.reads import Read, Reading

_T = TypeVar("_T")


class ExitLogits:
    """Early-exit logits of R positions. Everything derived is made when it is first asked for, once for all
    strategies that ask, and gone with the tile."""

    def __init__(self, logits: Tensor, reads: Sequence[Read] | Reading) -> None:
        """`logits` `[E, R, V]` of the reads, in their order; float32, or whatever the head made of them."""
        self._logits = logits
        self._reading = reads if isinstance(reads, Reading) else None
        in_order = reads.reads if isinstance(reads, Reading) else reads
        self._places = {read: place for place, read in enumerate(in_order)}
        self._made: dict[Hashable, Any] = {}

    @property
    def reads(self) -> tuple[Read, ...]:
        return tuple(self._places)

    @property
    def reading(self) -> Reading:
        """The reads with their exits."""
        return Reading.of(self._places) if self._reading is None else self._reading

    @property
    def positions(self) -> int:
        return self._logits.shape[1]

    def logits(self, read: Read) -> Tensor:
        """`[R, V]` in float32."""
        return self._logits[self._places[read]].float()

    def log_probs(self, read: Read) -> Tensor:
        """`[R, V]` in float32."""
        return self.once(("log_probs", read), lambda: torch.log_softmax(self.logits(read), -1))

    def stacked(self, reads: Sequence[Read]) -> Tensor:
        """`[len(reads), R, V]` in float32; a view where the reads lie side by side."""
        places = [self._places[read] for read in reads]
        if len(runs := _runs(places)) == 1:
            return self._logits[runs[0]].float()
        return self._logits[places].float()

    def chosen(self, reads: Sequence[Read], index: Tensor) -> Tensor:
        """Of each position the logits of one of the reads, float32 `[R, V]`, by `index` `[R]` into them."""
        places = torch.tensor([self._places[read] for read in reads], device=index.device)[index]
        return self._logits.gather(0, places[None, :, None].expand(1, *self._logits.shape[1:]))[0].float()

    def divergences(self, kind: Divergence, mature: Read, candidates: Sequence[Read]) -> Tensor:
        """Of each candidate from the mature layer, in nats `[K, R]`; NaN where one is no distribution.

        Candidates that another strategy has asked for already are not measured again.
        """
        known = {read: ("divergence", kind, mature, read) for read in candidates}
        missing = sorted({self._places[read] for read, key in known.items() if key not in self._made})
        by_place = {self._places[read]: key for read, key in known.items()}
        for run in _runs(missing):
            found = divergences(kind, self.logits(mature), self._logits[run].float())
            for place, divergence in zip(range(run.start, run.stop), found, strict=True):
                self._made[by_place[place]] = divergence
        return torch.stack([self._made[known[read]] for read in candidates])

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` gives, made the first time that anybody asks for `key`."""
        if key not in self._made:
            self._made[key] = make()
        found: _T = self._made[key]
        return found

    def release(self) -> None:
        """Let go of all of it: nothing outlives its tile, whoever still holds this."""
        self._made.clear()
        self._logits = self._logits.new_empty(len(self._places), 0, self._logits.shape[-1])

    def at(self, rows: Tensor) -> "ExitLogits":
        """The same for some of the positions, by their index `[r]`."""
        return ExitLogits(self._logits[:, rows], self.reads if self._reading is None else self._reading)


def _runs(places: Sequence[int]) -> list[slice]:
    """Places as slices: one for each stretch of neighbours."""
    stretches = groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])
    runs = [[place for _, place in stretch] for _, stretch in stretches]
    return [slice(run[0], run[-1] + 1) for run in runs]
