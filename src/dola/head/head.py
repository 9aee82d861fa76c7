"""The contrastive head: hidden states of the chosen layers in, a score per token of the vocabulary out."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dola.contrast import are_finite, weighted_sum
from dola.head.scores import Scores, Whole, shaped, unusable
from dola.strategies import ExitLogits, Read, Reading, ResolvedStrategy, exits_of

Projection = Callable[[Tensor], Tensor]
"""The language-model head on rows: hidden `[R, D]` -> logits `[R, V]`, float32, as the model defines them."""

# glibc gives every freed block at the end of its heap back to the system, page by page, until the program
# has freed one large block: then it keeps up to twice that size. The contrast's temporaries would be unmapped
# and cleared anew at every token, at twice the cost of its arithmetic. 32 MiB is the largest that counts.
_LARGEST_KEPT_BLOCK = 30 << 20

# Early-exit logits held at once. The product makes them twice, and a contrast some six tensors of the size of
# one position's: on a CPU all of it together stays below what is handed out again.
_CHUNK_BYTES = {"cpu": 20 << 20, "cuda": 512 << 20}
# But a product of fewer rows is slow: with a vocabulary of 262,144 it reads gigabytes of weights for each.
_FEWEST_ROWS = 96
# Logits that strategies work on at a time. Smaller tiles would fit a CPU's caches, and cost more in calls
# (`benchmarks/RESULTS.md`); larger ones would have temporaries that the allocator does not keep.
_TILE_BYTES = {"cpu": 20 << 20}


def _never() -> bool:
    return False


@dataclass(frozen=True)
class ContrastiveHead:
    """Projects the hidden states of all reads in one product and lets strategies make scores of them.

    Works on tiles of positions, so its memory depends on the vocabulary and the number of reads, never on the
    length of the text.

    Attributes:
        affine: whether the head of a weighted sum of states is the same sum of their logits. Asked anew each
            time, as what is on a head may change.
    """

    project: Projection
    vocab_size: int
    affine: Callable[[], bool] = _never

    def __post_init__(self) -> None:
        torch.empty(_LARGEST_KEPT_BLOCK, dtype=torch.uint8, device="cpu")  # never touched, freed at once

    def read(
        self, hidden: Tensor, reads: Sequence[Read] | Reading, logits: Tensor | None = None
    ) -> Iterator[tuple[slice, ExitLogits]]:
        """The logits at all reads, tile by tile; in one piece where they are compiled.

        Args:
            hidden: `[E, R, D]`, the states of R positions at the exits of the reading (`exits_of(reads)`).
            logits: `[E, R, V]`, of those states, where the model's own head has been called for them.

        Yields:
            Positions, and their logits, which are gone when the next are asked for. Where a state is not
            finite its logits are no distribution, whatever the head and the model's cap make of it.
        """
        reading = reads if isinstance(reads, Reading) else Reading.of(reads)
        if torch.compiler.is_compiling():  # steps would make the number of positions a constant of the graph
            yield slice(None), ExitLogits(self._logits(hidden, reading, logits), reading)
            return
        rows, device = hidden.shape[1], hidden.device.type
        width = len(reading.reads) * self.vocab_size * 4
        held = _CHUNK_BYTES.get(device, 512 << 20) // width
        step = max(held, math.ceil(_FEWEST_ROWS / len(reading.reads)))
        height = max(1, _TILE_BYTES.get(device, 1 << 62) // width)
        for start in range(0, max(rows, 1), step):
            # One product for all reads, and let go of before the next.
            given = None if logits is None else logits[:, start : start + step]
            made = self._logits(hidden[:, start : start + step], reading, given)
            for first in range(0, max(made.shape[1], 1), height):
                part = made[:, first : first + height]
                tile = ExitLogits(part, reading)
                yield slice(start + first, start + first + part.shape[1]), tile
                tile.release()
            del made, part, given

    def score(
        self,
        hidden: Tensor,
        strategies: Sequence[ResolvedStrategy],
        which: Tensor | None = None,
        logits: Tensor | None = None,
    ) -> Scores:
        """Scores of every position.

        Args:
            hidden: `[E, ..., D]`, the states at the exits of all that the strategies read (`all_reads`).
            which: of each position the strategy, an index `[...]`; None: there is but one.
            logits: `[E, ..., V]` of those states, see `read`.

        Returns:
            Scores `[..., V]` in float32 with the chosen layers `[...]`, and of a single strategy its details.
            With several, a position without a premature layer has -1.
        """
        exits, *positions, width = hidden.shape
        flat = hidden.reshape(exits, -1, width)
        given = None if logits is None else logits.reshape(exits, -1, logits.shape[-1])
        if len(strategies) > 1 and which is None:
            raise ValueError("several strategies, and no index that says which position has which")
        if len(strategies) == 1 or which is None:
            scores = self._of_one(flat, strategies[0], given)
        else:
            scores = self._of_several(flat, strategies, which.reshape(-1), given)
        return shaped(scores, positions)

    def _of_one(self, hidden: Tensor, strategy: ResolvedStrategy, logits: Tensor | None) -> Scores:
        whole = Whole(hidden.shape[:2])
        for rows, tile in self.read(hidden, strategy.reading, logits):
            contrast = strategy.contrast(tile)
            whole.put(rows, contrast, unusable(strategy, contrast, tile, hidden[:, rows]))
        return whole.scores(are_finite(hidden))

    def _of_several(
        self,
        hidden: Tensor,
        strategies: Sequence[ResolvedStrategy],
        which: Tensor,
        logits: Tensor | None,
    ) -> Scores:
        """Strategies that read the same share the product, and the tiles."""
        exits = exits_of(read for each in strategies for read in each.reads)
        whole = Whole(hidden.shape[:2], detailed=False)  # those of several strategies are no one thing
        for reading in dict.fromkeys(each.reading for each in strategies):
            numbers = [n for n, each in enumerate(strategies) if each.reading == reading]
            group = torch.isin(which, torch.tensor(numbers, device=which.device)).nonzero()[:, 0]
            if not len(group):
                continue
            places = [exits.index(exit) for exit in reading.exits]
            states = hidden[places][:, group]
            given = None if logits is None else logits[places][:, group]
            for rows, tile in self.read(states, reading, given):
                for number in numbers:
                    at = (which[group[rows]] == number).nonzero()[:, 0]
                    if len(at):
                        own = tile.at(at)
                        contrast = strategies[number].contrast(own)
                        blame = unusable(strategies[number], contrast, own, states[:, rows][:, at])
                        whole.put(group[rows][at], contrast, blame, places)
        return whole.scores(are_finite(hidden))

    def _logits(self, hidden: Tensor, reading: Reading, given: Tensor | None) -> Tensor:
        """The logits `[len(reads), r, V]` of the states `[E, r, D]` at the reading's exits."""
        if all(len(read.exits) == 1 and read.weights == (1.0,) for read in reading.reads):
            places = [at for (at,) in reading.places]
            if places != list(range(len(reading.exits))):
                hidden, given = hidden[places], None if given is None else given[places]
            return self._projected(hidden, given)
        if given is None and self.affine() and all(_affine_sum(read) for read in reading.reads):
            return self._projected(torch.stack(_weighted(hidden, reading)), None)
        return torch.stack(_weighted(self._projected(hidden, given), reading))

    def _projected(self, hidden: Tensor, given: Tensor | None) -> Tensor:
        """Each state's own logits, `[X, r, D]` to `[X, r, V]`."""
        count, rows, _ = hidden.shape
        if given is None:
            flat = self.project(_as_rows(hidden))
            logits = flat.view(count, rows, flat.shape[-1])
        else:
            logits = given.clone()
        logits[..., 0].masked_fill_(~are_finite(hidden).to(logits.device), math.nan)  # one marks the row
        return logits


def _as_rows(hidden: Tensor) -> Tensor:
    """States `[X, r, D]` as rows `[X * r, D]`."""
    if torch.compiler.is_compiling():  # a view of so many rows would be a guard on their number
        return torch.cat(hidden.unbind())
    return hidden.reshape(-1, hidden.shape[-1])


def _weighted(each: Tensor, reading: Reading) -> list[Tensor]:
    """Of every read the weighted sum of its exits' `[E, r, ...]`."""
    return [
        weighted_sum([each[at] for at in places], read.weights)
        for read, places in zip(reading.reads, reading.places, strict=True)
    ]


def _affine_sum(read: Read) -> bool:
    """Whether a bias of the head counts once in the weighted sum, as in the head of the sum."""
    return math.isclose(math.fsum(read.weights), 1.0)
