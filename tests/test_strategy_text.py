"""The text form: one grammar for every strategy, and what it prints is read back as the same strategy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contrasting import resolved
from dola import SLED, DeLTa, DoLa, DoLaStatic, Strategy, StrategyError, Vanilla, parse_strategy
from dola.runs.asked_strategies import ContrastSettings
from dola.strategies import Depths, ResolvedStrategy, parse_named, registry, strategy_label

LAYERS = st.integers(0, 200)
MATURE = st.none() | st.integers(-1, 200).filter(bool)
FILTER_VALUE = st.none() | st.just(-math.inf) | st.floats(max_value=-1e-300, allow_nan=False)
SHARE = st.floats(0, 1)
CANDIDATES = st.sampled_from(["low", "high", "auto", "all"]) | st.lists(LAYERS, min_size=1).map(tuple)
CONTRASTED: dict[str, Any] = {
    "mature_layer": MATURE,
    "alpha": SHARE,
    "early_exit_norm": st.none() | st.booleans(),
    "post_softmax": st.booleans(),
    "filter_value": FILTER_VALUE,
}

OURS = {
    Vanilla: st.builds(Vanilla, mature_layer=MATURE),
    DoLaStatic: st.builds(DoLaStatic, premature_layer=LAYERS, **CONTRASTED),
    DoLa: st.builds(
        DoLa,
        candidate_premature_layers=CANDIDATES,
        divergence=st.sampled_from(["released", "js"]),
        **CONTRASTED,
    ),
    SLED: st.builds(
        SLED,
        candidate_premature_layers=CANDIDATES,
        mature_layer=MATURE,
        rate=st.floats(0, 1e9),
        scale=st.integers(1, 10**6),
        steps=st.integers(1, 99),
        early_exit_norm=st.booleans(),
        post_softmax=st.booleans(),
        filter_value=FILTER_VALUE,
    ),
    DeLTa: st.builds(
        DeLTa,
        M=LAYERS,
        L=st.floats(-1e6, 1e6),
        alpha=SHARE,
        filter_value=FILTER_VALUE,
    ),
}


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_a_strategy_of_ours_prints_is_read_back(kind: type[Strategy], data: st.DataObject) -> None:
    strategy = data.draw(OURS[kind])
    read = parse_strategy(str(strategy))
    assert read == strategy
    assert type(read) is kind
    assert str(read) == str(strategy)


@dataclass(frozen=True)
class Everything(Strategy):
    """A third party's, with settings of every kind."""

    needed: str
    count: int = 3
    share: float = 0.5
    switch: bool = True
    word: str = "plain"
    maybe: str | None = None
    perhaps: bool | None = None
    numbers: tuple[int, ...] = ()
    shares: tuple[float, ...] = (0.5, 1.5)
    words: tuple[str, ...] = ("a",)
    kinds: tuple[Literal["x", "y"], ...] = ()
    choice: Literal["one", "two", 3] = "one"
    some: tuple[int, ...] | None = None
    either: int | str = 0
    any_of: int | float | str | None = "auto"
    many: list[str] = field(default_factory=list, init=False, compare=False)

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        raise NotImplementedError


@dataclass(frozen=True)
class Louder(Vanilla):
    """A third party's, that takes the layers of ours."""

    gain: float = 2.0
    note: str = ""


AWKWARD = [
    *("", "none", "None", "true", "False", "12", "-1", "1.5", "1e5", "inf", "nan", " ", " a b ", "%", "%2C"),
    *(
        ",",
        ":",
        "=",
        "/",
        "a/b",
        "a/",
        "/",
        "k=v,w:x/y%z",
        "high",
        "12,30",
        "é",
        "\n",
        "\t",
        "\0",
        "١٢",
        "1_0",
    ),
    *("\u2003", "\x85", "\u00a0x", "x\u2028"),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(AWKWARD)
WHOLE = st.integers(-(10**20), 10**20)
FLOAT = st.floats(allow_nan=False)


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint(name, f"{__name__}:{attribute}", registry.ENTRY_POINT_GROUP)
        for name, attribute in {"everything": "Everything", "louder": "Louder"}.items()
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group: [point for point in points if point.group == group]
    )


# The entry points stay as they are from case to case.
CASES = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.usefixtures("third_party")
@CASES
@given(
    st.builds(
        Everything,
        needed=TEXT,
        count=WHOLE,
        share=FLOAT,
        switch=st.booleans(),
        word=TEXT,
        maybe=st.none() | TEXT,
        perhaps=st.none() | st.booleans(),
        numbers=st.lists(WHOLE, max_size=3).map(tuple),
        shares=st.lists(FLOAT, max_size=3).map(tuple),
        words=st.lists(TEXT, max_size=3).map(tuple),
        kinds=st.lists(st.sampled_from(["x", "y"]), max_size=3).map(tuple),
        choice=st.sampled_from(["one", "two", 3]),
        some=st.none() | st.lists(WHOLE, max_size=3).map(tuple),
        either=WHOLE | TEXT,
        any_of=st.none() | WHOLE | FLOAT | TEXT,
    )
)
def test_what_another_strategy_prints_is_read_back(strategy: Everything) -> None:
    read = parse_strategy(str(strategy))
    assert read == strategy
    for name in ("either", "any_of", "choice"):  # 1 == 1.0 == True
        assert type(getattr(read, name)) is type(getattr(strategy, name))


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize("text", AWKWARD, ids=repr)
def test_any_word_at_all_can_be_a_setting(text: str) -> None:
    for settings_ in (
        {"needed": text},
        {"needed": "x", "maybe": text},
        {"needed": "x", "words": (text,)},
        {"needed": "x", "words": (text, "", text)},
        {"needed": "x", "either": text},
        {"needed": "x", "any_of": text},
    ):
        strategy = Everything(**settings_)
        assert parse_strategy(str(strategy)) == strategy
        assert "\n" not in str(strategy)


@pytest.mark.usefixtures("third_party")
@CASES
@given(st.builds(Louder, mature_layer=MATURE, gain=FLOAT, note=TEXT))
@example(Louder())
@example(Louder(gain=3.0))
def test_a_subclass_of_ours_is_read_back_as_itself(strategy: Louder) -> None:
    read = parse_strategy(str(strategy))
    assert read == strategy
    assert type(read) is Louder


@pytest.mark.usefixtures("third_party")
def test_what_is_said_is_told_apart_from_what_is_left_unsaid() -> None:
    assert parse_named("everything:needed=x,count=3") == (Everything("x"), {"needed", "count"})
    assert parse_named("high:alpha=0.1") == (DoLa("high"), {"alpha"})
    assert parse_named("0,2,4,30") == (DoLa((0, 2, 4), mature_layer=30), frozenset())


@pytest.mark.parametrize(
    ("strategy", "text"),
    {
        Vanilla(): "-1",
        DoLaStatic(14): "14,-1",
        DoLaStatic(14, mature_layer=30, early_exit_norm=True): "14,30:early_exit_norm=true",
        DoLa("high"): "high",
        DoLa("high", early_exit_norm=False): "high:early_exit_norm=false",
        DoLa("all", filter_value=-math.inf): "all:filter_value=-inf",
        DoLa((0, 2), post_softmax=True): "0,2,-1:post_softmax=true",
        DoLa((14,)): "dola:14,-1",
        SLED("low", rate=1.5): "sled:low:rate=1.5",
    }.items(),
    ids=str,
)
def test_the_text_is_the_shortest_that_says_it(strategy: Strategy, text: str) -> None:
    assert str(strategy) == text
    assert parse_strategy(text) == strategy


@pytest.mark.parametrize("name", ["static", "dola", "sled"])
def test_the_layers_may_come_after_the_name(name: str) -> None:
    layers = {"static": "2,30", "dola": "0,2,4,30", "sled": "0,2,4,30"}[name]
    assert parse_strategy(f"{name}:{layers}") == parse_strategy(f" {name} : {layers} ")
    if name != "sled":
        assert parse_strategy(f"{name}:{layers}") == parse_strategy(layers)


@pytest.mark.parametrize("layers", ["dola:0,2,4,30", "0,2,4,30", "high", "dola:high", "static:2,30", "2,30"])
@pytest.mark.parametrize("task", ["tfqa-mc", "factor", "gsm8k"])
def test_a_setting_in_the_text_is_computed_whatever_the_preset_and_the_flags_say(
    layers: str, task: str
) -> None:
    for flag in (None, 0.9):
        options = ContrastSettings("released", flag, None, None, None, None)
        ((label, said), (_, unsaid)) = options.strategies([f"{layers}:alpha=0.5", layers], task)
        assert isinstance(said, DoLa | DoLaStatic)
        assert isinstance(unsaid, DoLa | DoLaStatic)
        assert said.alpha == 0.5
        assert unsaid.alpha == (flag or {"tfqa-mc": 0.0}.get(task, 0.1))
        assert resolved(said, 30).strategy.alpha == 0.5
        assert "alpha=0.5" in label
        assert said.early_exit_norm is False  # as the released preset has it


@given(
    *[st.sampled_from(list(OURS)).flatmap(OURS.__getitem__)] * 2, st.sampled_from(["tfqa-mc", "factor", "x"])
)
@example(DoLa("high"), DoLa("high", early_exit_norm=False), "tfqa-mc")
@example(DoLa("high"), DoLa("high", early_exit_norm=False, alpha=0.0, filter_value=-1000.0), "tfqa-mc")
def test_two_strategies_never_have_one_label(one: Strategy, other: Strategy, task: str) -> None:
    if type(one) is type(other) is Vanilla:  # which has one algorithm
        return
    assert (strategy_label(one, task) == strategy_label(other, task)) == (one == other)


@pytest.mark.parametrize(
    ("text", "named"),
    {
        "everything": "needs a setting 'needed'",
        "everything:needed=x,count=1.5": "'count' must be a whole number, found '1.5'",
        "everything:needed=x,switch=1": "'switch' must be true or false",
        "everything:needed=x,choice=four": "'choice' must be one, two or 3",
        "everything:needed=x,kinds=x/z/": "'kinds' must be values, each followed by /",
        "everything:needed=x,maybe=no:ne": "a : in a value is %3A",
        "everything:needed=x,other=2": "no setting 'other'; it has: .*needed",
        "everything:needed=x,many=2": "no setting 'many'",
        "everything:high:needed=x": "takes no layers, found 'high'",
        "everything:needed=x,count=1,count=2": "'count' is given twice",
        "everything:needed": "expected key=value|takes no layers",
        "everything:needed=x,share=nan": "'share' must be a number",
    }.items(),
)
@pytest.mark.usefixtures("third_party")
def test_what_cannot_be_read_is_told_in_one_line(text: str, named: str) -> None:
    with pytest.raises(StrategyError, match=named) as caught:
        parse_strategy(text)
    assert "\n" not in str(caught.value)
