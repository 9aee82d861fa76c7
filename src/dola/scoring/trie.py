"""A trie of token sequences: what several texts share is one path, and is read and asked once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

ROOT = 0


@dataclass
class TokenTrie:
    """Token sequences by their common beginnings. A node is a text so far; the root (0) is the empty one.

    A query is a node and a token that may come next: the question what that token scores there.

    Attributes:
        shared: False: every text is a path of its own, to its end, for a model to which what follows matters.
    """

    token: list[int] = field(default_factory=lambda: [-1])
    depth: list[int] = field(default_factory=lambda: [0])
    children: list[dict[int, int]] = field(default_factory=lambda: [{}])
    asked: list[dict[int, int]] = field(default_factory=lambda: [{}])  # by node: next token -> query
    queries: int = 0
    shared: bool = True

    def add(self, ids: Sequence[int], start: int) -> list[int]:
        """Ask for every token of `ids` from `start` on. Returns the queries, one a token, old or new."""
        node = ROOT
        found = []
        for place, token in enumerate(ids):
            if place >= start:
                found.append(self._ask(node, token))
            # Nothing comes after the last token: it is asked for, and read only as a part of the whole.
            if place < len(ids) - 1 or not self.shared:
                node = self._step(node, token)
        return found

    def _ask(self, node: int, token: int) -> int:
        query = self.asked[node].setdefault(token, self.queries)
        self.queries += query == self.queries
        return query

    def _step(self, node: int, token: int) -> int:
        key = token if self.shared or node != ROOT else -len(self.token)  # which no token has
        child = self.children[node].get(key)
        if child is None:
            child = len(self.token)
            self.children[node][key] = child
            self.token.append(token)
            self.depth.append(self.depth[node] + 1)
            self.children.append({})
            self.asked.append({})
        return child

    def stem(self, node: int) -> list[int]:
        """The nodes from `node` on up to the first that branches or ends, `node` included."""
        path = [node]
        while len(self.children[path[-1]]) == 1:
            path.extend(self.children[path[-1]].values())
        return path

    def paths(self, node: int) -> list[list[int]]:
        """Every path of nodes from `node` (included) to a leaf."""
        found = []
        begun = [self.stem(node)]
        while begun:
            path = begun.pop()
            branches = self.children[path[-1]].values()
            begun += [path + self.stem(child) for child in branches]
            if not branches:
                found.append(path)
        return found

    def row(self, roots: Sequence[int]) -> tuple[list[int], list[int]]:
        """All nodes of some subtrees, parents before their children, and the place of each one's parent in
        that row: -1 for the roots."""
        nodes: list[int] = []
        parents: list[int] = []
        left = [(root, -1) for root in reversed(roots)]
        while left:
            node, parent = left.pop()
            left += [(child, len(nodes)) for child in reversed(self.children[node].values())]
            nodes.append(node)
            parents.append(parent)
        return nodes, parents
