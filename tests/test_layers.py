"""Which layers a name stands for, and what is refused."""

from __future__ import annotations

import pytest

from contrasting import resolved
from dola import DoLa, DoLaStatic, LayerError, Vanilla
from dola.strategies import Depth, Strategy
from dola.strategies.layers import bucket

# By hand, from the rule of the design: (layers, tied) -> low, high.
BY_HAND = {
    (2, False): ((0,), (1,)),
    (3, False): ((0,), (1,)),
    (4, False): ((0,), (2,)),
    (4, True): (None, (2,)),
    (6, True): ((2,), (3, 5)),
    (7, False): ((0, 2), (3, 5)),
    (12, False): ((0, 2, 4), (6, 8, 10)),
    (18, True): ((2, 4, 6, 8), (9, 11, 13, 15, 17)),
    (30, True): ((2, 4, 6, 8, 10, 12, 14), (15, 17, 19, 21, 23, 25, 27, 29)),
    (32, False): ((0, 2, 4, 6, 8, 10, 12, 14), (16, 18, 20, 22, 24, 26, 28, 30)),
    (40, False): (tuple(range(0, 20, 2)), tuple(range(20, 40, 2))),
    (40, True): (tuple(range(2, 20, 2)), tuple(range(20, 40, 2))),
    (41, False): (tuple(range(0, 20, 2)), tuple(range(21, 41, 2))),
    (60, True): (tuple(range(2, 20, 2)), tuple(range(40, 60, 2))),
    (80, False): (tuple(range(0, 20, 2)), tuple(range(60, 80, 2))),
    # Models so shallow that the rule leaves a bucket empty.
    (1, False): (None, (0,)),
    (1, True): (None, (0,)),
    (2, True): (None, (1,)),
    (3, True): (None, (1,)),
}


@pytest.mark.parametrize(("model", "expected"), BY_HAND.items(), ids=str)
def test_low_and_high_are_those_of_the_former_built_in(
    model: tuple[int, bool], expected: tuple[tuple[int, ...] | None, ...]
) -> None:
    for name, layers in zip(("low", "high"), expected, strict=True):
        if layers is None:
            with pytest.raises(LayerError, match=f"{name!r} is empty in this model of {model[0]} layers"):
                bucket(name, Depth(*model))
        else:
            assert bucket(name, Depth(*model)) == layers


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layers", range(8, 90))
def test_auto_is_low_and_high_together(*, layers: int, tied: bool) -> None:
    depth = Depth(layers, tied)
    assert bucket("auto", depth) == tuple(sorted({*bucket("low", depth), *bucket("high", depth)}))


def test_an_unknown_bucket_names_those_that_exist() -> None:
    with pytest.raises(LayerError, match="low, high, auto"):
        bucket("lwo", Depth(12, False))


REFUSED = {
    "a layer beyond the last": DoLa((0, 13)),
    "a negative candidate": DoLa((-2, 4)),
    "a repeated layer": DoLa((0, 2, 2)),
    "layers out of order": DoLa((4, 2)),
    "the mature layer among the candidates": DoLa((0, 8), mature_layer=8),
    "the last layer among the candidates": DoLa((0, 12)),
    "a candidate above the mature layer": DoLa((0, 10), mature_layer=8),
    "a mature layer beyond the last": DoLa((0, 2), mature_layer=13),
    "a mature layer of 0": DoLaStatic(0, mature_layer=0),
    "a static layer beyond the last": DoLaStatic(13),
    "no candidate at all": DoLa(()),
    "a single layer that is not the last": Vanilla(mature_layer=7),
    "a bucket above the mature layer": DoLa("high", mature_layer=3),
}


@pytest.mark.parametrize("strategy", REFUSED.values(), ids=REFUSED)
def test_impossible_layers_are_refused_with_the_models_layer_count(strategy: Strategy) -> None:
    with pytest.raises(LayerError, match=r"\b12\b"):
        resolved(strategy, 12)


@pytest.mark.parametrize("last", [None, -1, 12])
def test_the_last_layer_has_three_names(last: int | None) -> None:
    assert resolved(Vanilla(mature_layer=last), 12).strategy == Vanilla(mature_layer=12)
    assert resolved(DoLaStatic(4, mature_layer=last), 12).strategy == DoLaStatic(4, mature_layer=12)
    assert resolved(DoLa((0, 4), mature_layer=last), 12).strategy == DoLa((0, 4), mature_layer=12)


def test_below_an_earlier_mature_layer_a_bucket_keeps_what_lies_below_it() -> None:
    assert resolved(DoLa("high", mature_layer=9), 12).candidates == (6, 8)


def normed(strategy: Strategy, num_layers: int) -> list[bool]:
    """Whether the norm is applied, exit by early exit; and the resolved strategy says the same."""
    found = resolved(strategy, num_layers)
    asked = [read.exits[0].norm for read in found.reads[:-1]]
    assert {found.strategy.early_exit_norm} == set(asked)
    return asked


def test_a_bucket_by_name_is_normed_and_layers_by_number_are_as_released() -> None:
    assert all(normed(DoLa("high"), 12))
    assert not any(normed(DoLa("high", early_exit_norm=False), 12))
    assert not any(normed(DoLa((6, 8, 10)), 12))
    assert all(normed(DoLa((6, 8, 10), early_exit_norm=True), 12))
    assert not any(normed(DoLaStatic(6), 12))
