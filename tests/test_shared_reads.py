"""What strategies share of a tile's logits: each read its own, whatever else lies beside it."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch

from contrasting import resolved
from dola import DoLa, DoLaStatic, StrategyError, Vanilla
from dola.contrast import divergences
from dola.head import ContrastiveHead, Scores
from dola.strategies import Contrast, Exit, ExitLogits, Read, ResolvedStrategy, exits_of
from dola.strategies import exit_logits as module

READS = tuple(Read.at(layer) for layer in (0, 2, 4, 6, 8))
LOGITS = torch.randn(5, 3, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "places", [(0, 1, 2, 3, 4), (1, 2, 3), (2,), (0, 2), (3, 2), (4, 0, 1), (1, 2, 4)], ids=str
)
def test_reads_are_stacked_in_the_order_asked_for(places: tuple[int, ...], dtype: torch.dtype) -> None:
    tile = ExitLogits(LOGITS.to(dtype), READS)
    found = tile.stacked([READS[place] for place in places])
    assert found.dtype == torch.float32
    assert torch.equal(found, LOGITS.to(dtype)[list(places)].float())


def test_neighbours_are_stacked_without_a_copy() -> None:
    tile = ExitLogits(LOGITS, READS)
    assert tile.stacked(READS[1:4]).data_ptr() == LOGITS[1].data_ptr()


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_of_each_position_the_chosen_read(order: tuple[int, ...]) -> None:
    tile = ExitLogits(LOGITS, READS)
    reads = [READS[place] for place in (4, 0, 3)]
    found = tile.chosen(reads, torch.tensor(order))
    assert torch.equal(found, torch.stack([tile.logits(reads[k])[row] for row, k in enumerate(order)]))


def test_what_is_known_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def counting(kind, mature, candidates):
        measured.append(len(candidates))
        return divergences(kind, mature, candidates)

    monkeypatch.setattr(module, "divergences", counting)
    tile = ExitLogits(LOGITS, READS)
    for asked, news in (([1], [1]), ([3, 0, 1], [1, 1]), ([0, 1, 2, 3], [1]), ([2, 0], [])):
        measured.clear()
        found = tile.divergences("js", READS[4], [READS[place] for place in asked])
        torch.testing.assert_close(found, divergences("js", LOGITS[4], LOGITS[asked]))
        assert measured == news
    # Of another kind, or from another layer, nothing is known.
    for kind, mature in (("released", 4), ("js", 3)):
        found = tile.divergences(kind, READS[mature], [READS[0], READS[2]])
        torch.testing.assert_close(found, divergences(kind, LOGITS[mature], LOGITS[[0, 2]]))


def test_some_positions_alone_and_nothing_after_release() -> None:
    tile = ExitLogits(LOGITS, READS)
    rows = torch.tensor([2, 0])
    assert torch.equal(tile.at(rows).logits(READS[3]), LOGITS[3, rows])
    assert tile.at(rows).reads == tile.reads == READS
    made = []
    assert [tile.once("key", lambda: made.append(1) or 5) for _ in range(2)] == [5, 5]
    assert made == [1]
    assert torch.equal(tile.log_probs(READS[1]), LOGITS[1].log_softmax(-1))
    tile.release()
    assert tile.stacked(READS[:2]).shape == (2, 0, 7)
    assert tile.log_probs(READS[1]).shape == (0, 7)
    assert tile.once("key", lambda: 6) == 6


WEIGHT = torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
SEVERAL = [resolved(each, 8) for each in (Vanilla(), DoLaStatic(2), DoLa((0, 4)), DoLa((0, 4), alpha=0.3))]
EXITS = exits_of(read for each in SEVERAL for read in each.reads)


def of_several(hidden: torch.Tensor, strategies: list[ResolvedStrategy], which: list[int]) -> Scores:
    return ContrastiveHead(lambda rows: rows @ WEIGHT.T, 7).score(hidden, strategies, torch.tensor(which))


@pytest.mark.parametrize("which", [[3, 3, 2], [1, 1, 1], [0, 3, 0], [2, 1, 3]], ids=str)
def test_a_strategy_that_no_position_has_takes_no_other_ones_place(which: list[int]) -> None:
    hidden = torch.randn(len(EXITS), 3, 6)
    found = of_several(hidden, SEVERAL, which).contrast
    for at, number in enumerate(which):
        places = [EXITS.index(exit) for exit in exits_of(SEVERAL[number].reads)]
        alone = of_several(hidden[places, at : at + 1], [SEVERAL[number]], [0]).contrast
        torch.testing.assert_close(found.scores[at], alone.scores[0])
        assert int(found.premature[at]) == (-1 if alone.premature is None else int(alone.premature))


def test_a_state_that_is_no_number_is_blamed_on_its_exit_where_it_is_read() -> None:
    hidden = torch.randn(len(EXITS), 4, 6)
    last, second = EXITS.index(Exit(8)), EXITS.index(Exit(2))
    hidden[last, 3] = math.nan
    hidden[second, :] = math.inf  # read by the static strategy alone
    found = of_several(hidden, SEVERAL, [0, 1, 2, 3])
    expected = torch.zeros(len(EXITS), 4, dtype=torch.bool)
    expected[second, 1] = expected[last, 3] = True
    assert torch.equal(found.unusable, expected)
    assert torch.equal(found.finite, hidden.isfinite().all(-1))


def test_a_strategy_that_makes_nan_of_sound_logits_is_named_among_several() -> None:
    broken = ResolvedStrategy(
        strategy=DoLaStatic(2, alpha=0.7),
        reads=SEVERAL[1].reads,
        contrast=lambda tile: Contrast(tile.logits(Read.at(8)) * math.nan),
        normalised=True,
    )
    with pytest.raises(StrategyError, match=r"2,-1:alpha=0\.7 makes scores of NaN"):
        of_several(torch.randn(len(EXITS), 2, 6), [*SEVERAL, broken], [0, 4])


def test_a_head_of_which_nothing_is_known_is_not_taken_for_affine() -> None:
    """The square of a sum is no sum of squares."""
    read = Read((Exit(0), Exit(1)), (1.5, -0.5))
    hidden = torch.randn(2, 3, 6)
    ((_, tile),) = [
        (rows, tile.logits(read))
        for rows, tile in ContrastiveHead(lambda rows: rows**2, 6).read(hidden, [read])
    ]
    torch.testing.assert_close(tile, 1.5 * hidden[0] ** 2 - 0.5 * hidden[1] ** 2)
