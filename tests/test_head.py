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


def test_the_weight_of_a_single_exit_counts_and_reads_may_stand_in_any_order() -> None:
    double, last, first = Read((Exit(2),), (2.0,)), Read.at(4), Read.at(0)
    hidden = torch.randn(3, 5, WIDTH)  # of layers 0, 2 and 4
    logits = hidden @ WEIGHT.T
    for reads, expected in (
        ((last, double, first), (logits[2], 2 * logits[1], logits[0])),
        ((last, first), (logits[2], logits[0])),
    ):
        given = hidden[[Exit(layer) in exits_of(reads) for layer in (0, 2, 4)]]
        for _, tile in ContrastiveHead(Counting(), VOCABULARY).read(given, reads):
            for read, theirs in zip(reads, expected, strict=True):
                torch.testing.assert_close(tile.logits(read), theirs)


def test_single_exits_in_their_order_are_read_without_a_copy() -> None:
    hidden = torch.randn(3, 5, WIDTH)
    projected: list[Tensor] = []

    def project(rows: Tensor) -> Tensor:
        assert rows.data_ptr() == hidden.data_ptr()
        projected.append(rows @ WEIGHT.T)
        return projected[-1]

    reads = tuple(map(Read.at, (0, 2, 4)))
    for _, tile in ContrastiveHead(project, VOCABULARY).read(hidden, reads):
        for place, read in enumerate(reads):
            assert tile.logits(read).data_ptr() == projected[-1][5 * place :].data_ptr()


def test_a_head_of_which_nothing_is_said_is_not_affine() -> None:
    hidden = torch.randn(2, 3, WIDTH)
    capped = torch.tanh(hidden @ WEIGHT.T)
    head = ContrastiveHead(lambda rows: torch.tanh(rows @ WEIGHT.T), VOCABULARY)
    for _, tile in head.read(hidden, WEIGHTED[:1]):
        torch.testing.assert_close(tile.logits(WEIGHTED[0]), 1.5 * capped[0] - 0.5 * capped[1])


def test_a_device_of_which_nothing_is_said_holds_half_a_gib_of_logits_at_most() -> None:
    vocabulary, counts = 1 << 18, []  # a MiB a position

    def project(states: Tensor) -> Tensor:
        counts.append(len(states))
        return states.new_empty(len(states), vocabulary)

    hidden = torch.empty(1, 1200, WIDTH, device="meta")  # where nothing takes any memory
    tiles = [rows for rows, _ in ContrastiveHead(project, vocabulary).read(hidden, [Read.at(0)])]
    assert counts == [512, 512, 176]
    assert tiles == [slice(0, 512), slice(512, 1024), slice(1024, 1200)]


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


def test_a_strategy_that_no_position_has_changes_nothing() -> None:
    head = ContrastiveHead(Counting(), VOCABULARY)
    exits = exits_of(read for strategy in STRATEGIES for read in strategy.reads)
    hidden = torch.randn(len(exits), 5, WIDTH)
    for number, strategy in enumerate(STRATEGIES):
        own = hidden[[exits.index(exit) for exit in exits_of(strategy.reads)]]
        alone = score(Counting(), own, strategy).contrast
        found = head.score(hidden, STRATEGIES, torch.full((5,), number)).contrast
        torch.testing.assert_close(found.scores, alone.scores)
        assert found.premature is None or torch.equal(found.premature, alone.premature)


def test_two_strategies_have_their_own_positions_and_one_has_all_with_its_details() -> None:
    static, dynamic = STRATEGIES[1:3]
    hidden = torch.randn(4, 5, WIDTH)  # of layers 0, 2, 4 and 8
    which = torch.tensor([0, 1, 1, 0, 1])
    found = ContrastiveHead(Counting(), VOCABULARY).score(hidden, [static, dynamic], which).contrast
    for number, own, strategy in ((0, hidden[[1, 3]], static), (1, hidden, dynamic)):
        alone = score(Counting(), own[:, which == number], strategy).contrast
        torch.testing.assert_close(found.scores[which == number], alone.scores)
    one = ContrastiveHead(Counting(), VOCABULARY).score(hidden, [dynamic], torch.zeros_like(which))
    assert tensors(one).keys() == tensors(score(Counting(), hidden, dynamic)).keys()


@pytest.mark.parametrize("positions", [1, 2, 5])
def test_a_state_that_is_no_number_is_blamed_on_its_exit_at_its_position(
    positions: int, budget: Callable[[int], None]
) -> None:
    budget(positions)
    static, dynamic = STRATEGIES[1:3]
    hidden = torch.randn(4, 5, WIDTH)  # of layers 0, 2, 4 and 8
    hidden[3, 1], hidden[1, 4] = torch.nan, torch.inf
    blamed = torch.zeros(4, 5, dtype=torch.bool)
    blamed[3, 1] = True
    # The dynamic one leaves a candidate out; the static one has no other.
    assert torch.equal(score(Counting(), hidden, dynamic).unusable, blamed)
    blamed[1, 4] = True
    assert torch.equal(score(Counting(), hidden[[1, 3]], static).unusable, blamed[[1, 3]])
    for which, expected in (([1, 1, 0, 0, 0], blamed), ([0, 0, 1, 1, 0], blamed)):
        head = ContrastiveHead(Counting(), VOCABULARY)
        found = head.score(hidden, [static, dynamic], torch.tensor(which))
        assert torch.equal(found.unusable, expected)
