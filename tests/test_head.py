"""The head: one product for all exits, in chunks whose size never shows in the result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from contrasting import contrast_of, resolved
from dola import DoLa, DoLaStatic, Vanilla
from dola.head import ContrastiveHead, Scores
from dola.head import head as head_module
from dola.strategies import Contrast, Exit, Read, ResolvedStrategy, exits_of

WIDTH, VOCABULARY = 16, 60
WEIGHT = torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(0))

STRATEGIES = [
    resolved(strategy, 8)
    for strategy in (Vanilla(), DoLaStatic(2), DoLa((0, 2, 4)), DoLa((0, 2, 4), divergence="js"))
]


class Counting:
    """A projection that remembers how many rows it was given at a time."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.rows.append(rows.shape[0])
        return rows @ WEIGHT.T


def score(project: Counting, hidden: Tensor, strategy: ResolvedStrategy) -> Scores:
    return ContrastiveHead(project, VOCABULARY).score(hidden, [strategy])


def tensors(scores: Scores) -> dict[str, Tensor]:
    """All that was found, by name."""
    contrast, finite, unusable = scores
    found = {"scores": contrast.scores, "finite": finite, "unusable": unusable, **contrast.details}
    return found if contrast.premature is None else {**found, "premature": contrast.premature}


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def set_budget(positions_of_four_exits: int) -> None:
        size = positions_of_four_exits * 4 * VOCABULARY * 4
        monkeypatch.setattr(head_module, "_CHUNK_BYTES", {"cpu": size, "cuda": size})
        monkeypatch.setattr(head_module, "_FEWEST_ROWS", 1)

    return set_budget


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize("positions", [0, 1, 2, 3, 5, 35])  # 0: a budget below a single position
def test_chunks_of_any_size_give_the_same(
    strategy: ResolvedStrategy, positions: int, budget: Callable[[int], None]
) -> None:
    hidden = torch.randn(len(exits_of(strategy.reads)), 5, 7, WIDTH)
    whole = score(Counting(), hidden, strategy)
    budget(positions)
    counting = Counting()
    parts = score(counting, hidden, strategy)
    if positions < 5:
        assert len(counting.rows) > 1
    assert tensors(whole).keys() == tensors(parts).keys()
    for name, one in tensors(whole).items():
        # A NaN is a candidate that was left out.
        torch.testing.assert_close(one, tensors(parts)[name], equal_nan=True)


@pytest.mark.parametrize("length", [10, 100, 1000])
def test_the_logits_held_at_once_do_not_grow_with_the_text(
    length: int, budget: Callable[[int], None]
) -> None:
    budget(6)
    counting = Counting()
    score(counting, torch.randn(4, length, WIDTH), STRATEGIES[2])
    assert max(counting.rows) == 6 * 4
    assert sum(counting.rows) == length * 4


def test_with_a_huge_vocabulary_a_product_still_has_rows_enough(
    budget: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(1)
    monkeypatch.setattr(head_module, "_FEWEST_ROWS", 10)
    counting = Counting()
    score(counting, torch.randn(4, 7, WIDTH), STRATEGIES[2])
    assert counting.rows == [12, 12, 4]


def test_all_exits_go_through_one_product() -> None:
    counting = Counting()
    score(counting, torch.randn(4, 3, WIDTH), STRATEGIES[2])
    assert counting.rows == [12]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize("positions", [(), (1,), (3,), (2, 3)], ids=str)
def test_results_have_the_shape_of_the_positions(
    strategy: ResolvedStrategy, positions: tuple[int, ...]
) -> None:
    hidden = torch.randn(len(exits_of(strategy.reads)), *positions, WIDTH)
    found = score(Counting(), hidden, strategy)
    contrast = found.contrast
    assert contrast.scores.shape == (*positions, VOCABULARY)
    assert contrast.scores.dtype == torch.float32
    assert found.finite.shape == found.unusable.shape == (len(hidden), *positions)
    assert (contrast.premature is None) == (not strategy.candidates)
    assert contrast.premature is None or contrast.premature.shape == positions
    if len(strategy.candidates) > 1:
        assert contrast.details["divergence"].shape == (len(strategy.candidates), *positions)
        assert contrast.details["left_out"].shape == positions


def test_no_positions_give_no_scores() -> None:
    found = score(Counting(), torch.randn(4, 2, 0, WIDTH), STRATEGIES[2])
    assert found.contrast.scores.shape == (2, 0, VOCABULARY)


def test_each_exit_is_projected_from_its_own_states() -> None:
    hidden = torch.randn(4, 3, WIDTH)
    found = score(Counting(), hidden, STRATEGIES[2])
    torch.testing.assert_close(found.contrast.scores, contrast_of(STRATEGIES[2], hidden @ WEIGHT.T).scores)


WEIGHTED = (Read((Exit(0), Exit(1)), (1.5, -0.5)), Read((Exit(1), Exit(2), Exit(3)), (0.5, 0.25, 0.25)))
UNEVEN = Read((Exit(0), Exit(2)), (1.0, -1.0))


@pytest.mark.parametrize(
    ("reads", "affine", "products"),
    {
        "sums of states, where the head is affine": (WEIGHTED, True, [2 * 3]),
        "sums of logits, where it is not": (WEIGHTED, False, [4 * 3]),
        "single exits beside sums": ((*WEIGHTED, Read.at(2)), True, [3 * 3]),
        "weights that do not add up to 1, for a bias counts once": ((UNEVEN,), True, [2 * 3]),
    }.values(),
)
def test_a_weighted_read_is_the_weighted_sum_of_the_exits_logits(
    reads: tuple[Read, ...],
    affine: bool,  # noqa: FBT001
    products: list[int],
) -> None:
    bias = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(1))
    counting = Counting()
    head = ContrastiveHead(lambda rows: counting(rows) + bias, VOCABULARY, lambda: affine)
    exits = exits_of(reads)
    hidden = torch.randn(len(exits), 3, WIDTH)
    logits = hidden @ WEIGHT.T + bias
    ((rows, tile),) = [
        (rows, {read: tile.logits(read) for read in reads}) for rows, tile in head.read(hidden, reads)
    ]
    assert rows == slice(0, 3)
    assert counting.rows == products
    for read in reads:
        expected = sum(
            w * logits[exits.index(exit)] for exit, w in zip(read.exits, read.weights, strict=True)
        )
        torch.testing.assert_close(tile[read], expected, rtol=1e-4, atol=1e-4)


def test_nothing_outlives_its_tile(budget: Callable[[int], None]) -> None:
    budget(2)
    strategy = STRATEGIES[2]
    seen = []
    for _, tile in ContrastiveHead(Counting(), VOCABULARY).read(torch.randn(4, 7, WIDTH), strategy.reads):
        if seen:
            assert seen[-1].positions == 0
            assert not seen[-1].logits(strategy.reads[0]).numel()
        strategy.contrast(tile)
        seen.append(tile)
    assert len(seen) == 4
    assert seen[-1].positions == 0


def test_each_position_has_its_own_strategy() -> None:
    counting = Counting()
    head = ContrastiveHead(counting, VOCABULARY)
    exits = exits_of(read for strategy in STRATEGIES for read in strategy.reads)
    hidden = torch.randn(len(exits), 3, 4, WIDTH)
    which = torch.tensor([[0, 1, 2, 3], [3, 3, 3, 3], [2, 0, 0, 1]])
    found = head.score(hidden, STRATEGIES, which)
    assert sum(counting.rows) == 3 * 1 + 2 * 2 + 7 * 4  # vanilla, static, and both dynamic ones together
    assert len(counting.rows) == 3
    assert found.contrast.premature is not None
    for number, strategy in enumerate(STRATEGIES):
        own = hidden[[exits.index(exit) for exit in exits_of(strategy.reads)]][:, which == number]
        alone = score(Counting(), own, strategy).contrast
        torch.testing.assert_close(found.contrast.scores[which == number], alone.scores)
        layers = found.contrast.premature[which == number]
        assert torch.equal(
            layers, torch.full_like(layers, -1) if alone.premature is None else alone.premature
        )
    assert found.contrast.details == {}  # those of several strategies are no single thing
    assert isinstance(found.contrast, Contrast)
