"""The trunk's way through a trie: every shared beginning once, then all that branches from it in one row."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from dola.models.budget import Budget
from dola.models.capabilities import Capabilities
from dola.models.parts import input_device
from dola.models.prefix import Prefix
from dola.models.tree import Tree
from dola.models.trunk import TappedTrunk
from dola.scoring.plan import Plan, fitting, together
from dola.scoring.trie import ROOT, TokenTrie


class Sink(Protocol):
    """Takes the hidden states `[E, R, D]` of R nodes of the trie."""

    def __call__(self, nodes: Sequence[int], hidden: Tensor) -> None: ...


class SharedWalk:
    """Goes through tries one after another, with a cache; keeps the beginning that the latest all shared.

    What branches is read as a tree in one row, each node once. Where the model does not take a tree, or a
    sliding window would have to cut into it, branches are rows of a batch, and padded.

    Its passes hold at most `budget` tokens; where memory does not suffice, half as many, and so on.
    """

    def __init__(self, model: PreTrainedModel, trunk: TappedTrunk, budget: Budget, sink: Sink) -> None:
        self._model = model
        self._trunk = trunk
        self._budget = budget
        self._sink = sink
        self._trees = Capabilities(model, trunk.parts).reads_trees
        self._device = input_device(model)
        self._held: tuple[list[int], Prefix] = ([], Prefix.empty(model))

    def __call__(self, trie: TokenTrie) -> None:
        """Bring the hidden states of every node that something is asked of to the sink, once or more."""
        stem, before = self._begin(trie)
        after = self._extend(trie, stem, before)
        self._held = (self._held[0] + [trie.token[node] for node in stem], after)
        plan = Plan.of(trie)
        todo = [(root, after) for root in self._below(trie, plan, trie.stem(ROOT)[-1], after)]
        while todo:
            root, before = todo.pop()
            stem = trie.stem(root)
            after = self._extend(trie, stem, before)
            todo += [(root, after) for root in self._below(trie, plan, stem[-1], after)]

    def _below(self, trie: TokenTrie, plan: Plan, node: int, before: Prefix) -> list[int]:
        """Read what comes after a node, but for the subtrees whose stem is to be read first: their roots are
        returned."""
        in_one_row: list[int] = []
        as_rows: list[int] = []
        for child in trie.children[node].values():
            fits = self._trees and before.within_windows(plan.height[child])
            (in_one_row if fits else as_rows).append(child)
        short = [path for child in as_rows if not plan.worth[child] for path in trie.paths(child)]
        self._run_rows(trie, short, before)
        shared = [child for child in as_rows if plan.worth[child]]
        return shared + self._run_subtrees(trie, plan, in_one_row, before)

    def _run_subtrees(self, trie: TokenTrie, plan: Plan, roots: Sequence[int], before: Prefix) -> list[int]:
        """Several subtrees, as many in one row as a pass holds. Those that are too large are returned."""
        left, large = sorted(roots, key=lambda root: plan.size[root]), []
        while left:
            sizes = [plan.size[root] for root in left]
            count = together(sizes, self._budget.size, self._device.type)
            if count == 0:
                large.append(left.pop(0))
                continue
            try:
                self._read_subtrees(trie, left[:count], before)
                left = left[count:]
            except RuntimeError as error:
                self._budget.shrink(error, sum(sizes[:count]))
        return large

    def _read_subtrees(self, trie: TokenTrie, roots: Sequence[int], before: Prefix) -> None:
        nodes, parents = trie.row(roots)
        asked = [at for at, node in enumerate(nodes) if trie.asked[node]]
        hidden = self._trunk.states(
            self._tensor([[trie.token[node] for node in nodes]]),
            cache=before.rows(1),
            keep=self._tensor(asked),
            tree=Tree(parents).arguments(before.length, dtype=self._model.dtype, device=self._device),
        )
        self._sink([nodes[at] for at in asked], hidden[:, 0])

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
        self._device = input_device(model)

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
    if Capabilities(model, trunk.parts).shares_prefixes:
        return SharedWalk(model, trunk, budget, sink)
    return PlainWalk(model, trunk, sink)
