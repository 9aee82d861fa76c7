"""What the tokens that are asked for score: the heads of all strategies, on the positions that need them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dola.contrast import are_finite
from dola.head import ContrastiveHead, unusable
from dola.models.budget import Budget
from dola.models.numerics import refuse, tally
from dola.scoring.trie import TokenTrie
from dola.strategies import Exit, Strategy

_T = TypeVar("_T", int, float)

# Positions gathered before the heads are applied: a product of few rows is slow.
_GATHERED = 128
# Logits that one strategy works on at a time: on a CPU what its caches hold, elsewhere what comes.
_TILE_BYTES = {"cpu": 2 << 20}


@dataclass(frozen=True)
class Answers:
    """By strategy and query: scores, the chosen candidate (-1 where nothing is contrasted), and how many
    candidates were left out of the choice."""

    scores: list[list[float]]
    premature: list[list[int]]
    left_out: list[list[int]]


class QueryHeads:
    """Gathers hidden states and answers the queries of their nodes, for all strategies at once.

    Every exit that any strategy reads is projected once; a strategy takes its own from among them.
    """

    def __init__(
        self, model: PreTrainedModel, head: ContrastiveHead, strategies: Sequence[Strategy], last_layer: int
    ) -> None:
        self._model = model
        self._head = head
        self._strategies = strategies
        # The last layer is normed by the trunk, whatever the strategy says of its early exits.
        own = [
            [Exit(layer, norm and layer != last_layer) for layer, norm in strategy.exits]
            for strategy in strategies
        ]
        by_norm = sorted({(norm, layer) for exits in own for layer, norm in exits})
        self.exits = tuple(Exit(layer, norm) for norm, layer in by_norm)
        # Strategies of a kind that read the same exits work on them together.
        self._groups: dict[tuple[type[Strategy], tuple[Exit, ...]], list[int]] = {}
        for number, (strategy, exits) in enumerate(zip(strategies, own, strict=True)):
            self._groups.setdefault((type(strategy), tuple(exits)), []).append(number)
        self._positions = Budget(_GATHERED)
        self._trie = TokenTrie()
        self._waiting: list[tuple[list[int], Tensor]] = []
        self._answers = Answers([], [], [])

    def begin(self, trie: TokenTrie) -> None:
        """Make ready for the queries of another trie."""
        self._trie = trie
        self._waiting = []
        count = trie.queries
        self._answers = Answers(
            [[0.0] * count for _ in self._strategies],
            [[-1] * count for _ in self._strategies],
            [[0] * count for _ in self._strategies],
        )

    def __call__(self, nodes: Sequence[int], hidden: Tensor) -> None:
        """Take the hidden states `[E, R, D]` of R nodes, in the order of `exits`."""
        self._waiting.append((list(nodes), hidden))
        if sum(len(waiting) for waiting, _ in self._waiting) >= _GATHERED:
            self._flush()

    def finish(self) -> Answers:
        """The answers to all queries of the trie."""
        self._flush()
        return self._answers

    def _flush(self) -> None:
        if not self._waiting:
            return
        nodes = [node for waiting, _ in self._waiting for node in waiting]
        hidden = torch.cat([states for _, states in self._waiting], dim=1)
        self._waiting = []
        start = 0
        while start < len(nodes):
            part = slice(start, start + self._positions.size)
            try:
                self._answer(nodes[part], hidden[:, part])
                start = part.stop
            except RuntimeError as error:
                # A walk that takes this for its own lack of memory sends its own nodes again, no others.
                self._waiting = [(nodes[start:], hidden[:, start:])]
                self._positions.shrink(error, len(nodes[part]))
                self._waiting = []

    def _answer(self, nodes: Sequence[int], hidden: Tensor) -> None:
        with torch.inference_mode():
            for rows, logits in self._head.chunks(hidden):
                exits, count, vocabulary = logits.shape
                tile = _TILE_BYTES.get(logits.device.type, 1 << 62) // (exits * vocabulary * 4) or 1
                for start in range(0, count, tile):
                    part = slice(start, start + tile)
                    self._contrast(nodes[rows][part], hidden[:, rows][:, part], logits[:, part])
                del logits  # before the next are made

    def _contrast(self, nodes: Sequence[int], hidden: Tensor, logits: Tensor) -> None:
        """Every strategy on the logits `[E, r, V]` of r nodes, whose states are `[E, r, D]`."""
        asked = [
            (row, token, query)
            for row, node in enumerate(nodes)
            for token, query in self._trie.asked[node].items()
        ]
        row, token, query = map(list, zip(*asked, strict=True))
        for (kind, exits), numbers in self._groups.items():
            *early, mature = places = [self.exits.index(each) for each in exits]
            candidates = logits[_neighbours(early)]
            contrasts = kind.contrast_together(
                [self._strategies[number] for number in numbers], candidates, logits[mature]
            )
            for number, contrast in zip(numbers, contrasts, strict=True):
                faults = unusable(contrast, candidates, logits[mature])
                if bool(faults.any()):
                    refuse(self._model, exits, tally(are_finite(hidden[places]), faults))
                scores = contrast.scores
                if not self._strategies[number].candidates:  # logits: of no meaning until normalised
                    scores = torch.log_softmax(scores, dim=-1)
                _put(self._answers.scores[number], query, scores[row, token].tolist())
                if contrast.premature is not None:
                    _put(self._answers.premature[number], query, contrast.premature[row].tolist())
                if contrast.left_out is not None:
                    _put(self._answers.left_out[number], query, contrast.left_out[row].tolist())


def _neighbours(places: list[int]) -> slice | list[int]:
    """The same places as a slice, which copies nothing, where they follow one another."""
    first = places[0] if places else 0
    follow = places == list(range(first, first + len(places)))
    return slice(first, first + len(places)) if follow else places


def _put(answers: list[_T], queries: Sequence[int], found: list[_T]) -> None:
    for query, answer in zip(queries, found, strict=True):
        answers[query] = answer
