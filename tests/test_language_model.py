"""`LanguageModel`: what it returns is what the host did, recorded token by token."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dola
from contrasting import resolved
from dola.hosts.transformers.stopping import StopStrings, cut_at_stop
from dola.hosts.transformers.streaming import CallbackStreamer
from tiny_language_model import byte_tokenizer, tiny_language_model

PROMPTS = ("The sun", "A much longer prompt, so that rows are padded", "x")
DYNAMIC = dola.DoLa((0, 1, 2))
STRATEGIES = (dola.Vanilla(), dola.DoLaStatic(1), DYNAMIC)


@pytest.fixture(scope="module")
def lm() -> dola.LanguageModel:
    return tiny_language_model()


def host_scores(
    lm: dola.LanguageModel, prompt: str, strategy: dola.Strategy, tokens: tuple[int, ...]
) -> list[torch.Tensor]:
    """The distribution before each token, by one full forward pass a token: no cache, no recorder."""
    ids = lm.tokenizer(prompt)["input_ids"]
    rows = []
    with dola.attach(lm.model, strategy), torch.no_grad():
        for at in range(len(tokens)):
            logits = lm.model(torch.tensor([[*ids, *tokens[:at]]]), use_cache=False).logits
            rows.append(logits[0, -1].float())
    return rows


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_recorded_scores_are_those_of_a_full_pass_before_each_token(
    lm: dola.LanguageModel, strategy: dola.Strategy
) -> None:
    for generation in lm.generate(PROMPTS, strategy, max_new_tokens=7):
        rows = host_scores(lm, generation.prompt, strategy, generation.token_ids)
        expected = [float(row[token]) for row, token in zip(rows, generation.token_ids, strict=True)]
        assert generation.scores == pytest.approx(expected, abs=1e-4)
        assert [int(row.argmax()) for row in rows] == list(generation.token_ids)


def test_recorded_layers_are_those_that_a_trace_of_the_same_text_finds(lm: dola.LanguageModel) -> None:
    for generation in lm.generate(PROMPTS, DYNAMIC, max_new_tokens=9):
        trace = lm.trace(generation.prompt, DYNAMIC, continuation=generation.token_ids)
        assert generation.premature_layers == tuple(token.premature_layer for token in trace.tokens)
        assert generation.scores == pytest.approx([token.score for token in trace.tokens], abs=1e-4)
        assert all(token.rank == 0 for token in trace.tokens)


def test_vanilla_is_the_host_to_the_bit(lm: dola.LanguageModel) -> None:
    ids = lm.tokenizer("The sun", return_tensors="pt")
    expected = lm.model.generate(
        **ids, max_new_tokens=12, do_sample=False, output_scores=True, return_dict_in_generate=True
    )
    (found,) = lm.generate("The sun", max_new_tokens=12)
    new = expected.sequences[0, ids["input_ids"].shape[1] :].tolist()
    assert list(found.token_ids) == new
    assert found.scores == tuple(float(s[0, t]) for s, t in zip(expected.scores, new, strict=True))
    assert found.premature_layers is None


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_prompt_lookup_records_what_plain_decoding_records(
    lm: dola.LanguageModel, strategy: dola.Strategy
) -> None:
    prompt = "abcabcabcabcabc"
    (plain,) = lm.generate(prompt, strategy, max_new_tokens=20)
    (lookup,) = lm.generate(prompt, strategy, max_new_tokens=20, prompt_lookup_num_tokens=3)
    assert lookup.token_ids == plain.token_ids
    assert lookup.premature_layers == plain.premature_layers
    assert lookup.scores == pytest.approx(plain.scores, abs=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_under_beam_search_each_token_keeps_the_layer_and_score_of_its_own_beam(
    lm: dola.LanguageModel, strategy: dola.Strategy
) -> None:
    for generation in lm.generate(PROMPTS, strategy, max_new_tokens=6, num_beams=3):
        rows = host_scores(lm, generation.prompt, strategy, generation.token_ids)
        expected = [
            float(torch.log_softmax(row, -1)[token])
            for row, token in zip(rows, generation.token_ids, strict=True)
        ]
        assert generation.scores == pytest.approx(expected, abs=1e-4)
        if strategy is DYNAMIC:
            trace = lm.trace(generation.prompt, DYNAMIC, continuation=generation.token_ids)
            assert generation.premature_layers == tuple(token.premature_layer for token in trace.tokens)


def test_the_same_seed_samples_the_same_text_and_another_seed_another(lm: dola.LanguageModel) -> None:
    def sample(seed: int) -> tuple[int, ...]:
        return lm.generate("The sun", DYNAMIC, max_new_tokens=20, do_sample=True, seed=seed)[0].token_ids

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_sampling_never_draws_a_token_that_is_ruled_out(lm: dola.LanguageModel) -> None:
    strategy = dola.DoLa((0, 1, 2), alpha=0.9)
    (found,) = lm.generate("The sun", strategy, max_new_tokens=40, do_sample=True, seed=3)
    assert all(math.isfinite(score) for score in found.scores)


def test_a_stop_string_is_cut_off_exactly_in_every_row(lm: dola.LanguageModel) -> None:
    plain = lm.generate(PROMPTS, DYNAMIC, max_new_tokens=24)
    stop = tuple({row.text[5:7] for row in plain} - {""})
    for row, stopped in zip(plain, lm.generate(PROMPTS, DYNAMIC, max_new_tokens=24, stop=stop), strict=True):
        expected, found = cut_at_stop(row.text, stop)
        assert found
        assert (stopped.text, stopped.finish_reason) == (expected, "stop")
        assert stopped.token_ids == row.token_ids[: len(stopped.token_ids)]
        assert len(stopped.scores) == len(stopped.token_ids) == len(stopped.premature_layers or ())


def test_a_stop_string_in_the_prompt_ends_nothing(lm: dola.LanguageModel) -> None:
    plain = lm.generate("The sun", max_new_tokens=8)
    assert lm.generate("The sun", max_new_tokens=8, stop=["The sun"]) == plain


def test_a_row_ends_with_its_end_of_sequence_whatever_its_neighbours_do(lm: dola.LanguageModel) -> None:
    plain = lm.generate(PROMPTS, DYNAMIC, max_new_tokens=12)
    own = lm.model.generation_config.eos_token_id
    try:
        lm.model.generation_config.eos_token_id = plain[0].token_ids[4]
        ended = lm.generate(PROMPTS, DYNAMIC, max_new_tokens=12)
    finally:
        lm.model.generation_config.eos_token_id = own
    for before, after in zip(plain, ended, strict=True):
        end = plain[0].token_ids[4]
        length = before.token_ids.index(end) + 1 if end in before.token_ids else 12
        assert after.token_ids == before.token_ids[:length]
        assert after.finish_reason == ("stop" if end in before.token_ids else "length")


@settings(max_examples=60)
@given(
    text=st.text(alphabet="ab:Q\n é", max_size=30),
    stop=st.lists(st.text(alphabet="ab:Q\n é", min_size=1, max_size=4), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
def test_streamed_text_is_the_text_up_to_the_first_stop_string(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    """However the text arrives in pieces."""
    heard: list[str] = []
    streamer = CallbackStreamer(byte_tokenizer(), heard.append, stop)
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    for first, last in itertools.pairwise(edges):
        streamer.on_finalized_text(text[first:last])
    streamer.on_finalized_text("", stream_end=True)
    assert "".join(heard) == cut_at_stop(text, stop)[0]


@settings(max_examples=60)
@given(
    text=st.text(alphabet="ab:Q\n é漢", min_size=1, max_size=30),
    stop=st.lists(st.text(alphabet="ab:Q\n é漢", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_a_stop_string_is_seen_at_the_token_that_completes_it(text: str, stop: list[str]) -> None:
    """Also where one character is several tokens, and whatever came before."""
    tokenizer = byte_tokenizer()
    prompt = tokenizer("Q: a:b")["input_ids"]
    ids = tokenizer(text)["input_ids"]
    criterion = StopStrings(tokenizer, stop, len(prompt))
    for length in range(1, len(ids) + 1):
        done = bool(criterion(torch.tensor([prompt + ids[:length]]), None)[0])
        assert done == cut_at_stop(tokenizer.decode(ids[:length]), stop)[1]
        if done:
            break


def test_text_is_streamed_as_it_is_returned(lm: dola.LanguageModel) -> None:
    heard: list[str] = []
    (found,) = lm.generate("The sun", DYNAMIC, max_new_tokens=16, on_text=heard.append)
    assert "".join(heard) == found.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompts": ["a", "b"], "on_text": print}, "one prompt at a time"),
        ({"prompts": ["a", "b"], "prompt_lookup_num_tokens": 2}, "one prompt at a time"),
        ({"prompts": "a", "max_new_tokens": 0}, "max_new_tokens must be at least 1, found 0"),
        ({"prompts": "a", "temperature": 0.0}, "temperature must be above 0"),
        ({"prompts": "a", "top_p": 1.5}, r"top_p must be in \(0, 1\], found 1.5"),
        ({"prompts": "a", "stop": ["x", ""]}, "stop must be non-empty strings"),
        ({"prompts": "a", "repetition_penalty": -1.0}, "repetition_penalty must be above 0"),
        ({"prompts": "a", "seed": 2**32}, "seed must be in"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_what_was_found(
    lm: dola.LanguageModel, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(dola.StrategyError, match=words):
        lm.generate(**arguments)


def test_prompts_that_cannot_be_are_refused(lm: dola.LanguageModel) -> None:
    with pytest.raises(dola.DataError, match="prompt 2 is empty"):
        lm.generate(["a", ""])
    context = lm.model.config.max_position_embeddings
    with pytest.raises(dola.DataError, match=f"prompt 1 has {context} tokens"):
        lm.generate("a" * context)
    with pytest.raises(
        dola.DataError, match=f"{context + 1} tokens, and the model's context holds {context}"
    ):
        lm.trace("a" * (context + 1), DYNAMIC)
    with pytest.raises(dola.DataError, match="nothing to trace"):
        lm.trace("a", DYNAMIC)
    with pytest.raises(dola.ModelError, match="no chat template"):
        lm.chat_prompt([{"role": "user", "content": "hello"}])
    assert lm.generate([]) == []


def test_a_beginning_of_sequence_is_never_doubled_by_a_chat_template() -> None:
    lm = tiny_language_model()
    lm.tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    plain = lm.chat_prompt([{"role": "user", "content": "hello"}])
    assert plain == "<s>hello"  # this tokenizer adds none by itself

    from tokenizers.processors import TemplateProcessing

    begin = lm.tokenizer.bos_token_id
    lm.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", begin)]
    )
    ids = lm.tokenizer(lm.chat_prompt([{"role": "user", "content": "hello"}]))["input_ids"]
    assert ids.count(begin) == 1


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_trace_explains_every_token_of_the_text_after_the_first(
    lm: dola.LanguageModel, strategy: dola.Strategy
) -> None:
    text = "The sun rises"
    trace = lm.trace(text, strategy, top_k=3)
    ids = lm.tokenizer(text)["input_ids"]
    assert [token.token_id for token in trace.tokens] == ids[1:]
    assert "".join(token.token for token in trace.tokens) == text[1:]
    own = resolved(strategy, lm.depth.num_layers)
    for token in trace.tokens:
        assert set(token.top) == {read.exits[0].layer for read in own.reads}
        assert all(len(best) == 3 for best in token.top.values())
        if strategy is DYNAMIC:
            assert set(token.divergence) == set(own.candidates)
            assert token.divergence[token.premature_layer] == max(token.divergence.values())
    assert len(lm.trace(text, strategy, prompt_length=5).tokens) == len(ids) - 5


def test_nothing_but_the_end_of_sequence_is_taken_from_the_models_own_defaults() -> None:
    lm = tiny_language_model()
    plain = lm.generate("The sun", DYNAMIC, max_new_tokens=6)[0]
    drawn = lm.generate("The sun", DYNAMIC, max_new_tokens=6, do_sample=True, seed=1)[0]
    own = lm.model.generation_config
    own.suppress_tokens = [plain.token_ids[0]]
    own.guidance_scale = 2.0
    own.min_p = 0.9
    own.num_return_sequences = 2
    assert lm.generate("The sun", DYNAMIC, max_new_tokens=6)[0] == plain
    assert lm.generate("The sun", DYNAMIC, max_new_tokens=6, do_sample=True, seed=1)[0] == drawn
    assert lm.model.generation_config is own
    lm.model.generation_config = None
    assert lm.generate("The sun", DYNAMIC, max_new_tokens=6)[0] == plain


def test_a_tokenizer_without_padding_serves_a_batch() -> None:
    with_padding = tiny_language_model()
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = None
    without = dola.LanguageModel(with_padding.model, tokenizer)
    expected = [each.token_ids for each in with_padding.generate(PROMPTS, DYNAMIC, max_new_tokens=4)]
    assert [each.token_ids for each in without.generate(PROMPTS, DYNAMIC, max_new_tokens=4)] == expected


def test_one_stop_string_may_stand_alone(lm: dola.LanguageModel) -> None:
    text = lm.generate("The sun", max_new_tokens=12)[0].text
    stop = text[4:6]
    assert lm.generate("The sun", max_new_tokens=12, stop=stop) == lm.generate(
        "The sun", max_new_tokens=12, stop=[stop]
    )


def test_a_model_with_a_strategy_attached_is_not_decoded_as_vanilla(lm: dola.LanguageModel) -> None:
    with dola.attach(lm.model, DYNAMIC), pytest.raises(dola.ModelError, match="attached already"):
        lm.generate("The sun")


@pytest.mark.parametrize("lookup", [None, 2])
def test_layers_are_recorded_right_where_a_model_gives_the_logits_of_the_whole_prompt(
    monkeypatch: pytest.MonkeyPatch, lookup: int | None
) -> None:
    lm = tiny_language_model()
    prompts = ["abc abc abc", "The sun", "so it is, so it is"]

    def layers() -> list[tuple[int, ...] | None]:
        return [
            lm.generate(prompt, DYNAMIC, max_new_tokens=6, prompt_lookup_num_tokens=lookup)[
                0
            ].premature_layers
            for prompt in prompts
        ]

    expected = layers()
    host = lm.model.forward

    def forward(  # no logits_to_keep, so the host asks for all and takes the last
        input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None, **_
    ):
        return host(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
        )

    monkeypatch.setattr(lm.model, "forward", forward)
    assert layers() == expected


def test_text_is_streamed_with_the_spaces_that_it_is_returned_with() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.clean_up_tokenization_spaces = True
    tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    heard: list[str] = []
    streamer = CallbackStreamer(tokenizer, heard.append, ())
    streamer.put(torch.tensor([[0]]))  # the prompt
    for token in tokenizer("Well , it is n't .")["input_ids"]:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert "".join(heard) == "Well , it is n't ."


def test_a_chat_template_that_refuses_a_role_is_the_models_error() -> None:
    lm = tiny_language_model()
    lm.tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(dola.ModelError, match="System role not supported"):
        lm.chat_prompt([{"role": "system", "content": "be brief"}])
