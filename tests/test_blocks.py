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
from dola.errors import NumericsError
from dola.head import ContrastiveHead
from dola.head import head as head_module
from dola.scoring import queries
from dola.scoring.queries import QueryHeads
from dola.scoring.trie import TokenTrie
from dola.strategies import Exit, Read, all_reads, exits_of
from tiny_models import tiny_model

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


@pytest.mark.parametrize(
    ("count", "positions", "elements", "calls"),
    [(1, 5, 40, 1), (1, 5, 39, 2), (1, 5, 16, 3), (1, 5, 8, 5), (1, 5, 1, 5), (4, 1, 32, 1), (4, 1, 31, 2)],
)
def test_a_single_exit_or_position_takes_no_more_blocks_than_it_must(
    count: int, positions: int, elements: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", elements)
    seen: list[Tensor] = []

    def first(exits: Tensor) -> Tensor:
        seen.append(exits)
        return exits[..., 0]

    exits = torch.randn(count, positions, 8)
    assert torch.equal(by_blocks(first, exits), exits[..., 0])
    assert len(seen) == calls


@pytest.mark.parametrize(("device", "compiling"), [("meta", False), ("meta", True), ("cpu", True)])
def test_elsewhere_than_on_a_cpu_and_in_a_compiled_pass_all_is_one_block(
    device: str,
    compiling: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    given: list[tuple[Tensor, ...]] = []

    def remembered(*tensors: Tensor) -> Tensor:
        given.append(tensors)
        return tensors[0][..., 0]

    exits, reference, other = torch.empty(4, 5, 8, device=device), torch.empty(5, 8), torch.empty(5, 3)
    assert by_blocks(remembered, exits, reference, other).shape == (4, 5)
    (tensors,) = given
    assert [id(each) for each in tensors] == [id(exits), id(reference), id(other)]


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


def asked_of(trie: TokenTrie) -> list[int]:
    return [node for node, tokens in enumerate(trie.asked) if tokens]


@pytest.mark.parametrize(("gathered", "products"), [(2, [2, 2]), (3, [3, 1]), (4, [4]), (5, [4])])
def test_a_product_waits_until_enough_positions_are_gathered_and_no_longer(
    gathered: int, products: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_GATHERED", gathered)
    model: Any = None
    project = Projection()
    heads = QueryHeads(model, ContrastiveHead(project, VOCABULARY), STRATEGIES)
    trie = many_queries()
    heads.begin(trie)
    for node in asked_of(trie)[:4]:
        heads([node], torch.randn(3, 1, WIDTH))
    heads.finish()
    assert project.rows == [3 * count for count in products]


class Full(Projection):
    """A projection with memory for a few rows."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def __call__(self, rows: Tensor) -> Tensor:
        if len(rows) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().__call__(rows)


def test_a_full_memory_halves_what_is_answered_at_once_and_loses_no_answer() -> None:
    model: Any = None
    trie = many_queries()
    hidden = torch.randn(3, len(asked_of(trie)), WIDTH)
    answers = []
    for project in (Projection(), Full(3 * 2), Full(3 * 1)):
        heads = QueryHeads(model, ContrastiveHead(project, VOCABULARY), STRATEGIES)
        heads.begin(trie)
        heads(asked_of(trie), hidden)
        answers.append(heads.finish())
        assert sum(project.rows) == 3 * len(asked_of(trie))
    for other in answers[1:]:
        assert other.premature == answers[0].premature
        for ours, theirs in zip(other.scores, answers[0].scores, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)


def test_where_there_is_no_memory_at_all_only_what_is_unanswered_waits() -> None:
    model: Any = None
    trie = many_queries()
    nodes = asked_of(trie)
    hidden = torch.randn(3, len(nodes), WIDTH)
    project = Full(0)
    heads = QueryHeads(model, ContrastiveHead(project, VOCABULARY), STRATEGIES)
    heads.begin(trie)
    heads(nodes[:3], hidden[:, :3])
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        heads.finish()
    project.room = 1000
    heads(nodes[3:], hidden[:, 3:])
    heads.finish()
    assert sum(project.rows) == 3 * len(nodes)


def test_another_error_than_a_full_memory_is_told_as_it_is() -> None:
    def broken(rows: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model: Any = None
    trie = many_queries()
    heads = QueryHeads(model, ContrastiveHead(broken, VOCABULARY), STRATEGIES)
    heads.begin(trie)
    heads(asked_of(trie), torch.randn(3, len(asked_of(trie)), WIDTH))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        heads.finish()


@pytest.mark.parametrize(
    ("exit", "value", "message"),
    [
        (2, math.nan, r"hidden state of layer 4 \(the last\) of LlamaForCausalLM at 1 of 2 positions"),
        (1, math.inf, "hidden state of layer 2 of LlamaForCausalLM at 1 of 2 positions"),
    ],
)
def test_a_state_that_is_no_number_is_refused_with_its_layer_and_model(
    exit: int, value: float, message: str
) -> None:
    heads = QueryHeads(tiny_model("llama"), ContrastiveHead(Projection(), VOCABULARY), STRATEGIES)
    trie = many_queries()
    heads.begin(trie)
    hidden = torch.randn(3, 2, WIDTH)
    hidden[exit, 1] = value
    heads(asked_of(trie)[:2], hidden)
    with pytest.raises(NumericsError, match=message):
        heads.finish()


def test_a_device_of_which_nothing_is_said_takes_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "_CHUNK_BYTES", {})
    monkeypatch.setattr(head_module, "_TILE_BYTES", {})
    project = Projection()
    hidden = torch.randn(len(READS), 200, WIDTH)
    found = [rows for rows, _ in ContrastiveHead(project, VOCABULARY).read(hidden, READS)]
    assert found == [slice(0, 200)]
    assert project.rows == [len(READS) * 200]
