"""Every log-probability, layer and decision of the released code's scoring, on real weights.

The numbers of `golden/own.json` are of texts written for this project; those of the benchmarks lie beside
the checkout, with the data (the fixture `shared`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dola import Strategy, parse_strategy
from dola.scoring.result import LogLikelihood, Scored
from dola.tasks.factor import Factor
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC
from real_models import smollm2  # noqa: F401

OWN = json.loads((Path(__file__).parent / "golden" / "own.json").read_text(encoding="utf-8"))
SCORE = {"rel": 1e-6, "abs": 1e-3}
MC = "alpha=0.0"
FACTOR = "alpha=0.1,filter_value=-1000,post_softmax=true"
COMPLETIONS = ("completion", "contradiction_0", "contradiction_1", "contradiction_2")

pytestmark = pytest.mark.weights


def strategy(layers: str, settings: str) -> Strategy:
    return parse_strategy(layers if layers == "-1" else f"{layers}:{settings}")


def sums(row: Sequence[LogLikelihood]) -> list[float]:
    return [each.score for each in row]


def layer_counts(row: Sequence[LogLikelihood]) -> dict[int, int]:
    return dict(sum((Counter(each.premature_layers) for each in row), Counter()))


def nonzero(counts: dict[str, int]) -> dict[int, int]:
    return {int(layer): count for layer, count in counts.items() if count}


@pytest.fixture(scope="module")
def own_mc(smollm2) -> list[Scored]:  # noqa: F811
    layers = list(OWN["mc"][0]["scores"])
    strategies = [strategy(name, MC) for name in layers]
    strategies += [strategy(name, f"{MC},post_softmax=true") for name in layers[1:]]
    requests = [
        (f"{OWN['primer']}Q: {row['question']}\nA:", [f" {text}" for text in row["true"] + row["false"]])
        for row in OWN["mc"]
    ]
    return smollm2.loglikelihood(requests, strategies)


def test_multiple_choice_scores_are_the_released_codes(own_mc: list[Scored]) -> None:
    for row, scored in zip(OWN["mc"], own_mc, strict=True):
        golden = [*row["scores"].values(), *row["scores_post_softmax"].values()]
        for theirs, ours in zip(golden, scored.by_strategy, strict=True):
            assert sums(ours) == pytest.approx(theirs, **SCORE)


def test_multiple_choice_layers_are_the_released_codes(own_mc: list[Scored]) -> None:
    for row, scored in zip(OWN["mc"], own_mc, strict=True):
        by_layers = dict(zip(row["scores"], scored.by_strategy, strict=False))
        for layers, golden in row["layers"].items():
            for theirs, ours in zip(golden, by_layers[layers], strict=True):
                assert layer_counts([ours]) == nonzero(theirs)


def test_factor_scores_are_the_released_codes(smollm2) -> None:  # noqa: F811
    strategies = [strategy(name, FACTOR) for name in OWN["factor"][0]["scores"]]
    requests = [(row["prefix"], [f" {row[key]}" for key in COMPLETIONS]) for row in OWN["factor"]]
    for row, scored in zip(OWN["factor"], smollm2.loglikelihood(requests, strategies), strict=True):
        for theirs, ours in zip(row["scores"].values(), scored.by_strategy, strict=True):
            assert sums(ours) == pytest.approx(theirs, **SCORE)


def golden_file(shared: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "golden" / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_truthfulqa_scores_layers_and_decisions_are_the_released_scripts(smollm2, shared: Path) -> None:  # noqa: F811
    golden = golden_file(shared, "tfqa_mc.json")
    task = TruthfulQAMC(load_demonstrations("tfqa", shared / "data" / "prompts"))
    rows = task.load(shared / "data" / "truthfulqa").examples
    examples = [rows[question["index"]] for question in golden["questions"]]
    requests = [task.request(example) for example in examples]
    check_tokens(smollm2, requests, golden["questions"], "n_prefix_tokens", "n_answer_tokens")
    modes = golden["meta"]["modes"]
    strategies = [strategy(mode["early_exit_layers"], MC) for mode in modes.values()]
    found = smollm2.loglikelihood([(r.prompt, r.continuations) for r in requests], strategies)
    for place, name in enumerate(modes):
        result = golden["results"][name]
        rows_of_mode = [scored.by_strategy[place] for scored in found]
        for example, theirs, ours in zip(examples, result["per_question"], rows_of_mode, strict=True):
            check_scores(theirs["log_prob_true"] + theirs["log_prob_false"], ours, theirs)
            measured = task.measure(example, sums(ours))
            assert measured["MC1"] == theirs["MC1"]
            assert measured["MC3"] == pytest.approx(theirs["MC3"], abs=1e-6)
        if result["premature_layer_dist"] is not None:
            everything = [each for row in rows_of_mode for each in row]
            assert layer_counts(everything) == nonzero(result["premature_layer_dist"])


@pytest.mark.slow
@pytest.mark.parametrize("part", ["expert", "news"])
def test_factor_scores_layers_and_decisions_are_the_released_scripts(
    smollm2,  # noqa: F811
    shared: Path,
    part: str,
) -> None:
    golden = golden_file(shared, "factor.json")
    task = Factor()
    rows = task.load(shared / "data" / "factor" / f"{part}_factor.csv").examples
    examples = [rows[row["index"]] for row in golden["rows"][part]]
    requests = [task.request(example) for example in examples]
    check_tokens(smollm2, requests, golden["rows"][part], "n_prefix_tokens", "n_completion_tokens")
    modes = {name: mode for name, mode in golden["meta"]["modes"].items() if name.startswith(part)}
    strategies = [strategy(mode["early_exit_layers"], FACTOR) for mode in modes.values()]
    found = smollm2.loglikelihood([(r.prompt, r.continuations) for r in requests], strategies)
    for place, name in enumerate(modes):
        result = golden["results"][part][name.removeprefix(f"{part}/")]
        for example, theirs, scored in zip(examples, result["per_row"], found, strict=True):
            ours = scored.by_strategy[place]
            check_scores(theirs["log_probs"], ours, theirs)
            assert task.measure(example, sums(ours))["accuracy"] == theirs["is_correct"]


def check_scores(golden: list[float], ours: Sequence[LogLikelihood], theirs: dict[str, Any]) -> None:
    assert sums(ours) == pytest.approx(golden, **SCORE)
    if "selected_layers" in theirs:
        assert [list(each.premature_layers or ()) for each in ours] == theirs["selected_layers"]


def check_tokens(lm, requests, golden: list[dict[str, Any]], prompt: str, continuation: str) -> None:
    """The texts are assembled as the released script does: the same ids, the same seam."""
    for request, theirs in zip(requests, golden, strict=True):
        start = len(lm.tokenizer(request.prompt)["input_ids"])
        joint = [lm.tokenizer(request.prompt + text)["input_ids"] for text in request.continuations]
        assert start == theirs[prompt]
        assert [len(ids) - start for ids in joint] == theirs[continuation]
        assert [ids_hash(ids) for ids in joint] == theirs["ids_sha256"]


def ids_hash(ids: Sequence[int]) -> str:
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()[:16]
