"""The trunk's way through a trie: every shared beginning once, then its branches side by side."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from dola.models.budget import Budget
from dola.models.prefix import Prefix, can_share_prefixes
from dola.models.trunk import TappedTrunk
from dola.scoring.plan import KEPT_TOKENS, abreast, fitting, worth_a_pass
from dola.scoring.trie import ROOT, TokenTrie


class Sink(Protocol):
    """Takes the hidden states `[E, R, D]` of R nodes of the trie."""

    def __call__(self, nodes: Sequence[int], hidden: Tensor) -> None: ...


class SharedWalk:
    """Goes through tries one after another, with a cache; keeps the beginning that the latest all shared.

    Its passes hold at most `budget` tokens; where memory does not suffice, half as many, and so on.
    """

    def __init__(self, model: PreTrainedModel, trunk: TappedTrunk, budget: Budget, sink: Sink) -> None:
        self._model = model
        self._trunk = trunk
        self._budget = budget
        self._kept = Budget(KEPT_TOKENS)
        self._sink = sink
        self._device = _input_device(model)
        self._held: tuple[list[int], Prefix] = ([], Prefix.empty(model))

    def __call__(self, trie: TokenTrie) -> None:
        """Bring the hidden states of every node that something is asked of to the sink, once or more."""
        stem, before = self._begin(trie)
        after = self._extend(trie, stem, before)
        self._held = (self._held[0] + [trie.token[node] for node in stem], after)
        worth = worth_a_pass(trie)
        stems = self._split(trie, worth, trie.stem(ROOT)[-1], after)
        todo = [(stems, after)] if stems else []
        while todo:
            todo += self._go_on(trie, worth, *todo.pop())

    def _go_on(
        self, trie: TokenTrie, worth: Sequence[bool], stems: list[list[int]], before: Prefix
    ) -> list[tuple[list[list[int]], Prefix]]:
        """Read some stems, and what comes after each but for the stems below: those, and the ones that were
        not read, are returned with what comes before them."""
        afters = self._extend_some(trie, stems, before)
        left = [(rest, before)] if (rest := stems[len(afters) :]) else []
        for stem in stems[: len(afters)]:
            after = afters.pop(0)  # let go of as soon as nothing is left to read after it
            if below := self._split(trie, worth, stem[-1], after):
                left.append((below, after))
        return left

    def _split(self, trie: TokenTrie, worth: Sequence[bool], node: int, before: Prefix) -> list[list[int]]:
        """Read what comes after a node, but for the stems of the children that are worth a pass: those are
        returned, the longest first."""
        children = trie.children[node].values()
        apart = [path for child in children if not worth[child] for path in trie.paths(child)]
        self._run_rows(trie, apart, before)
        return sorted((trie.stem(child) for child in children if worth[child]), key=len, reverse=True)

    def _begin(self, trie: TokenTrie) -> tuple[list[int], Prefix]:
        """What is left of the root's stem, and the kept beginning before it."""
        stem = trie.stem(ROOT)[1:]
        ids = [trie.token[node] for node in stem]
        held, prefix = self._held
        # A kept beginning has no hidden states any more, so it ends before the first node that is asked.
        silent = next((at for at, node in enumerate(stem) if trie.asked[node]), len(stem))
        common = next((at for at in range(silent) if held[at : at + 1] != ids[at : at + 1]), silent)
        cut = prefix.cut(common)
        self._held = ([], Prefix.empty(self._model))
        del prefix
        if cut is None:
            cut = self._extend(trie, stem[:common], self._held[1])
        self._held = (ids[:common], cut)
        return stem[common:], cut

    def _extend(self, trie: TokenTrie, stem: Sequence[int], before: Prefix) -> Prefix:
        """The text after `before` with the nodes of `stem` read as well."""
        while True:
            size = self._budget.size
            try:
                cache = before.fork()
                for start in range(0, len(stem), size):
                    self._read(trie, stem[start : start + size], cache)
                return Prefix(cache, before.length + len(stem))
            except RuntimeError as error:
                self._budget.shrink(error, min(size, len(stem)))

    def _extend_some(self, trie: TokenTrie, stems: Sequence[list[int]], before: Prefix) -> list[Prefix]:
        """The text after `before` with each of the first stems read as well: as many as go side by side."""
        width = len(stems[0])
        while True:
            rows = stems[: abreast(stems, self._budget.size, before.length, kept=self._kept.size)]
            if len(rows) == 1 or not before.can_branch(width):
                break
            try:
                return self._extend_abreast(trie, rows, before)
            except RuntimeError as error:
                self._kept.shrink(error, len(rows) * (before.length + width))
        return [self._extend(trie, stems[0], before)]

    def _extend_abreast(self, trie: TokenTrie, rows: Sequence[list[int]], before: Prefix) -> list[Prefix]:
        cache = before.branches(len(rows))
        self._read_rows(trie, rows, cache)
        return Prefix.split(cache, [before.length + len(row) for row in rows])

    def _read(self, trie: TokenTrie, nodes: Sequence[int], cache: Cache) -> None:
        ids = self._tensor([[trie.token[node] for node in nodes]])
        asked = [at for at, node in enumerate(nodes) if trie.asked[node]]
        if not asked:
            self._trunk.extend(ids, cache)
            return
        hidden = self._trunk.states(ids, cache=cache, keep=self._tensor(asked))
        self._sink([nodes[at] for at in asked], hidden[:, 0])

    def _run_rows(self, trie: TokenTrie, paths: Sequence[list[int]], before: Prefix) -> None:
        """The last stretch of several texts, each to its end, in batches of about the same length."""
        left = sorted(paths, key=len, reverse=True)
        while left:
            rows = left[: fitting(left, self._budget.size, before.length)]
            if len(rows) == 1:
                self._extend(trie, rows[0], before)  # which reads a long text in parts
                left = left[1:]
                continue
            try:
                self._read_rows(trie, rows, before.rows(len(rows)))
                left = left[len(rows) :]
            except RuntimeError as error:
                self._budget.shrink(error, len(rows) * len(rows[0]))

    def _read_rows(self, trie: TokenTrie, rows: Sequence[list[int]], cache: Cache | None) -> None:
        width = len(rows[0])
        ids = self._tensor([[trie.token[node] for node in row] + [0] * (width - len(row)) for row in rows])
        first = {  # where each node's states are: of a node that several rows share, the first row's will do
            node: (row, at)
            for row in reversed(range(len(rows)))
            for at, node in enumerate(rows[row])
            if trie.asked[node]
        }
        if not first and cache is not None:
            self._trunk.extend(ids, cache)
            return
        keep = sorted({at for _, at in first.values()})
        index = {at: place for place, at in enumerate(keep)}
        hidden = self._trunk.states(ids, cache=cache, keep=self._tensor(keep))
        row, place = zip(*((row, index[at]) for row, at in first.values()), strict=True)
        self._sink(list(first), hidden[:, list(row), list(place)])

    def _tensor(self, numbers: object) -> Tensor:
        return torch.tensor(numbers, device=self._device)


class PlainWalk:
    """Every text by itself, from its beginning: for models whose past cannot be shared."""

    def __init__(self, model: PreTrainedModel, trunk: TappedTrunk, sink: Sink) -> None:
        self._trunk = trunk
        self._sink = sink
        self._device = _input_device(model)

    def __call__(self, trie: TokenTrie) -> None:
        for _, *path in trie.paths(ROOT):
            ids = torch.tensor([[trie.token[node] for node in path]], device=self._device)
            asked = [at for at, node in enumerate(path) if trie.asked[node]]
            hidden = self._trunk.states(ids, keep=torch.tensor(asked, device=self._device))
            self._sink([path[at] for at in asked], hidden[:, 0])


def walk_for(
    model: PreTrainedModel, trunk: TappedTrunk, budget: Budget, sink: Sink
) -> SharedWalk | PlainWalk:
    """The fast way where it is exact, else the plain one."""
    if can_share_prefixes(model, trunk.parts):
        return SharedWalk(model, trunk, budget, sink)
    return PlainWalk(model, trunk, sink)


def _input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go: of a model spread over several devices, the embedding's."""
    weight = model.get_input_embeddings().weight
    return weight.device if isinstance(weight, Tensor) else model.device
