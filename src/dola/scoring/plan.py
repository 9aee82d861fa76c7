"""What goes into one pass: which subtrees of a trie as one row of tokens, or which of its paths as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from dola.scoring.trie import TokenTrie

# What one more pass costs, in tokens of a pass that runs anyway: the weights are read once more.
PASS_TOKENS = 32
# Tokens of a common past that a pass may copy for its rows, a layer at a time, for each token of its budget.
_PAST_TOKENS = 32
# Tokens of a pass over subtrees. One of more is hardly cheaper a token, and holds every one against every
# other: on a CPU, to read SmolLM2's weights takes as long as to compute 50 tokens.
_FULL_PASS = {"cpu": 256}
# Nodes of one subtree beyond which its stem is read first: the mask has the square of that.
_LARGEST_TREE = 4096


@dataclass(frozen=True)
class Plan:
    """Of every node of a trie, as the root of a subtree.

    Attributes:
        size: how many nodes the subtree has.
        height: how many levels.
        worth: where branches are rows, is its stem better read once, in a pass of its own, than by every row?
    """

    size: list[int]
    height: list[int]
    worth: list[bool]

    @classmethod
    def of(cls, trie: TokenTrie) -> Self:
        count = len(trie.token)
        size, height = [1] * count, [1] * count
        for node in reversed(range(count)):  # a child is younger than its parent
            for child in trie.children[node].values():
                size[node] += size[child]
                height[node] = max(height[node], 1 + height[child])
        return cls(size, height, _worth_a_pass(trie))


def together(sizes: Sequence[int], budget: int, device: str) -> int:
    """How many subtrees, of so many nodes each, are read in one pass of at most `budget` tokens: 0 where not
    even the first fits."""
    full = min(budget, _FULL_PASS.get(device, 2048))
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > full:
            return count or int(size <= min(budget, _LARGEST_TREE))
    return len(sizes)


def fitting(rows: Sequence[Sequence[int]], budget: int, past: int) -> int:
    """How many of the rows, longest first, go into one pass of at most `budget` tokens: at least one, and as
    long as padding costs less than a pass. All of them go on from a common `past` of so many tokens."""
    width, padding = len(rows[0]), 0
    for count, row in enumerate(rows[1:], start=2):
        padding += width - len(row)
        too_large = count * width > budget or count * (past + width) > budget * _PAST_TOKENS
        if padding > PASS_TOKENS or too_large:
            return count - 1
    return len(rows)


def _worth_a_pass(trie: TokenTrie) -> list[bool]:
    """See `Plan.worth`.

    The cheaper of the two, in tokens, is found from the leaves upwards: below a node that is not worth a
    pass nothing is shared, so a short beginning may be worth one for the sake of what follows it.
    """
    count = len(trie.token)
    paths = [1] * count  # from here to a leaf
    apart = [1] * count  # tokens, if every path reads its own
    stem = [1] * count  # tokens, if this node is part of a stem that is read once
    worth = [False] * count
    for node in reversed(range(count)):  # a child is younger than its parent
        children = trie.children[node].values()
        if not children:
            continue
        paths[node] = sum(paths[child] for child in children)
        apart[node] = paths[node] + sum(apart[child] for child in children)
        if len(children) == 1:
            stem[node] = 1 + sum(stem[child] for child in children)
        else:
            stem[node] = 1 + sum(min(apart[child], PASS_TOKENS + stem[child]) for child in children)
        worth[node] = paths[node] > 1 and PASS_TOKENS + stem[node] < apart[node]
    return worth
