"""Real weights against the numbers of the released code and of the former built-in of transformers.

No case is a near tie: the smallest distance between the best and the second-best token in any of them is
7.7e-4 (`min_margin`), well above the rounding of float32, so every token must be the golden one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor

import dola
from dola import Attachment, DoLa, parse_strategy
from real_models import gemma3, smollm2  # noqa: F401

GOLDEN = Path(__file__).parent / "golden"
OWN = json.loads((GOLDEN / "own.json").read_text(encoding="utf-8"))["generate"]
BUILT_IN = json.loads((GOLDEN / "hf_builtin.json").read_text(encoding="utf-8"))


def assert_scores(found: list[float], golden: list[float]) -> None:
    """Within the golden numbers' own tolerance, 1e-3 absolute + 1e-6 relative."""
    assert len(found) == len(golden)
    for step, (score, expected) in enumerate(zip(found, golden, strict=True)):
        assert abs(score - expected) <= 1e-3 + 1e-6 * abs(expected), f"step {step}: {score} for {expected}"


pytestmark = pytest.mark.weights


class Layers(LogitsProcessor):
    """Notes the layer that each step was contrasted with."""

    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.seen: list[int] = []
        self.divergence: list[list[float]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        last = self.attachment.last
        assert last is not None
        if last.premature is not None:
            self.seen.append(int(last.premature[0, -1]))
        if "divergence" in last.details:
            self.divergence.append(last.details["divergence"][:, 0, -1].tolist())
        return scores


def decode(lm: dola.LanguageModel, prompt_ids: list[int], **settings: Any) -> tuple[list[int], list[float]]:
    """Greedy decoding by the host: the new tokens and the score that each was chosen by."""
    ids = torch.tensor([prompt_ids])
    output = lm.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
        **settings,
    )
    new = output.sequences[0, len(prompt_ids) :].tolist()
    return new, [float(step[0, token]) for step, token in zip(output.scores, new, strict=True)]


def attached_decode(
    lm: dola.LanguageModel, spec: str, prompt_ids: list[int], **settings: Any
) -> tuple[list[int], list[float], Layers]:
    with dola.attach(lm.model, parse_strategy(spec)) as attachment:
        layers = Layers(attachment)
        return *decode(lm, prompt_ids, logits_processor=[layers], **settings), layers


@pytest.mark.parametrize("run", OWN[0]["runs"])
@pytest.mark.parametrize("number", range(len(OWN)))
def test_generation_is_that_of_the_released_code(smollm2: dola.LanguageModel, number: int, run: str) -> None:  # noqa: F811
    case, golden = OWN[number], OWN[number]["runs"][run]
    assert smollm2.tokenizer(case["prompt"])["input_ids"] == case["prompt_ids"]
    spec, penalty = run.split(" rp")
    ids, scores, layers = attached_decode(
        smollm2, spec, case["prompt_ids"], max_new_tokens=32, repetition_penalty=float(penalty)
    )
    assert ids == golden["ids"]
    assert_scores(scores, golden["scores"])
    if golden["layers"] is not None:
        assert {int(layer): layers.seen.count(int(layer)) for layer in golden["layers"]} == {
            int(layer): count for layer, count in golden["layers"].items()
        }


def check_built_in(lm: dola.LanguageModel, case: dict[str, Any]) -> None:
    assert lm.tokenizer(case["prompt"])["input_ids"] == case["prompt_ids"]
    ids, scores = decode(
        lm,
        case["prompt_ids"],
        max_new_tokens=24,
        repetition_penalty=1.2,
        custom_generate=dola.custom_generate,
        dola_layers=case["dola_layers"],
    )
    assert ids == case["ids"]
    assert_scores(scores, case["scores"])


@pytest.mark.parametrize("number", range(len(BUILT_IN["smollm2"])))
def test_custom_generate_is_the_former_built_in(smollm2: dola.LanguageModel, number: int) -> None:  # noqa: F811
    check_built_in(smollm2, BUILT_IN["smollm2"][number])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BUILT_IN["gemma3"])))
def test_custom_generate_is_the_former_built_in_on_gemma(gemma3: dola.LanguageModel, number: int) -> None:  # noqa: F811
    check_built_in(gemma3, BUILT_IN["gemma3"][number])


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["baseline", "dola_low"])
@pytest.mark.parametrize("benchmark", ["gsm8k", "strqa", "tfqa"])
def test_generation_is_that_of_the_released_scripts(
    smollm2: dola.LanguageModel,  # noqa: F811
    shared: Path,
    benchmark: str,
    mode: str,
) -> None:
    golden = json.loads((shared / "golden" / f"{benchmark}.json").read_text(encoding="utf-8"))
    settings = golden["meta"]["modes"][mode]
    for item, run in zip(golden["items"], golden["results"][mode]["per_item"], strict=True):
        prompt = f"{golden['meta']['prompt_prefix_text']}Q: {item['question']}\nA:"
        assert sha256(prompt) == item["prompt_text_sha256"]
        prompt_ids = smollm2.tokenizer(prompt)["input_ids"]
        assert sha256(json.dumps(prompt_ids)) == run["prompt_ids_sha256"]
        ids, scores, layers = attached_decode(
            smollm2,
            settings["early_exit_layers"],
            prompt_ids,
            # The released scripts stop at "Q:", which ends the golden ids where it occurs.
            max_new_tokens=run["n_gen"],
            repetition_penalty=settings["kwargs"]["repetition_penalty"],
        )
        assert ids == run["gen_ids"]
        assert_scores(scores, run["scores"])
        assert layers.seen == run.get("selected_layers", [])


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["baseline", "dola_low"])
@pytest.mark.parametrize("benchmark", ["gsm8k", "strqa", "tfqa"])
def test_batches_with_a_shared_prompt_generate_what_the_released_scripts_do(
    smollm2: dola.LanguageModel,  # noqa: F811
    shared: Path,
    benchmark: str,
    mode: str,
) -> None:
    golden = json.loads((shared / "golden" / f"{benchmark}.json").read_text(encoding="utf-8"))
    settings = golden["meta"]["modes"][mode]
    runs = golden["results"][mode]["per_item"]
    prompts = [f"{golden['meta']['prompt_prefix_text']}Q: {item['question']}\nA:" for item in golden["items"]]
    strategy = parse_strategy(settings["early_exit_layers"])
    done = 0
    for index, found in smollm2.iter_generate(
        prompts,
        strategy,
        batch_size=3,
        max_new_tokens=settings["kwargs"]["max_new_tokens"],
        repetition_penalty=settings["kwargs"]["repetition_penalty"],
        stop=settings["stop_words"],
    ):
        assert list(found.token_ids) == runs[index]["gen_ids"]
        assert_scores(list(found.scores), runs[index]["scores"])
        assert list(found.premature_layers or ()) == runs[index].get("selected_layers", [])
        assert found.raw_text == runs[index]["text"]
        assert found.prompt_tokens == runs[index]["n_prompt_tokens"]
        done += 1
    assert done == len(runs)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def detail(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "golden" / "token_detail.json").read_text(encoding="utf-8"))


@pytest.mark.shared
@pytest.mark.parametrize("mode", ["dola_low", "dola_high"])
def test_each_tokens_divergences_layer_and_score_are_those_of_the_released_scoring(
    smollm2: dola.LanguageModel,  # noqa: F811
    detail: dict[str, Any],
    mode: str,
) -> None:
    golden = detail["tfqa_mc"][mode]
    ids = torch.tensor([golden["input_ids"]])
    strategy = DoLa(tuple(golden["candidate_layers"]), alpha=0.0)
    with torch.inference_mode(), dola.attach(smollm2.model, strategy) as attachment:
        scores = smollm2.model(ids).logits[0]
        last = attachment.last
    assert last is not None
    assert last.premature is not None
    total = 0.0
    for token in golden["tokens"]:
        position = golden["n_prefix"] - 1 + token["pos"]
        score = float(scores[position, token["token_id"]])
        total += score
        assert_scores([score], [token["token_score"]])
        assert int(last.premature[0, position]) == token["selected"]
        check_divergence(last.details["divergence"][:, 0, position].tolist(), token, scores.shape[-1])
    assert total == pytest.approx(golden["log_prob"], rel=1e-6, abs=3e-3)


@pytest.mark.shared
def test_each_steps_divergences_layer_and_score_are_those_of_the_released_generation(
    smollm2: dola.LanguageModel,  # noqa: F811
    detail: dict[str, Any],
) -> None:
    golden = detail["gsm8k"]["dola_low"]
    spec = ",".join(map(str, [*golden["candidate_layers"], 30]))
    ids, scores, layers = attached_decode(
        smollm2, spec, golden["prompt_ids"], max_new_tokens=len(golden["tokens"]), repetition_penalty=1.2
    )
    assert ids == [token["token_id"] for token in golden["tokens"]]
    assert_scores(scores, [token["score"] for token in golden["tokens"]])
    assert layers.seen == [token["selected"] for token in golden["tokens"]]
    for divergence, token in zip(layers.divergence, golden["tokens"], strict=True):
        check_divergence(divergence, token, smollm2.model.config.vocab_size)


def check_divergence(found: list[float], token: dict[str, Any], vocab_size: int) -> None:
    """The golden divergence is a mean over the vocabulary, ours the sum that the formula has."""
    assert [value / vocab_size for value in found] == pytest.approx(token["js_div"], rel=1e-4)
