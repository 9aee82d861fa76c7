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
from dola.strategies import ExitLogits, Reading, ResolvedStrategy

_T = TypeVar("_T", int, float)

# Positions gathered before the heads are applied: a product of few rows is slow.
_GATHERED = 128


@dataclass(frozen=True)
class Answers:
    """By strategy and query: scores, the premature layer (-1 where there is none), and how many
    candidates were left out of the choice."""

    scores: list[list[float]]
    premature: list[list[int]]
    left_out: list[list[int]]


class QueryHeads:
    """Gathers hidden states and answers the queries of their nodes, for all strategies at once.

    What any strategy reads is projected once; each takes its own from among it.
    """

    def __init__(
        self, model: PreTrainedModel, head: ContrastiveHead, strategies: Sequence[ResolvedStrategy]
    ) -> None:
        self._model = model
        self._head = head
        self._strategies = strategies
        self._reading = Reading.of(read for strategy in strategies for read in strategy.reads)
        self.exits = self._reading.exits
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
            for rows, tile in self._head.read(hidden, self._reading):
                self._contrast(nodes[rows], hidden[:, rows], tile)

    def _contrast(self, nodes: Sequence[int], hidden: Tensor, tile: ExitLogits) -> None:
        """Every strategy on the logits of r nodes, whose states are `[E, r, D]`."""
        asked = [
            (row, token, query)
            for row, node in enumerate(nodes)
            for token, query in self._trie.asked[node].items()
        ]
        row, token, query = map(list, zip(*asked, strict=True))
        for number, strategy in enumerate(self._strategies):
            contrast = strategy.contrast(tile)
            faults = unusable(strategy, contrast, tile, hidden)
            if bool(faults.any()):
                refuse(self._model, self.exits, tally(are_finite(hidden), faults))
            scores = contrast.scores
            if not strategy.normalised:
                scores = torch.log_softmax(scores, dim=-1)
            _put(self._answers.scores[number], query, scores[row, token].tolist())
            if contrast.premature is not None:
                _put(self._answers.premature[number], query, contrast.premature[row].tolist())
            if "left_out" in contrast.details:
                _put(self._answers.left_out[number], query, contrast.details["left_out"][row].tolist())


def _put(answers: list[_T], queries: Sequence[int], found: list[_T]) -> None:
    for query, answer in zip(queries, found, strict=True):
        answers[query] = answer
