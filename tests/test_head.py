"""The head: one product for all exits, in chunks whose size never shows in the result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dola import DoLa, DoLaStatic, Strategy, Vanilla
from dola import head as head_module
from dola.head import ContrastiveHead
from dola.strategies import Depth

WIDTH, VOCABULARY = 16, 60
WEIGHT = torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(0))

STRATEGIES = [
    strategy.resolve(Depth(8, tied_embeddings=False))
    for strategy in (Vanilla(), DoLaStatic(2), DoLa((0, 2, 4)), DoLa((0, 2, 4), divergence="js"))
]


class Counting:
    """A projection that remembers how many rows it was given at a time."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.rows.append(rows.shape[0])
        return rows @ WEIGHT.T


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
    strategy: Strategy, positions: int, budget: Callable[[int], None]
) -> None:
    hidden = torch.randn(len(strategy.exits), 5, 7, WIDTH)
    whole = ContrastiveHead(Counting(), VOCABULARY)(hidden, strategy)
    budget(positions)
    counting = Counting()
    parts = ContrastiveHead(counting, VOCABULARY)(hidden, strategy)
    if positions < 5:
        assert len(counting.rows) > 1
    for one, other in zip(whole, parts, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("length", [10, 100, 1000])
def test_the_logits_held_at_once_do_not_grow_with_the_text(
    length: int, budget: Callable[[int], None]
) -> None:
    budget(6)
    counting = Counting()
    ContrastiveHead(counting, VOCABULARY)(torch.randn(4, length, WIDTH), STRATEGIES[2])
    assert max(counting.rows) == 6 * 4
    assert sum(counting.rows) == length * 4


def test_with_a_huge_vocabulary_a_product_still_has_rows_enough(
    budget: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(1)
    monkeypatch.setattr(head_module, "_FEWEST_ROWS", 10)
    counting = Counting()
    ContrastiveHead(counting, VOCABULARY)(torch.randn(4, 7, WIDTH), STRATEGIES[2])
    assert counting.rows == [12, 12, 4]


def test_all_exits_go_through_one_product() -> None:
    counting = Counting()
    ContrastiveHead(counting, VOCABULARY)(torch.randn(4, 3, WIDTH), STRATEGIES[2])
    assert counting.rows == [12]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize("positions", [(), (1,), (3,), (2, 3)], ids=str)
def test_results_have_the_shape_of_the_positions(strategy: Strategy, positions: tuple[int, ...]) -> None:
    hidden = torch.randn(len(strategy.exits), *positions, WIDTH)
    found = ContrastiveHead(Counting(), VOCABULARY)(hidden, strategy)
    assert found.scores.shape == (*positions, VOCABULARY)
    assert found.premature is None or found.premature.shape == positions
    assert found.divergence is None or found.divergence.shape == (len(strategy.candidates), *positions)


def test_no_positions_give_no_scores() -> None:
    found = ContrastiveHead(Counting(), VOCABULARY)(torch.randn(4, 2, 0, WIDTH), STRATEGIES[2])
    assert found.scores.shape == (2, 0, VOCABULARY)


def test_each_exit_is_projected_from_its_own_states() -> None:
    hidden = torch.randn(4, 3, WIDTH)
    found = ContrastiveHead(Counting(), VOCABULARY)(hidden, STRATEGIES[2])
    torch.testing.assert_close(found.scores, STRATEGIES[2].contrast(hidden @ WEIGHT.T).scores)
