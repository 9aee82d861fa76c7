"""From text to a strategy and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola import DoLa, DoLaStatic, LayerError, Strategy, StrategyError, Vanilla, parse_strategy
from dola.strategies import registry

LAYERS = st.integers(0, 200)
SETTINGS = {
    "alpha": st.floats(0, 1),
    "early_exit_norm": st.none() | st.booleans(),
    "post_softmax": st.booleans(),
    "filter_value": st.floats(max_value=-1e-3, allow_nan=False),
}
MATURE = st.none() | st.integers(-1, 200).filter(bool)


def any_strategy() -> st.SearchStrategy[Strategy]:
    static = st.builds(DoLaStatic, premature_layer=LAYERS, mature_layer=MATURE, **SETTINGS)
    named = st.sampled_from(["low", "high", "auto"])
    candidates = named | st.lists(LAYERS, min_size=1, max_size=9).map(tuple)
    divergences = st.sampled_from(["released", "js"])
    dynamic = st.builds(
        DoLa, candidate_premature_layers=candidates, mature_layer=MATURE, divergence=divergences, **SETTINGS
    )
    return st.builds(Vanilla, mature_layer=MATURE) | static | dynamic


@given(any_strategy())
def test_parsing_what_a_strategy_prints_gives_it_back(strategy: Strategy) -> None:
    assert parse_strategy(str(strategy)) == strategy


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "-1": Vanilla(),
        "32": Vanilla(mature_layer=32),
        "vanilla": Vanilla(),
        "16,32": DoLaStatic(16, mature_layer=32),
        "16,-1": DoLaStatic(16),
        "0,2,4,6,8,10,12,14,30": DoLa((0, 2, 4, 6, 8, 10, 12, 14), mature_layer=30),
        " 0, 2, 4, 30 ": DoLa((0, 2, 4), mature_layer=30),
        "dola:4,30:divergence=js": DoLa((4,), mature_layer=30, divergence="js"),
        "low": DoLa("low"),
        "high,24": DoLa("high", mature_layer=24),
        "auto:alpha=0.2, divergence=js": DoLa("auto", alpha=0.2, divergence="js"),
        "low:filter_value=-1000,post_softmax=True": DoLa("low", filter_value=-1000.0, post_softmax=True),
        "14,30:early_exit_norm=true": DoLaStatic(14, mature_layer=30, early_exit_norm=True),
    }.items(),
)
def test_the_documented_forms(text: str, expected: Strategy) -> None:
    assert parse_strategy(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "1,,2",
        "1,x,3",
        "1;2",
        "low,",
        "low,x",
        "-",
        "1.5,30",
        "dola:",
        "dola:x",
        ":",
        ":0,2",
        ":alpha=1",
    ],
)
def test_what_is_no_list_of_layers_is_refused_with_an_example(text: str) -> None:
    with pytest.raises((LayerError, StrategyError), match=r"expected|known|needs layers"):
        parse_strategy(text)


@pytest.mark.parametrize(
    ("text", "named"),
    {
        "low:alpha": "expected key=value",
        "low:alpha=": "must be a number",
        "low:alpha=much": "'alpha' must be a number, found 'much'",
        "low:alpha=2": r"alpha must be in \[0, 1\]",
        "low:alhpa=0.1": "no setting 'alhpa'; it has: .*alpha",
        "low:alpha=0.1,alpha=0.2": "given twice",
        "low:post_softmax=1": "must be true or false",
        "low:divergence=kl": "must be released or js",
        "-1:alpha=0.1": "Vanilla has no setting 'alpha'",
        "14,30:divergence=js": "DoLaStatic has no setting 'divergence'",
    }.items(),
)
def test_a_bad_setting_is_named(text: str, named: str) -> None:
    with pytest.raises(StrategyError, match=named):
        parse_strategy(text)


@pytest.mark.parametrize(("text", "nearest"), [("vanila", "vanilla"), ("hihg", "high"), ("outo", "auto")])
def test_an_unknown_name_is_answered_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(StrategyError, match=f"unknown strategy {text!r}.*Did you mean {nearest!r}"):
        parse_strategy(text)


@dataclass(frozen=True)
class Mine(Vanilla):
    """What a third party might register."""

    strength: float = 1.0
    steps: int = 3
    label: str = "plain"


@dataclass(frozen=True)
class Needy(Mine):
    layer: int = field(kw_only=True)


NOT_A_STRATEGY = "just text"


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint(name, f"{__name__}:{attribute}", registry.ENTRY_POINT_GROUP)
        for name, attribute in {"mine": "Mine", "needy": "Needy", "wrong": "NOT_A_STRATEGY"}.items()
    ]

    def fake(*, group: str) -> list[Any]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(registry, "entry_points", fake)


@pytest.mark.usefixtures("third_party")
def test_a_third_party_registers_a_strategy_through_an_entry_point() -> None:
    assert parse_strategy("mine") == Mine()
    assert parse_strategy("mine:strength=0.5,steps=7,label=odd") == Mine(strength=0.5, steps=7, label="odd")
    with pytest.raises(StrategyError, match="must be a whole number"):
        parse_strategy("mine:steps=1.5")
    with pytest.raises(StrategyError, match="Did you mean 'mine'"):
        parse_strategy("mime")


@pytest.mark.usefixtures("third_party")
def test_an_entry_point_that_is_no_strategy_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"'wrong'.*not a dola Strategy"):
        parse_strategy("wrong")


@pytest.mark.usefixtures("third_party")
def test_a_setting_that_a_strategy_cannot_do_without_is_asked_for() -> None:
    assert parse_strategy("needy:layer=3") == Needy(layer=3)
    with pytest.raises(StrategyError, match="needs a setting 'layer'"):
        parse_strategy("needy:steps=2")


def test_a_bucket_takes_one_mature_layer() -> None:
    assert parse_strategy("low,9") == DoLa("low", mature_layer=9)
    with pytest.raises(LayerError, match="one mature layer"):
        parse_strategy("low,9,12")


def test_one_number_is_no_list_of_candidates() -> None:
    with pytest.raises(LayerError, match=r"as in \(5,\)"):
        DoLa(5)


@pytest.mark.parametrize("layers", [3, (0.0, 1.0), (True, 2), None])
def test_candidates_that_are_no_layer_numbers_are_refused(layers: object) -> None:
    with pytest.raises(LayerError, match="tuple of layer numbers"):
        DoLa(layers)


def test_a_lone_layer_after_dola_is_refused_for_it_would_be_vanilla() -> None:
    with pytest.raises(LayerError, match="before the mature one"):
        parse_strategy("dola:-1")
