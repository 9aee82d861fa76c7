"""Where a trunk is left, and what the head is asked for there."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

OWN = ""
"""The stream of the text itself."""


class Exit(NamedTuple):
    """One place where a trunk is left.

    Attributes:
        layer: 0 = embedding output, k = after block k, N = after the last block and the final norm.
        norm: whether the final norm is applied on the way out. Layer N is always normed, once, by the trunk.
        stream: which forward pass: the text's own (`OWN`), or a second one, by its name.
    """

    layer: int
    norm: bool = False
    stream: str = OWN


class Read(NamedTuple):
    """The logits at some exits' states, added up with weights; at one exit, as a rule.

    A weighted sum goes through the head once where the head is affine and the model caps no logits. Elsewhere
    it is the same sum of logits.
    """

    exits: tuple[Exit, ...]
    weights: tuple[float, ...] = (1.0,)

    @classmethod
    def at(cls, layer: int, *, norm: bool = False, stream: str = OWN) -> Self:
        """The logits at one exit."""
        return cls((Exit(layer, norm, stream),))


class Depth(NamedTuple):
    """What of a model decides which layers a name stands for, known before any weights load."""

    num_layers: int
    tied_embeddings: bool

    def read(self, layer: int, *, norm: bool = False) -> Read:
        """The logits at one exit of the text's own trunk; the last layer is the same one either way."""
        return Read.at(layer, norm=norm and layer != self.num_layers)

    @property
    def last(self) -> Read:
        """The model's own logits."""
        return Read.at(self.num_layers)


Depths = Mapping[str, Depth]
"""By stream."""


class Reading(NamedTuple):
    """What a pass reads, put in order before it: a compiler cannot sort.

    Attributes:
        reads: each once, those at single exits in the order of the exits.
        exits: every exit that is read, see `exits_of`.
        places: of each read, where its exits are among them.
    """

    reads: tuple[Read, ...]
    exits: tuple[Exit, ...]
    places: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, reads: Iterable[Read]) -> Self:
        ordered = all_reads([reads])
        exits = exits_of(ordered)
        place = {exit: at for at, exit in enumerate(exits)}
        return cls(ordered, exits, tuple(tuple(place[exit] for exit in read.exits) for read in ordered))

    def exits_at(self, read: Read) -> list[int]:
        """Where the exits of one of the reads are among all."""
        return list(self.places[self.reads.index(read)])


def exits_of(reads: Iterable[Read]) -> tuple[Exit, ...]:
    """Every exit that is read, once, un-normed before normed, the layers in rising order.

    So what one strategy reads mostly lies side by side, whatever else is read in the same pass.
    """
    return tuple(
        sorted(
            {exit for read in reads for exit in read.exits},
            key=lambda exit: (exit.stream, exit.norm, exit.layer),
        )
    )


def all_reads(groups: Iterable[Iterable[Read]]) -> tuple[Read, ...]:
    """What several strategies read, each read once, those at single exits in the order of `exits_of`."""
    reads = dict.fromkeys(read for group in groups for read in group)
    order = {exit: place for place, exit in enumerate(exits_of(reads))}
    return tuple(sorted(reads, key=lambda read: (len(read.exits) > 1, [order[exit] for exit in read.exits])))
