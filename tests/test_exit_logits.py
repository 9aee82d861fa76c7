"""The logits of a tile: what is derived from them is made once, for whoever asks, and goes with the tile."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from contrasting import resolved
from dola import DoLa
from dola.contrast import divergences
from dola.strategies import ExitLogits, Read, all_reads, exit_logits, exits_of

READS = tuple(map(Read.at, (0, 2, 4, 6, 8)))
LAST = READS[-1]
KINDS = pytest.mark.parametrize("kind", ["released", "js"])


def tile_of(positions: int = 3, dtype: torch.dtype = torch.float32) -> tuple[ExitLogits, Tensor]:
    logits = torch.randn(len(READS), positions, 20, generator=torch.Generator().manual_seed(0)).to(dtype) * 4
    return ExitLogits(logits, READS), logits


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many candidates were measured at a time."""
    counts: list[int] = []

    def counting(kind: Any, mature: Tensor, candidates: Tensor) -> Tensor:
        counts.append(len(candidates))
        return divergences(kind, mature, candidates)

    monkeypatch.setattr(exit_logits, "divergences", counting)
    return counts


@KINDS
def test_divergences_asked_for_twice_are_measured_once(kind: Any, measured: list[int]) -> None:
    tile, logits = tile_of()
    first = tile.divergences(kind, LAST, READS[:3])
    assert torch.equal(tile.divergences(kind, LAST, READS[:3]), first)
    assert measured == [3]
    torch.testing.assert_close(first, divergences(kind, logits[4], logits[:3]))


@KINDS
def test_candidates_that_two_strategies_share_are_measured_once(kind: Any, measured: list[int]) -> None:
    tile, logits = tile_of()
    tile.divergences(kind, LAST, READS[1:3])
    found = tile.divergences(kind, LAST, READS[:4])
    assert measured == [2, 1, 1]  # one run of neighbours a call, and no candidate twice
    torch.testing.assert_close(found, divergences(kind, logits[4], logits[:4]))
    in_another_order = tile.divergences(kind, LAST, (READS[3], READS[0]))
    assert torch.equal(in_another_order, found[[3, 0]])
    assert sum(measured) == 4


def test_another_kind_or_another_mature_layer_is_measured_for_itself(measured: list[int]) -> None:
    tile, logits = tile_of()
    for kind, mature in (("released", 4), ("js", 4), ("released", 3)):
        found = tile.divergences(kind, READS[mature], READS[:2])
        torch.testing.assert_close(found, divergences(kind, logits[mature], logits[:2]))
    assert measured == [2, 2, 2]


def test_strategies_that_differ_in_what_comes_after_share_the_choice(measured: list[int]) -> None:
    tile, _ = tile_of()
    for settings in ({}, {"alpha": 0.5}, {"post_softmax": True}, {"filter_value": -1000.0}):
        resolved(DoLa((0, 2, 4), **settings), 8).contrast(tile)
    resolved(DoLa((0, 2, 6)), 8).contrast(tile)
    assert measured == [3, 1]


def test_whatever_is_derived_is_made_once_and_is_gone_with_the_tile() -> None:
    tile, _ = tile_of()
    made: list[Tensor] = []

    def make() -> Tensor:
        made.append(torch.ones(5))
        return made[-1]

    assert tile.once("ones", make) is tile.once("ones", make)
    assert len(made) == 1
    log_probs = tile.log_probs(LAST)
    assert tile.log_probs(LAST) is log_probs
    tile.divergences("released", LAST, READS[:4])
    assert torch.equal(
        tile.chosen(READS[:2], torch.tensor([0, 1, 0])), tile.stacked(READS[:2])[[0, 1, 0], range(3)]
    )
    left = [weakref.ref(made.pop()), weakref.ref(log_probs)]
    del log_probs
    tile.release()
    gc.collect()
    assert [each() for each in left] == [None, None]
    assert tile.positions == 0
    assert tile.logits(LAST).shape == (0, 20)


def test_neighbours_are_views_and_others_are_copied() -> None:
    tile, logits = tile_of()
    together = tile.stacked(READS[1:4])
    assert together.data_ptr() == logits[1].data_ptr()
    assert torch.equal(together, logits[1:4])
    assert tile.logits(READS[2]).data_ptr() == logits[2].data_ptr()
    apart = tile.stacked((READS[0], READS[2]))
    assert apart.data_ptr() != logits[0].data_ptr()
    assert torch.equal(apart, logits[[0, 2]])
    assert torch.equal(tile.stacked((READS[2], READS[0])), logits[[2, 0]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_whatever_the_head_made_what_is_asked_for_is_float32(dtype: torch.dtype) -> None:
    tile, logits = tile_of(dtype=dtype)
    asked: list[Callable[[], Tensor]] = [
        lambda: tile.logits(LAST),
        lambda: tile.log_probs(LAST),
        lambda: tile.stacked(READS[:2]),
        lambda: tile.stacked((READS[0], READS[3])),
        lambda: tile.chosen(READS[:2], torch.tensor([0, 1, 1])),
        lambda: tile.divergences("released", LAST, READS[:2]),
    ]
    assert {each().dtype for each in asked} == {torch.float32}
    assert torch.equal(tile.logits(LAST), logits[-1].float())


class Made(TorchFunctionMode):
    """Where all that is made comes to lie, and how large each of it is."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: set[str] = set()
        self.sizes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.devices.add(made.device.type)
            self.sizes.append(made.numel())
        return made


def test_what_is_derived_is_made_on_the_device_of_the_logits() -> None:
    tile = ExitLogits(torch.empty(len(READS), 3, 20, device="meta"), READS)
    index = torch.empty(3, dtype=torch.long, device="meta")
    with Made() as made:
        assert tile.chosen(READS[:2], index).shape == (3, 20)
        assert tile.stacked((READS[0], READS[3])).shape == (2, 3, 20)
        assert tile.divergences("released", LAST, READS[:2]).shape == (2, 3)
        assert tile.at(index).log_probs(LAST).shape == (3, 20)
    assert made.devices == {"meta"}


def test_of_the_logits_among_which_is_chosen_only_the_chosen_ones_are_copied() -> None:
    tile, _ = tile_of()
    with Made() as made:
        chosen = tile.chosen(READS[:2], torch.tensor([0, 1, 0]))
    assert max(made.sizes) == chosen.numel() == 3 * 20


def test_some_of_the_positions_are_a_tile_of_their_own() -> None:
    tile, logits = tile_of(positions=5)
    some = tile.at(torch.tensor([4, 1]))
    assert some.positions == 2
    assert some.reads == READS
    assert torch.equal(some.logits(LAST), logits[-1, [4, 1]])
    whole = tile.divergences("js", LAST, READS[:3])
    torch.testing.assert_close(some.divergences("js", LAST, READS[:3]), whole[:, [4, 1]])


def test_what_is_read_in_one_pass_is_read_once_and_lies_side_by_side() -> None:
    bare, normed = tuple(map(Read.at, (0, 2, 4))), tuple(Read.at(layer, norm=True) for layer in (0, 2, 4))
    one, other = (*normed, LAST), (*bare, LAST)
    reads = all_reads([one, other, one])
    assert reads == (*bare, LAST, *normed)
    assert exits_of(reads) == tuple(read.exits[0] for read in reads)
    line = Read(exits_of(other), (0.25,) * 4)
    assert all_reads([[line], other])[-1] == line
