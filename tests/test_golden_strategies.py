"""SLED and DeLTa on real weights against the numbers of their released codes.

The golden numbers were made with rotary base 10000, where the checkpoint says 100000, so the model is turned
by that here. SLED's early exits are not normed, DeLTa's are.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dola
from real_models import smollm2  # noqa: F401

GOLDEN = json.loads((Path(__file__).parent / "golden" / "strategies.json").read_text(encoding="utf-8"))
SCORE = {"rel": 1e-5, "abs": 1e-3}
LAYERS: dict[str, Any] = {"all": "all", "low": tuple(range(0, 16, 2))}
NEW_TOKENS = 24

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def lm(smollm2: dola.LanguageModel) -> Iterator[dola.LanguageModel]:  # noqa: F811
    llama: Any = smollm2.model
    config = copy.deepcopy(llama.config)
    config.rope_parameters = {**config.rope_parameters, "rope_theta": 10000.0}
    rotary = llama.model.rotary_emb
    llama.model.rotary_emb = type(rotary)(config=config)
    yield smollm2
    llama.model.rotary_emb = rotary


def numbers(key: str) -> list[float]:
    return [float(each) for each in re.findall(r"\d+(?:\.\d+)?", key)]


def sled(key: str, task: str, *, post_softmax: bool = True) -> dola.Strategy:
    """The strategy of a key such as `low r2 k10`, with what its released code sets for the task."""
    rate, scale, *_ = numbers(key)
    released = dola.SLED().released(task)
    named = dola.SLED(LAYERS[key.split()[0]], rate=rate, scale=int(scale), post_softmax=post_softmax)
    return replace(named, **{name: released[name] for name in ("steps", "filter_value", "early_exit_norm")})


def delta(key: str) -> dola.Strategy:
    first, at, _ = numbers(key)
    return dola.DeLTa(M=int(first), L=at, filter_value=-math.inf)


def scores(lm: dola.LanguageModel, row: dict[str, Any], strategies: list[dola.Strategy]) -> list[list[float]]:
    (scored,) = lm.loglikelihood([(row["prompt"], row["continuations"])], strategies)
    return [[each.score for each in of_strategy] for of_strategy in scored.by_strategy]


@pytest.mark.slow
@pytest.mark.parametrize("row", GOLDEN["sled_mc"], ids=range(len(GOLDEN["sled_mc"])))
def test_sleds_multiple_choice_scores_are_the_released_codes(
    lm: dola.LanguageModel, row: dict[str, Any]
) -> None:
    plain, renormalised = row["scores"], row["scores_post_softmax"]
    strategies = [sled(key, "tfqa-mc", post_softmax=False) for key in plain]
    strategies += [sled(key, "tfqa-mc") for key in renormalised]
    expected = [*plain.values(), *renormalised.values()]
    for found, golden in zip(scores(lm, row, strategies), expected, strict=True):
        assert found == pytest.approx(golden, **SCORE)


@pytest.mark.parametrize("row", GOLDEN["sled_factor"], ids=range(len(GOLDEN["sled_factor"])))
def test_sleds_factor_scores_are_the_released_codes(lm: dola.LanguageModel, row: dict[str, Any]) -> None:
    found = scores(lm, row, [sled(key, "factor") for key in row["scores"]])
    for ours, golden in zip(found, row["scores"].values(), strict=True):
        assert ours == pytest.approx(golden, **SCORE)


def check_generation(lm: dola.LanguageModel, case: dict[str, Any], key: str, strategy: dola.Strategy) -> None:
    penalty = numbers(key)[-1]
    (found,) = lm.generate(case["prompt"], strategy, max_new_tokens=NEW_TOKENS, repetition_penalty=penalty)
    golden = case["runs"][key]
    assert found.scores == pytest.approx(golden["scores"], **SCORE)
    assert list(found.token_ids) == golden["ids"]


def runs(kind: str) -> list[Any]:
    return [
        pytest.param(case, key, id=f"{number} {key}")
        for number, case in enumerate(GOLDEN[kind])
        for key in case["runs"]
    ]


@pytest.mark.parametrize(("case", "key"), runs("sled_generate"))
def test_sleds_generation_is_the_released_codes(
    lm: dola.LanguageModel, case: dict[str, Any], key: str
) -> None:
    check_generation(lm, case, key, sled(key, "gsm8k"))


@pytest.mark.parametrize(("case", "key"), runs("delta_generate"))
def test_deltas_generation_is_the_released_codes(
    lm: dola.LanguageModel, case: dict[str, Any], key: str
) -> None:
    check_generation(lm, case, key, delta(key))
