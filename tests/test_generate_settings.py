"""Every setting of the host's `GenerationConfig`: served in every batch as the host serves it, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    SynthIDTextWatermarkingConfig,
    TextIteratorStreamer,
    WatermarkingConfig,
)

import dola
from dola.hosts.transformers import batches
from dola.hosts.transformers.host_settings import REFUSED, SERVED
from dola.language_model import LanguageModel
from tiny_language_model import tiny_language_model
from tiny_models import tiny_model

DYNAMIC = dola.DoLa((0, 1, 2))
# With a beginning that is long enough for `iter_generate` to read it once for all.
ENDS = ("abcabcab", "lorem ipsum dolor sit amet, consectetur; ADIPISCING ELIT! 0123456789", "x", "abcabcab")
PROMPTS = [f"Question:{end}" for end in ENDS]
# Of each: it changes what is written, in the host and here alike.
CHANGING: dict[str, dict[str, Any]] = {
    "max_length": {"max_length": 82, "eos_token_id": list(range(9))},
    "min_new_tokens": {"min_new_tokens": 8, "eos_token_id": list(range(128))},
    "min_length": {"min_length": 81, "eos_token_id": list(range(128))},
    "eos_token_id": {"eos_token_id": list(range(128))},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 1},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 4.0},
    "repetition_penalty": {"repetition_penalty": 3.0},
    "bad_words_ids": {"bad_words_ids": [[token] for token in range(0, 256, 2)]},
    "suppress_tokens": {"suppress_tokens": list(range(0, 256, 2))},
    "begin_suppress_tokens": {"begin_suppress_tokens": list(range(200))},
    "forced_eos_token_id": {"forced_eos_token_id": 7},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": (1, 60.0)},
    "sequence_bias": {"sequence_bias": [[[token], 30.0] for token in range(68, 77)]},
    "watermark": {"watermarking_config": WatermarkingConfig(bias=20.0)},
    "beams": {"num_beams": 3, "length_penalty": -2.0, "early_stopping": True},
}
# Of each: what is written is what is written without.
UNCHANGING: dict[str, dict[str, Any]] = {
    "renormalize_logits": {"renormalize_logits": True},
    "use_cache": {"use_cache": False},
    "static": {"cache_implementation": "static", "disable_compile": True},
    "dynamic": {"cache_implementation": "dynamic"},
    "prefill_chunk_size": {"prefill_chunk_size": 3},
    "pad_token_id": {"pad_token_id": 5},
    "nothing": {"top_k": None, "num_return_sequences": 1, "guidance_scale": 1.0, "output_scores": False},
}
DRAWN: dict[str, dict[str, Any]] = {
    "min_p": {"min_p": 0.02},
    "typical_p": {"typical_p": 0.7, "temperature": 1.3},
    "watermark": {"watermarking_config": WatermarkingConfig(bias=9.0), "top_k": 20},
    "synthid": {"watermarking_config": SynthIDTextWatermarkingConfig(ngram_len=3, keys=[3, 5, 7])},
    "several": {"num_return_sequences": 2, "top_h": 0.4, "epsilon_cutoff": 1e-4, "eta_cutoff": 1e-3},
    "repeats": {"no_repeat_ngram_size": 2},
}


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_language_model(max_position_embeddings=128)


def by_host(lm: LanguageModel, prompt: str, settings: dict[str, Any]) -> list[int]:
    """What the host writes with the strategy attached, up to its end of sequence."""
    ids = lm.tokenizer(prompt, return_tensors="pt")
    told = {"do_sample": False} | settings
    if "max_length" not in told:
        told |= {"max_new_tokens": 10}
    with dola.attach(lm.model, DYNAMIC):
        made = lm.model.generate(**ids, **told)
    tokens = made[0, ids["input_ids"].shape[1] :].tolist()
    ends = told.get("eos_token_id", [lm.tokenizer.eos_token_id])
    stop = next((at for at, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: stop + 1]


def new(settings: dict[str, Any]) -> dict[str, Any]:
    return settings if "max_length" in settings else {"max_new_tokens": 10} | settings


def in_batches(lm: LanguageModel, **settings: Any) -> dict[int, list[tuple[int, ...]]]:
    made: dict[int, list[tuple[int, ...]]] = {}
    for index, generation in lm.iter_generate(PROMPTS, DYNAMIC, batch_size=3, **new(settings)):
        made.setdefault(index, []).append(generation.token_ids)
    return made


@pytest.mark.parametrize("name", [*CHANGING, *UNCHANGING])
def test_each_setting_does_in_every_batch_what_the_host_does_with_the_prompt_alone(
    lm: LanguageModel, name: str
) -> None:
    settings = (CHANGING | UNCHANGING)[name]
    expected = [by_host(lm, prompt, settings) for prompt in PROMPTS]
    together = lm.generate(PROMPTS, DYNAMIC, **new(settings))
    assert [list(each.token_ids) for each in together] == expected
    assert in_batches(lm, **settings) == {at: [tuple(each)] for at, each in enumerate(expected)}
    if name in CHANGING:
        assert expected != [by_host(lm, prompt, {}) for prompt in PROMPTS]


@pytest.mark.parametrize(
    ("settings", "ours"),
    [({}, True), *((UNCHANGING[name], False) for name in ("static", "use_cache"))],
    ids=str,
)
def test_a_cache_that_the_host_is_to_make_is_made_by_the_host(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], *, ours: bool
) -> None:
    original, given = batches.generate_batch, []

    def noted(*args: Any, prefix: Any, **named: Any) -> Any:
        given.append(prefix is not None)
        return original(*args, prefix=prefix, **named)

    monkeypatch.setattr(batches, "generate_batch", noted)
    in_batches(lm, **settings)
    assert given == [ours] * 2


@pytest.mark.parametrize("settings", DRAWN.values(), ids=DRAWN)
def test_what_is_drawn_for_a_prompt_is_drawn_for_it_alone(
    lm: LanguageModel, settings: dict[str, Any]
) -> None:
    drawn = {"do_sample": True, "seed": 5} | settings
    batches = in_batches(lm, **drawn)
    times = settings.get("num_return_sequences", 1)
    together = [each.token_ids for each in lm.generate(PROMPTS, DYNAMIC, **new(drawn))]
    assert together == [each for index in range(len(PROMPTS)) for each in batches[index]]
    for index in range(3):
        alone = lm.generate(PROMPTS[index], DYNAMIC, **new(drawn))
        assert batches[index] == [each.token_ids for each in alone]
    every = [tuple(each) for index in (0, 3) for each in batches[index]]
    assert len(set(every)) == 2 * times  # the same prompt again is drawn again


def test_each_of_several_sequences_is_what_so_many_prompts_are_given(lm: LanguageModel) -> None:
    drawn: dict[str, Any] = {"do_sample": True, "seed": 5, "max_new_tokens": 8}
    several = lm.generate(["a", "why"], "low", num_return_sequences=3, **drawn)
    assert [each.prompt for each in several] == ["a"] * 3 + ["why"] * 3
    assert several == lm.generate(["a"] * 3 + ["why"] * 3, "low", **drawn)


def test_of_beams_the_best_come_first_and_as_the_host_returns_them(lm: LanguageModel) -> None:
    ids = lm.tokenizer("why", return_tensors="pt")
    told = {"num_beams": 4, "num_return_sequences": 3, "max_new_tokens": 6}
    with dola.attach(lm.model, DYNAMIC):
        made = lm.model.generate(**ids, do_sample=False, **told)
    expected = [row[3:].tolist() for row in made]
    found = lm.generate(["why", "a longer one"], DYNAMIC, **told)
    assert [list(each.token_ids) for each in found[:3]] == expected
    assert [each.prompt for each in found] == ["why"] * 3 + ["a longer one"] * 3


def test_every_setting_that_the_host_has_is_served_or_refused_with_a_reason() -> None:
    known = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    assert known - {"transformers_version"} <= SERVED | set(REFUSED)
    assert not SERVED & set(REFUSED)
    page = (Path(__file__).parent.parent / "docs" / "settings.md").read_text()
    assert not {name for name in SERVED | set(REFUSED) if f"`{name}" not in page}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_new_token": 3}, "no setting 'max_new_token'.*did you mean 'max_new_tokens'"),
        ({"temprature": 3}, "did you mean 'temperature'"),
        ({"update": 3}, "no setting 'update'"),
        ({"max_new_tokens": 4.5}, "max_new_tokens must be a whole number, found 4.5"),
        ({"max_new_tokens": True}, "max_new_tokens must be a whole number, found True"),
        ({"do_sample": "yes"}, "do_sample must be True or False, found 'yes'"),
        ({"min_p": "x", "do_sample": True}, "min_p must be a number, found 'x'"),
        ({"min_p": 7, "do_sample": True}, "(?s)min_p"),
        ({"min_p": 0.1}, "min_p=0.1 has no effect without do_sample=True"),
        ({"length_penalty": 2.0}, "length_penalty=2.0 has no effect without num_beams"),
        ({"num_return_sequences": 2}, "num_return_sequences must be 1 where the most probable"),
        ({"num_return_sequences": 3, "num_beams": 2}, "at most num_beams"),
        ({"bad_words_ids": ["x"]}, "bad_words_ids must be a list, each of it a list"),
        ({"early_stopping": "soon", "num_beams": 2}, "refuses these settings: `early_stopping`"),
        ({"max_new_tokens": 3, "max_length": 9}, "give one"),
        ({"guidance_scale": 1.5}, "guidance_scale=1.5 is not served: its second pass"),
        ({"max_time": 3.0}, "max_time=3.0 is not served: a text would depend on how fast"),
        ({"dola_layers": "high"}, "dola_layers='high' is not served: give the strategy"),
        ({"output_scores": True}, "output_scores=True is not served"),
        ({"cache_implementation": "paged"}, "cache_implementation='paged' is not served"),
        ({"penalty_alpha": 0.6}, "penalty_alpha=0.6 is not served"),
        ({"stopping_criteria": []}, "stopping_criteria is not taken here: stop="),
        ({"generation_config": {"max_new_tokens": 3}}, "must be a transformers.GenerationConfig, found dict"),
        ({"generation_config": GenerationConfig(max_new_token=3)}, "generation_config: there is no setting"),
        ({"logits_processor": 3}, "logits_processor must be"),
        ({"stop": 3}, "stop must be"),
        ({"pad_token_id": 999}, "pad_token_id=999, and the model has 259 tokens"),
        ({"forced_eos_token_id": [3, 999]}, "forced_eos_token_id=.3, 999., and the model has 259"),
        ({"eos_token_id": 999}, "eos_token_id=999, and the model has 259"),
        ({"top_h": 3.0, "do_sample": True}, "refuses these settings: `top_h`"),
        ({"watermarking_config": 3}, "refuses these settings"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"assistant_model": "gpt2"}, "must be a transformers model, found str"),
    ],
    ids=str,
)
def test_what_is_not_served_is_refused_by_name_in_one_line(
    lm: LanguageModel, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(dola.StrategyError, match=words) as refused:
        lm.generate("a", **settings)
    assert "\n" not in str(refused.value)


def test_keywords_count_more_than_the_config_and_the_config_more_than_the_defaults(lm: LanguageModel) -> None:
    config = GenerationConfig(max_new_tokens=3, repetition_penalty=3.0, stop_strings=["q"])
    (plain,) = lm.generate("abc", max_new_tokens=3, repetition_penalty=3.0, stop=["q"])
    assert lm.generate("abc", generation_config=config) == [plain]
    (longer,) = lm.generate("abc", generation_config=config, max_new_tokens=5)
    assert len(longer.token_ids) == 5
    assert longer.token_ids[:3] == plain.token_ids
    assert config.max_new_tokens == 3
    assert len(lm.generate("abc")[0].token_ids) == 64
    (short,) = lm.generate("abc", generation_config=GenerationConfig(max_length=5))
    assert len(short.token_ids) == 2


def test_a_models_own_settings_are_taken_where_they_are_asked_for_and_only_there() -> None:
    lm = tiny_language_model()
    (plain,) = lm.generate("abc", max_new_tokens=6)
    lm.model.generation_config.update(repetition_penalty=5.0, bos_token_id=257, max_length=9)
    assert lm.generate("abc", max_new_tokens=6) == [plain]
    (own,) = lm.generate("abc", generation_config=lm.model.generation_config)
    assert own.token_ids == lm.generate("abc", max_new_tokens=6, repetition_penalty=5.0)[0].token_ids
    assert own.token_ids != plain.token_ids


class Only(LogitsProcessor):
    """Leaves one token, and keeps what it was shown."""

    def __init__(self, token: int) -> None:
        self.token, self.shapes = token, []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(input_ids.shape))
        return torch.full_like(scores, -torch.inf).index_fill(1, torch.tensor([self.token]), 0.0)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_processor_of_ones_own_has_the_last_word_and_sees_one_batch(
    lm: LanguageModel, *, sampled: bool
) -> None:
    (token,) = lm.tokenizer("#")["input_ids"]
    only = Only(token)
    found = lm.generate(["a", "longer"], DYNAMIC, logits_processor=only, max_new_tokens=3, do_sample=sampled)
    assert [each.text for each in found] == ["###", "###"]
    assert only.shapes == [(2, 6), (2, 7), (2, 8)]
    assert found[0].scores == (0.0, 0.0, 0.0)
    with pytest.raises(dola.StrategyError, match="sees one batch, prompts of 1 to 6 tokens"):
        lm.generate(["a", "longer"], logits_processor=[only], no_repeat_ngram_size=2)
    with pytest.raises(dola.StrategyError, match="logits_processor is not taken here: it may hold"):
        list(lm.iter_generate(["a"], logits_processor=only))  # type: ignore[call-arg]


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("strategy", ["-1", "0,1,2,-1"])
def test_with_an_assistant_the_tokens_scores_and_layers_are_those_without(
    lm: LanguageModel, strategy: str, *, sampled: bool
) -> None:
    assistant = tiny_model("llama", vocab_size=259, num_hidden_layers=2, max_position_embeddings=128)
    assistant.generation_config.num_assistant_tokens = 3
    told: dict[str, Any] = {"max_new_tokens": 12, "do_sample": sampled, "seed": 3, "repetition_penalty": 1.1}
    (plain,) = lm.generate("why", strategy, **told)
    (guessed,) = lm.generate("why", strategy, assistant_model=assistant, **told)
    assert guessed.token_ids == plain.token_ids
    assert guessed.premature_layers == plain.premature_layers
    assert guessed.scores == pytest.approx(plain.scores, abs=1e-4)
    with pytest.raises(dola.StrategyError, match="one prompt at a time"):
        lm.generate(["why", "a"], strategy, assistant_model=assistant)
    other = tiny_model("llama", vocab_size=100)
    with pytest.raises(dola.StrategyError, match="vocabulary of 100 tokens, and the model one of 259"):
        lm.generate("why", strategy, assistant_model=other)


def test_a_streamer_hears_every_token_and_its_end_also_after_an_error(lm: LanguageModel) -> None:
    streamer = TextIteratorStreamer(lm.tokenizer, skip_prompt=True, timeout=20)
    found = lm.generate("why", DYNAMIC, streamer=streamer, max_new_tokens=5)
    assert "".join(streamer) == found[0].text
    for wrong in ({"max_new_token": 5}, {"prompts": {}}, {"num_beams": 2}):
        streamer = TextIteratorStreamer(lm.tokenizer, timeout=20)
        with pytest.raises(dola.DolaError):
            lm.generate(**{"prompts": "why", "streamer": streamer} | wrong)
        assert "".join(streamer) == ""


@pytest.mark.parametrize("stop", [None, (), [], "", "qqqq"])
def test_nothing_to_stop_at_is_said_in_any_form(lm: LanguageModel, stop: Any) -> None:
    if stop == "":
        with pytest.raises(dola.StrategyError, match="stop must be non-empty"):
            lm.generate("a", stop=stop)
    else:
        assert lm.generate("a", stop=stop, max_new_tokens=4) == lm.generate("a", max_new_tokens=4)
