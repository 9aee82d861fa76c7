"""Tiles, chunks and blocks are a matter of memory: whatever they are, the numbers are those of the whole."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from contrasting import resolved
from dola import DoLa, DoLaStatic, Vanilla
from dola.contrast import DIVERGENCES, blocks, divergences
from dola.contrast.blocks import by_blocks
from dola.head import ContrastiveHead
from dola.head import head as head_module
from dola.scoring import queries
from dola.scoring.queries import QueryHeads
from dola.scoring.trie import TokenTrie
from dola.strategies import Exit, Read, all_reads, exits_of

VOCABULARY, WIDTH = 11, 6
WEIGHT = torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(0))
READS = tuple(Read.at(layer) for layer in (0, 2, 4))
A_POSITION = len(READS) * VOCABULARY * 4  # bytes


class Projection:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.rows.append(len(rows))
        return rows @ WEIGHT.T


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(chunk: int, tile: int, fewest_rows: int = 1) -> None:
        """In bytes."""
        monkeypatch.setattr(head_module, "_CHUNK_BYTES", {"cpu": chunk})
        monkeypatch.setattr(head_module, "_TILE_BYTES", {"cpu": tile})
        monkeypatch.setattr(head_module, "_FEWEST_ROWS", fewest_rows)

    return of


@pytest.mark.parametrize("positions", [1, 2, 5, 6, 7, 12, 13])
@pytest.mark.parametrize("tile", [1, 2, 3, 6, 100])
@pytest.mark.parametrize("chunk", [1, 2, 5, 6, 100])
def test_tiles_cover_every_position_once_in_order_with_its_own_logits(
    chunk: int, tile: int, positions: int, sizes: Any
) -> None:
    sizes(chunk * A_POSITION, tile * A_POSITION)
    hidden = torch.randn(len(READS), positions, WIDTH)
    whole, project = hidden @ WEIGHT.T, Projection()
    covered, heights = [], []
    for rows, found in ContrastiveHead(project, VOCABULARY).read(hidden, READS):
        assert found.positions == rows.stop - rows.start <= min(tile, chunk)
        for at, read in enumerate(READS):
            torch.testing.assert_close(found.logits(read), whole[at, rows])
        covered += range(rows.start, rows.stop)
        heights.append(found.positions)
    assert covered == list(range(positions))
    full = [chunk] * (positions // chunk)
    rest = [positions % chunk] if positions % chunk else []
    assert project.rows == [len(READS) * each for each in full + rest]
    # No more tiles than there must be.
    assert len(heights) == sum(math.ceil(each / tile) for each in full + rest)


@pytest.mark.parametrize(
    ("chunk", "tile", "products", "tiles"),
    [
        # A byte less than two positions is room for one, and less than one is room for one all the same.
        (2 * A_POSITION - 1, 1 << 20, [1] * 5, [1] * 5),
        (2 * A_POSITION, 1 << 20, [2, 2, 1], [2, 2, 1]),
        (1 << 20, 2 * A_POSITION - 1, [5], [1] * 5),
        (1 << 20, 1, [5], [1] * 5),
        (1 << 20, 1 << 20, [5], [5]),
    ],
)
def test_what_is_held_at_once_is_bounded_in_bytes(
    chunk: int, tile: int, products: list[int], tiles: list[int], sizes: Any
) -> None:
    sizes(chunk, tile)
    project = Projection()
    hidden = torch.randn(len(READS), 5, WIDTH)
    found = [rows.stop - rows.start for rows, _ in ContrastiveHead(project, VOCABULARY).read(hidden, READS)]
    assert project.rows == [len(READS) * count for count in products]
    assert found == tiles


@pytest.mark.parametrize(("fewest", "step"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_a_product_has_rows_enough_whatever_the_bytes(fewest: int, step: int, sizes: Any) -> None:
    sizes(1, 1, fewest)
    project = Projection()
    list(ContrastiveHead(project, VOCABULARY).read(torch.randn(len(READS), 6, WIDTH), READS))
    assert set(project.rows) == {len(READS) * step}


def test_no_position_is_one_empty_tile(sizes: Any) -> None:
    sizes(A_POSITION, A_POSITION)
    found = list(ContrastiveHead(Projection(), VOCABULARY).read(torch.randn(3, 0, WIDTH), READS))
    assert [rows for rows, _ in found] == [slice(0, 0)]


STRATEGIES = [
    resolved(strategy, 4)
    for strategy in (Vanilla(), DoLaStatic(2), DoLa((0, 2)), DoLa((0, 2), alpha=0.0, divergence="js"))
]


def many_queries() -> TokenTrie:
    """Of some nodes several tokens are asked, of some none, and never in the order of the queries."""
    trie = TokenTrie()
    for text, start in (([1, 2, 3, 4, 5, 6], 3), ([1, 2, 7], 1), ([1, 2, 3, 4, 8, 9], 5), ([1, 2, 3, 10], 3)):
        trie.add(text, start)
    return trie


@pytest.mark.parametrize("gathered", [1, 2, 3, 128])
@pytest.mark.parametrize("at_once", [1, 2, 128])
@pytest.mark.parametrize(("chunk", "tile"), [(1, 1), (2, 1), (3, 2), (100, 2), (100, 100)])
def test_each_query_is_answered_from_its_own_position(
    chunk: int, tile: int, at_once: int, gathered: int, sizes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes(chunk * A_POSITION, tile * A_POSITION)
    monkeypatch.setattr(queries, "_GATHERED", gathered)
    trie = many_queries()
    asked = [node for node, tokens in enumerate(trie.asked) if tokens][::-1]
    model: Any = None  # of which only the name is asked, where something is no number
    project = Projection()
    heads = QueryHeads(model, ContrastiveHead(project, VOCABULARY), STRATEGIES)
    assert heads.exits == tuple(Exit(layer) for layer in (0, 2, 4))
    hidden = 3 * torch.randn(3, len(asked), WIDTH, generator=torch.Generator().manual_seed(1))
    hidden[0, ::2] = math.nan  # a candidate that is left out
    heads.begin(trie)
    for start in range(0, len(asked), at_once):
        heads(asked[start : start + at_once], hidden[:, start : start + at_once])
    found = heads.finish()
    assert sum(project.rows) == 3 * len(asked)

    for number, strategy in enumerate(STRATEGIES):
        places = [heads.exits.index(exit) for exit in exits_of(strategy.reads)]
        for at, node in enumerate(asked):
            if number == 0 or strategy.candidates == (0, 2) or at % 2:
                scores = ContrastiveHead(Projection(), VOCABULARY).score(
                    hidden[places, at : at + 1], [strategy]
                )
                contrast = scores.contrast
                alone = contrast.scores if strategy.normalised else torch.log_softmax(contrast.scores, -1)
                for token, query in trie.asked[node].items():
                    assert found.scores[number][query] == pytest.approx(float(alone[0, token]), abs=1e-4)
                    layer = -1 if contrast.premature is None else int(contrast.premature)
                    assert found.premature[number][query] == layer
                    assert found.left_out[number][query] == int(contrast.details.get("left_out", 0))
    assert any(found.left_out[2])
    assert not all(found.left_out[2])


def test_a_trie_is_answered_as_if_there_had_been_none_before() -> None:
    model: Any = None
    heads = QueryHeads(model, ContrastiveHead(Projection(), VOCABULARY), STRATEGIES)
    hidden = torch.randn(3, 1, WIDTH)
    trie = TokenTrie()
    trie.add([1, 2], 1)
    (node,) = [node for node, tokens in enumerate(trie.asked) if tokens]
    answers = []
    for _ in range(2):
        heads.begin(trie)
        heads([node], hidden)
        answers.append(heads.finish())
    assert answers[0] == answers[1]
    heads.begin(many_queries())  # of which nobody brings the states
    assert all(not any(scores) for scores in heads.finish().scores)


@pytest.mark.parametrize("elements", [1, 7, 8, 16, 24, 56, 57, 100, 10_000])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("count", [1, 4])
def test_blocks_of_any_size_give_the_same(
    count: int, shape: tuple[int, ...], elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exits = torch.randn(count, *shape, 8, generator=torch.Generator().manual_seed(0))
    reference, other = exits[0] + 1.0, torch.randn(*shape, 3)
    largest: list[int] = []

    def scalars(exits: Tensor, reference: Tensor, other: Tensor) -> Tensor:
        largest.append(exits.numel())
        assert exits.shape[1:-1] == reference.shape[:-1] == other.shape[:-1]
        return (exits * reference).sum(-1) + other[..., 0]

    def vectors(exits: Tensor, reference: Tensor, other: Tensor) -> Tensor:
        return exits[..., :3] * other + reference[..., :3]

    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", elements)
    found = by_blocks(scalars, exits, reference, other)
    assert torch.equal(found, (exits * reference).sum(-1) + other[..., 0])
    assert max(largest) <= max(elements, 8)
    assert torch.equal(
        by_blocks(vectors, exits, reference, other), exits[..., :3] * other + reference[..., :3]
    )


@pytest.mark.parametrize(
    ("elements", "calls"),
    # Four exits of five positions of eight tokens: all exits of as many positions as fit, else fewer exits.
    [(160, 1), (159, 2), (64, 3), (63, 5), (32, 5), (31, 10), (24, 10), (8, 20), (7, 20), (1, 20)],
)
def test_a_block_holds_as_much_as_fits(elements: int, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", elements)
    seen: list[tuple[int, ...]] = []

    def first(exits: Tensor) -> Tensor:
        seen.append(tuple(exits.shape))
        return exits[..., 0]

    exits = torch.randn(4, 5, 8)
    assert torch.equal(by_blocks(first, exits), exits[..., 0])
    assert len(seen) == calls


@pytest.mark.parametrize("elements", [1, 40, 90, 10_000])
@pytest.mark.parametrize("kind", list(DIVERGENCES))
def test_divergences_do_not_depend_on_the_block(
    kind: Any, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(2)
    mature, candidates = torch.randn(2, 3, 30, generator=generator), torch.randn(3, 2, 3, 30)
    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", elements)
    expected = torch.stack([DIVERGENCES[kind](mature, each) for each in candidates])
    torch.testing.assert_close(divergences(kind, mature, candidates), expected)


def test_all_reads_of_the_strategies_are_what_is_projected() -> None:
    assert all_reads(strategy.reads for strategy in STRATEGIES) == READS
