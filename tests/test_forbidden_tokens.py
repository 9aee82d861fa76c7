"""Tokens that others forbid: what a host's settings and processors leave of contrasted scores.

The yardstick is the same strategy with its ruled-out tokens at -inf, where a plausible token is left; where
none is, the mature layer's likeliest token of those that are left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, WatermarkingConfig
from transformers.generation.logits_process import (
    ClassifierFreeGuidanceLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor,
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    ExponentialDecayLengthPenalty,
    LogitNormalization,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
    WatermarkLogitsProcessor,
)

import dola
from dola import DoLa, DoLaStatic, StrategyError, Vanilla
from dola.contrast import apply_plausibility
from dola.hosts.transformers.processors import NeverLifts, for_contrast
from real_models import smollm2  # noqa: F401
from tiny_models import tiny_model

STRATEGY = DoLa((0, 1, 3), alpha=0.3)
FEW_PLAUSIBLE = replace(STRATEGY, alpha=0.97)
AT_MINUS_INFINITY = replace(STRATEGY, filter_value=-torch.inf)
PROMPT = torch.tensor([[5, 17, 42, 9, 5, 17, 42, 33, 5, 17]])
STEPS = 12
END = 2


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama")


def generate(model: PreTrainedModel, **settings: Any) -> Any:
    defaults: dict[str, Any] = {
        "max_new_tokens": STEPS,
        "do_sample": False,
        "eos_token_id": END,
        "pad_token_id": 0,
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_logits": True,
    }
    torch.manual_seed(3)
    return model.generate(PROMPT, attention_mask=torch.ones_like(PROMPT), **{**defaults, **settings})


class OnlyEven(LogitsProcessor):
    """A grammar of one's own, with the value that some write for what they forbid."""

    def __init__(self, forbidden: float) -> None:
        self.forbidden = forbidden

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        masked = scores.clone()
        masked[:, 1::2] = self.forbidden
        return masked


class NoneOfTheBest(LogitsProcessor):
    """Forbids whatever lies less than 5,000 below the best: every plausible token."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.masked_fill(scores > scores.amax(-1, keepdim=True) - 5_000, -torch.inf)


FORBIDDING = {
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "suppress_tokens": {"suppress_tokens": list(range(40))},
    "begin_suppress_tokens": {"begin_suppress_tokens": list(range(60))},
    "bad_words_ids": {"bad_words_ids": [[token] for token in range(30)] + [[40, 41]]},
    "min_new_tokens": {"min_new_tokens": STEPS, "eos_token_id": list(range(2, 50))},
    "min_length": {"min_length": 10 + STEPS, "eos_token_id": list(range(2, 50))},
    "forced_bos_token_id": {"forced_bos_token_id": 7},
    "forced_eos_token_id": {"forced_eos_token_id": 7},
    "a grammar": {
        "prefix_allowed_tokens_fn": lambda _row, ids: [3 + (len(ids) * 7 + k) % 90 for k in (1, 2, 3)]
    },
    "a mask of -inf": {"logits_processor": [OnlyEven(-torch.inf)]},
    "a mask of -1e9": {"logits_processor": [OnlyEven(-1e9)]},
    "a mask of the smallest number": {"logits_processor": [OnlyEven(torch.finfo(torch.float32).min)]},
    "a mask of the smallest half": {"logits_processor": [OnlyEven(torch.finfo(torch.float16).min)]},
    "all plausible": {"logits_processor": [NoneOfTheBest()]},
}


@pytest.mark.parametrize("settings", FORBIDDING.values(), ids=FORBIDDING)
@torch.no_grad()
def test_of_the_tokens_left_the_best_plausible_is_chosen_else_the_likeliest(
    model: PreTrainedModel, settings: dict[str, Any]
) -> None:
    with dola.attach(model, FEW_PLAUSIBLE):
        found = generate(model, **settings)
    out_of_plausible = 0
    for step, scores in enumerate(found.scores):
        text = found.sequences[:, : PROMPT.shape[1] + step]
        own = torch.log_softmax(model(text).logits[0, -1], -1)
        plausible = own >= own.max() + torch.log(torch.tensor(FEW_PLAUSIBLE.alpha))
        left = scores[0] > -6e4
        rank = found.logits[step][0] if (left & plausible).any() else own
        kept = left & plausible if (left & plausible).any() else left
        assert int(found.sequences[0, text.shape[1]]) == int(rank.masked_fill(~kept, -torch.inf).argmax())
        out_of_plausible += not bool((left & plausible).any())
    if settings is FORBIDDING["all plausible"]:
        assert out_of_plausible == len(found.scores)


def test_the_settings_above_forbid_all_that_is_plausible_now_and_then(model: PreTrainedModel) -> None:
    refused = []
    for name, settings in FORBIDDING.items():
        with dola.attach(model, replace(FEW_PLAUSIBLE, filter_value=-torch.inf)):
            try:
                generate(model, **settings)
            except StrategyError as error:
                refused.append((name, str(error)))
    assert all("every token of the vocabulary is forbidden" in message for _, message in refused)
    assert len(refused) >= 7, refused


@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.7}, {"suppress_tokens": [END]}], ids=str)
@pytest.mark.parametrize("sampled", [False, True])
def test_where_a_plausible_token_is_left_the_choice_is_that_of_minus_infinity(
    model: PreTrainedModel, settings: dict[str, Any], *, sampled: bool
) -> None:
    drawn = {"do_sample": True, "temperature": 2.0, "top_k": 50, "top_p": 0.9} if sampled else {}
    outcomes = []
    for strategy in (STRATEGY, AT_MINUS_INFINITY):
        with dola.attach(model, strategy):
            outcomes.append(generate(model, **settings, **drawn))
    finite, infinite = outcomes
    assert torch.equal(finite.sequences, infinite.sequences)
    for ours, other in zip(finite.scores, infinite.scores, strict=True):
        kept = other.isfinite()
        assert torch.equal(ours[kept], other[kept])


# --- What the host's warpers, penalties and biases do to one row of contrasted scores ---

TEXT = torch.tensor([[2, 3, 4, 5]])


def contrasted_row(filter_value: float | None) -> Tensor:
    """Scores `[1, 40]`, some of which are far below zero, and 27 of them ruled out."""
    generator = torch.Generator().manual_seed(1)
    own = torch.log_softmax(torch.randn(1, 40, generator=generator) * 3, -1)
    contrasts = torch.randn(1, 40, generator=generator) * 20 - 30
    return apply_plausibility(contrasts, own, 0.02, filter_value)


RULED_OUT = contrasted_row(-torch.inf).isneginf()[0]

WARPERS: dict[str, Any] = {
    "temperature": TemperatureLogitsWarper(90.0),
    "low temperature": TemperatureLogitsWarper(0.1),
    "top_k": TopKLogitsWarper(25),
    "top_p": TopPLogitsWarper(0.999),
    "min_p": MinPLogitsWarper(1e-4),
    "top_h": TopHLogitsWarper(0.9),
    "typical_p": TypicalLogitsWarper(0.95),
    "epsilon_cutoff": EpsilonLogitsWarper(1e-5),
    "eta_cutoff": EtaLogitsWarper(1e-5),
    "renormalize_logits": LogitNormalization(),
    "watermarking_config": WatermarkLogitsProcessor(40, "cpu", bias=8.0),
}


@pytest.mark.parametrize("warper", WARPERS.values(), ids=WARPERS)
def test_a_warper_leaves_the_probabilities_that_minus_infinity_would(warper: LogitsProcessor) -> None:
    finite, infinite = (
        torch.softmax(warper(TEXT, contrasted_row(value)), -1) for value in (None, -torch.inf)
    )
    if isinstance(warper, TopHLogitsWarper):  # of tokens at -inf it makes 0 · inf: it then keeps one alone
        assert (finite[0, RULED_OUT] == 0).all()
    else:
        assert torch.equal(finite, infinite)


PENALTIES: dict[str, Any] = {
    "repetition_penalty": RepetitionPenaltyLogitsProcessor(2.0),
    "repetition_penalty that rewards": RepetitionPenaltyLogitsProcessor(1e-4),
    "encoder_repetition_penalty": EncoderRepetitionPenaltyLogitsProcessor(1e3, torch.arange(40)[None]),
    "sequence_bias": SequenceBiasLogitsProcessor([[[token], 1e6] for token in range(0, 40, 3)]),
    "exponential_decay_length_penalty": ExponentialDecayLengthPenalty(
        (1, 2.0), torch.arange(0, 40), input_ids_seq_length=1
    ),
}


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_a_penalty_or_a_bias_never_lifts_a_ruled_out_token_above_a_plausible_one(
    penalty: LogitsProcessor,
) -> None:
    scores = contrasted_row(None)
    processed = NeverLifts(penalty)(TEXT, scores)
    assert torch.equal(processed[0, ~RULED_OUT], penalty(TEXT, scores)[0, ~RULED_OUT])
    assert (processed[0, RULED_OUT] <= scores[0, RULED_OUT]).all()
    assert processed[0, RULED_OUT].max() < processed[0, ~RULED_OUT].min()


def test_where_no_plausible_token_is_left_a_bias_lifts_again() -> None:
    left = contrasted_row(None).masked_fill(~RULED_OUT, -torch.inf)
    token = int(RULED_OUT.nonzero()[-1])
    assert int(NeverLifts(SequenceBiasLogitsProcessor([[[token], 50.0]]))(TEXT, left).argmax()) == token


@pytest.mark.parametrize(
    "settings",
    [
        {"exponential_decay_length_penalty": (1, 3.0)},
        {"sequence_bias": [[[token], 1e7] for token in range(3, 96, 5)]},
        {"repetition_penalty": 1e-6},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_in_generate_a_ruled_out_token_is_not_lifted(
    model: PreTrainedModel, settings: dict[str, Any]
) -> None:
    for custom in (False, True):
        if custom:
            found = generate(model, **settings, custom_generate=dola.custom_generate, dola_layers=[0, 1, 3])
        else:
            with dola.attach(model, STRATEGY):
                found = generate(model, **settings)
        for step, scores in enumerate(found.logits):
            chosen = found.sequences[0, PROMPT.shape[1] + step]
            assert scores[0, chosen] > scores.max() - 9_999


def test_beams_choose_plausible_tokens_while_there_are_enough(model: PreTrainedModel) -> None:
    for length_penalty in (0.0, 1.0, 3.0):
        outcomes = []
        for strategy in (replace(STRATEGY, alpha=0.01), replace(AT_MINUS_INFINITY, alpha=0.01)):
            with dola.attach(model, strategy):
                outcomes.append(generate(model, num_beams=3, length_penalty=length_penalty))
        assert torch.equal(outcomes[0].sequences, outcomes[1].sequences)
        torch.testing.assert_close(outcomes[0].sequences_scores, outcomes[1].sequences_scores)


def test_where_beams_run_out_of_plausible_tokens_they_go_on_with_the_likeliest(
    model: PreTrainedModel,
) -> None:
    """With one plausible token, a second beam had nothing but the host's placeholders to go on with."""
    with dola.attach(model, replace(STRATEGY, alpha=1.0)):
        found = generate(model, num_beams=3, num_return_sequences=3)
    assert len({tuple(row) for row in found.sequences.tolist()}) == 3
    assert found.sequences_scores.isfinite().all()


def test_a_watermark_is_written_with_plausible_tokens(model: PreTrainedModel) -> None:
    with dola.attach(model, STRATEGY):
        found = generate(model, do_sample=True, watermarking_config=WatermarkingConfig(bias=10.0))
    for step, scores in enumerate(found.logits):
        assert scores[0, found.sequences[0, PROMPT.shape[1] + step]] > scores.max() - 9_999


# --- Guidance ---


@pytest.mark.parametrize("strategy", [STRATEGY, DoLaStatic(1), DoLa("high", filter_value=-1000.0)], ids=str)
def test_guidance_with_contrasted_layers_is_refused(model: PreTrainedModel, strategy: dola.Strategy) -> None:
    for settings in (
        {"guidance_scale": 1.5},
        {"logits_processor": [ClassifierFreeGuidanceLogitsProcessor(2.0)]},
    ):
        with dola.attach(model, strategy), pytest.raises(StrategyError, match="guidance_scale"):
            generate(model, **settings)
        with pytest.raises(StrategyError, match="guidance_scale"):
            generate(model, **settings, custom_generate=dola.custom_generate)


def test_guidance_with_vanilla_is_the_hosts(model: PreTrainedModel) -> None:
    plain = generate(model, guidance_scale=1.5).sequences
    with dola.attach(model, Vanilla()):
        assert torch.equal(generate(model, guidance_scale=1.5).sequences, plain)


def test_detaching_gives_the_host_its_processors_back(model: PreTrainedModel) -> None:
    before = dict(vars(model))
    with dola.attach(model, STRATEGY):
        pass
    assert vars(model).keys() == before.keys()
    generate(model, guidance_scale=1.5)


def test_a_list_of_processors_keeps_its_order() -> None:
    given = [PENALTIES["sequence_bias"], WARPERS["top_k"]]
    prepared = for_contrast(LogitsProcessorList(given), beams=True)
    assert [getattr(each, "processor", each) for each in prepared] == given


# --- Scoring ---


@pytest.mark.weights
def test_loglikelihoods_of_ordinary_texts_are_finite_and_do_not_tie(smollm2: dola.LanguageModel) -> None:  # noqa: F811
    answers = [" Paris.", " Rome.", " a purple elephant", " a purple teapot", " zzyzx", " 42"]
    for spec in ("high", "low", "14,30", "0,2,4,30"):
        (scored,) = smollm2.loglikelihood(
            [("The capital of France is", answers)], [dola.parse_strategy(spec)]
        )
        scores = [answer.score for answer in scored.by_strategy[0]]
        assert all(score > -1e9 for score in scores)
        assert len(set(scores)) == len(scores)
