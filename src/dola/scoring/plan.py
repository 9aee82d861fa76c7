"""Which shared beginnings are worth a pass of their own, and which paths go into one pass together."""

from collections.abc import Sequence

from dola.scoring.trie import TokenTrie

# What one more pass costs, in tokens of a pass that runs anyway: the weights are read once more.
PASS_TOKENS = 32
# Tokens of a common past that a pass may copy for its rows, a layer at a time, for each token of its budget.
_PAST_TOKENS = 32
# Tokens of a pass over stems: on a CPU, a pass of more is no cheaper a token.
_FULL_PASS = 256
# Tokens of stems and their pasts whose keys and values are held together, and twice while they are parted.
KEPT_TOKENS = 4096


def worth_a_pass(trie: TokenTrie) -> list[bool]:
    """Of every node, as a child: is its stem better read once, in a pass of its own, than by every row below?

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


def fitting(rows: Sequence[Sequence[int]], budget: int, past: int) -> int:
    """How many of the rows, longest first, go into one pass of at most `budget` tokens: at least one, and as
    long as padding costs less than a pass. All of them go on from a common `past` of so many tokens."""
    return _fitting(rows, budget, past, held=budget * _PAST_TOKENS)


def abreast(stems: Sequence[Sequence[int]], budget: int, past: int, *, kept: int) -> int:
    """The same of stems that are each gone on from: keys and values are kept of `kept` tokens at most."""
    return _fitting(stems, min(budget, _FULL_PASS), past, held=kept)


def _fitting(rows: Sequence[Sequence[int]], budget: int, past: int, *, held: int) -> int:
    width, padding = len(rows[0]), 0
    for count, row in enumerate(rows[1:], start=2):
        padding += width - len(row)
        too_large = count * width > budget or count * (past + width) > held
        if padding > PASS_TOKENS or too_large:
            return count - 1
    return len(rows)
