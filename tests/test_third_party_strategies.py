"""A strategy of somebody else's, written from CONTRIBUTING, is right in every host; one for another contract
is told in one line."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dola
from dola import Contrast, DoLa, ExitLogits, LanguageModel, Read, ResolvedStrategy, StrategyError, Vanilla
from dola.strategies import OWN, Depths, registry, resolve_strategy
from tiny_language_model import tiny_language_model

LAYERS = 4
TEXT = "The sun rises"


def example_of_contributing() -> Any:
    """The strategy of the example package, not installed."""
    file = Path(__file__).parent.parent / "examples" / "dola-mean" / "dola_mean.py"
    spec = importlib.util.spec_from_file_location("dola_mean", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dola_mean"] = module
    spec.loader.exec_module(module)
    return module.Mean


Mean = example_of_contributing()


@dataclass(frozen=True)
class MeanOfLogProbs(dola.Strategy):
    """Its scores are summed as they are, and it says which layer and how much."""

    layer: int
    share: float = 0.5

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        early, last = Read.at(self.layer, norm=True), depths[OWN].last

        def contrast(tile: ExitLogits) -> Contrast:
            scores = torch.lerp(tile.log_probs(last), tile.log_probs(early), self.share)
            layers = torch.full((tile.positions,), self.layer)
            return Contrast(scores, layers, {"entropy": -(scores.exp() * scores).sum(-1)})

        return ResolvedStrategy(self, (early, last), contrast, normalised=True, candidates=(self.layer,))


@dataclass(frozen=True)
class Sharper(Vanilla):
    """A subclass of Vanilla that scores by itself."""

    power: float = 3.0

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        last = depths[OWN].last
        return ResolvedStrategy(
            self, (last,), lambda tile: Contrast(self.power * tile.logits(last)), normalised=False
        )


@dataclass(frozen=True)
class Renamed(Vanilla):
    """A subclass of Vanilla that scores as it does."""

    note: str = ""


@dataclass(frozen=True)
class Reversed(DoLa):
    """A subclass of DoLa whose contrast is another."""

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        inner = super().resolve(depths)

        def contrast(tile: ExitLogits) -> Contrast:
            found = inner.contrast(tile)
            return replace(found, scores=-found.scores)

        return replace(inner, contrast=contrast)


@dataclass(frozen=True)
class Halved(DoLa):
    """A subclass of DoLa that changes what every one of them does after the choice."""

    def _score(self, mature: Tensor, difference: Tensor) -> Tensor:
        return super()._score(mature, difference / 2)


# What the scores are, from the logits of all layers `[N + 1, T, V]` bare and `[N, T, V]` normed, in float64.
def mean(bare: Tensor, normed: Tensor) -> Tensor:
    return (bare[-1] + normed[1]) / 2


def mean_of_log_probs(bare: Tensor, normed: Tensor) -> Tensor:
    return (bare[-1].log_softmax(-1) + normed[2].log_softmax(-1)) / 2


def difference(bare: Tensor, normed: Tensor, factor: float) -> Tensor:
    return factor * (bare[-1].log_softmax(-1) - bare[1].log_softmax(-1))


STRATEGIES: Mapping[dola.Strategy, Any] = {
    Mean((1,)): mean,
    MeanOfLogProbs(2): mean_of_log_probs,
    Sharper(): lambda bare, _: 3.0 * bare[-1],
    Renamed(note="x"): lambda bare, _: bare[-1],
    Reversed((1,), alpha=0.0): lambda bare, normed: difference(bare, normed, -1.0),
    Halved((1,), alpha=0.0): lambda bare, normed: difference(bare, normed, 0.5),
}
SUMMED_AS_THEY_ARE = (MeanOfLogProbs, DoLa)
ALL = pytest.mark.parametrize(
    ("strategy", "formula"), STRATEGIES.items(), ids=[type(each).__name__ for each in STRATEGIES]
)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_language_model()


@torch.no_grad()
def right(lm: LanguageModel, ids: Tensor, formula: Any) -> Tensor:
    """Scores of every position `[T, V]` from the host's own states."""
    model: Any = lm.model
    states = model(ids, output_hidden_states=True, use_cache=False).hidden_states
    bare = torch.stack([model.lm_head(state)[0] for state in states]).double()
    normed = torch.stack([model.lm_head(model.model.norm(state))[0] for state in states[:-1]]).double()
    return formula(bare, normed)


def ids_of(lm: LanguageModel, text: str) -> Tensor:
    return lm.tokenizer(text, return_tensors="pt")["input_ids"]


def close(found: Any, expected: Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(found).double(), expected, rtol=1e-4, atol=1e-4)


@ALL
@torch.no_grad()
def test_attach_gives_its_scores(lm: LanguageModel, strategy: dola.Strategy, formula: Any) -> None:
    ids = ids_of(lm, TEXT)
    expected = right(lm, ids, formula)
    with dola.attach(lm.model, strategy):
        close(lm.model(ids).logits[0], expected)


@ALL
def test_generate_takes_its_best_token(lm: LanguageModel, strategy: dola.Strategy, formula: Any) -> None:
    (found,) = lm.generate(TEXT, strategy, max_new_tokens=5)
    ids = ids_of(lm, TEXT)
    for step, token in enumerate(found.token_ids):
        scores = right(lm, ids, formula)[-1]
        assert token == int(scores.argmax())
        assert found.scores[step] == pytest.approx(float(scores[token]), rel=1e-4, abs=1e-4)
        ids = torch.cat([ids, torch.tensor([[token]])], 1)
    layer = {"MeanOfLogProbs": 2, "Reversed": 1, "Halved": 1}.get(type(strategy).__name__)
    assert found.premature_layers == (None if layer is None else (layer,) * len(found.token_ids))


def test_a_subclass_that_scores_by_itself_is_not_taken_for_its_parent(lm: LanguageModel) -> None:
    vanilla = lm.generate(TEXT, Vanilla(), max_new_tokens=5)[0]
    assert lm.generate(TEXT, Renamed(), max_new_tokens=5)[0] == vanilla
    sharper = lm.generate(TEXT, Sharper(), max_new_tokens=5)[0]
    assert sharper.scores == pytest.approx([3 * score for score in vanilla.scores], rel=1e-4)


@ALL
def test_a_loglikelihood_is_the_sum_of_its_log_probabilities(
    lm: LanguageModel, strategy: dola.Strategy, formula: Any
) -> None:
    requests = [(TEXT, [" early", " la"])]
    (scored,) = lm.loglikelihood(requests, [DoLa((0, 2)), strategy, Vanilla()])
    start = ids_of(lm, TEXT).shape[1]
    for continuation, found in zip(requests[0][1], scored.by_strategy[1], strict=True):
        ids = ids_of(lm, TEXT + continuation)
        scores = right(lm, ids, formula)[start - 1 : -1]
        if not isinstance(strategy, SUMMED_AS_THEY_ARE):
            scores = scores.log_softmax(-1)
        each = scores.gather(1, ids[0, start:, None])[:, 0]
        close(found.token_scores, each)


@ALL
def test_trace_shows_its_scores_and_details(lm: LanguageModel, strategy: dola.Strategy, formula: Any) -> None:
    ids = ids_of(lm, TEXT)
    scores = right(lm, ids, formula)[:-1]
    trace = lm.trace(TEXT, strategy)
    close([token.score for token in trace.tokens], scores.gather(1, ids[0, 1:, None])[:, 0])
    assert trace.strategy == str(resolve_strategy(strategy, lm.depths))
    if isinstance(strategy, MeanOfLogProbs):
        entropies = -(scores.exp() * scores).sum(-1)
        close([token.details["entropy"] for token in trace.tokens], entropies)
        assert {token.premature_layer for token in trace.tokens} == {2}


def test_its_layers_are_checked_by_itself(lm: LanguageModel) -> None:
    for use in (
        lambda: dola.attach(lm.model, Mean((9,))),
        lambda: lm.generate(TEXT, Mean((9,))),
        lambda: lm.loglikelihood([(TEXT, ["x"])], [Mean((9,))]),
        lambda: lm.trace(TEXT, Mean((9,))),
    ):
        with pytest.raises(dola.LayerError, match=r"layer 9 of .*4 layers"):
            use()


def everywhere(lm: LanguageModel, strategy: Any) -> Iterator[Any]:
    yield lambda: dola.attach(lm.model, strategy)
    yield lambda: dola.attach(lm.model, [Vanilla(), strategy])
    yield lambda: lm.generate(TEXT, strategy)
    yield lambda: list(lm.iter_generate([TEXT], strategy))
    yield lambda: lm.loglikelihood([(TEXT, ["x"])], [strategy])
    yield lambda: lm.trace(TEXT, strategy)


FORMER = """
@dataclass(frozen=True)
class Former({base}):
    def resolve(self, depth):
        return self
    {exits}
    def contrast(self, logits):
        return logits
"""
EXITS = "@property\n    def exits(self):\n        return (Exit(1, False),)\n"


@pytest.mark.parametrize("base", ["Strategy", "Vanilla"])
def test_a_strategy_for_the_former_contract_is_told_what_changed(base: str) -> None:
    names = {"dataclass": dataclass, "Exit": dola.Exit, "Strategy": dola.Strategy, "Vanilla": Vanilla}
    with pytest.raises(StrategyError, match=r"former contract.*now resolve.*CONTRIBUTING") as caught:
        exec(FORMER.format(base=base, exits=EXITS), {**names, "__name__": "theirs"})
    assert "\n" not in str(caught.value)
    assert "theirs.Former" in str(caught.value)


@pytest.mark.parametrize("base", [Vanilla, DoLa])
def test_a_contrast_that_nobody_would_call_is_told_too(base: type) -> None:
    with pytest.raises(StrategyError, match=re.escape("former contract")):
        type("Louder", (base,), {"contrast": lambda self, logits: logits})


def test_a_strategy_may_call_its_own_method_contrast() -> None:
    class Base(dola.Strategy):
        def resolve(self, depths: Depths) -> ResolvedStrategy:
            return ResolvedStrategy(self, (depths[OWN].last,), self.contrast, normalised=False)

        def contrast(self, tile: ExitLogits) -> Contrast:
            return Contrast(tile.logits(tile.reads[0]))

    class Derived(Base):
        def contrast(self, tile: ExitLogits) -> Contrast:
            return Contrast(2 * super().contrast(tile).scores)

    assert Derived.__mro__[1] is Base


@dataclass(frozen=True)
class Careless(dola.Strategy):
    """Gives whatever it was made with."""

    gives: Any

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        return self.gives


@pytest.mark.parametrize("gives", [None, Vanilla(), (Read.at(1),), "x"], ids=str)
def test_what_resolves_to_something_else_is_told_everywhere(lm: LanguageModel, gives: Any) -> None:
    for use in everywhere(lm, Careless(gives)):
        with pytest.raises(StrategyError, match=f"Careless.resolve must return.*{type(gives).__name__}"):
            use()
    assert not [name for name in vars(lm.model) if "dola" in name]


def test_what_is_no_strategy_is_told_everywhere(lm: LanguageModel) -> None:
    for use in everywhere(lm, 7):
        with pytest.raises(StrategyError, match="expected a strategy"):
            use()


def test_a_second_stream_that_nobody_gives_is_told_everywhere(lm: LanguageModel) -> None:
    amateur = ResolvedStrategy(
        Vanilla(), (Read.at(4, stream="amateur"),), lambda tile: Contrast(Tensor()), False
    )
    for use in everywhere(lm, Careless(amateur)):
        with pytest.raises(StrategyError, match="'amateur', a second stream"):
            use()


@dataclass(frozen=True)
class Broken(dola.Strategy):
    """Its scores are none, whatever the logits."""

    value: float = math.nan

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        last = depths[OWN].last
        return ResolvedStrategy(
            self,
            (last,),
            lambda tile: Contrast(torch.full_like(tile.logits(last), self.value)),
            normalised=True,
        )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@torch.no_grad()
def test_scores_that_are_none_are_its_own_fault_and_told_so(lm: LanguageModel, value: float) -> None:
    def attached() -> Any:
        with dola.attach(lm.model, Broken(value)):
            return lm.model(ids_of(lm, TEXT))

    for use in (attached, *list(everywhere(lm, Broken(value)))[2:]):
        with pytest.raises(StrategyError, match="makes scores of NaN"):
            use()


def test_by_its_name_it_is_what_it_is_by_its_class(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [
        EntryPoint(name, value, registry.ENTRY_POINT_GROUP)
        for name, value in {
            "mean": "dola_mean:Mean",
            "sharper": f"{__name__}:Sharper",
            "reversed": f"{__name__}:Reversed",
        }.items()
    ]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [p for p in points if p.group == group])
    for strategy, text in (
        (Mean((1,)), "mean:1,-1"),
        (Mean("high", share=0.25), "mean:high:share=0.25"),
        (Sharper(power=2.0), "sharper:-1:power=2"),
        (Reversed((0, 2)), "reversed:0,2,-1"),
        (Reversed("high"), "reversed:high"),
    ):
        assert str(strategy) == text
        assert dola.parse_strategy(text) == strategy
        assert type(dola.parse_strategy(text)) is type(strategy)
        named = lm.generate(TEXT, dola.parse_strategy(text), max_new_tokens=3)
        assert named == lm.generate(TEXT, strategy, max_new_tokens=3)
