"""A prompt is a text, token ids or a conversation; a strategy may be said by name; else it is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dola
from dola.language_model import LanguageModel
from tiny_language_model import byte_tokenizer, tiny_language_model
from tiny_models import tiny_model

HELLO = [{"role": "user", "content": "Hello"}]
TEMPLATE = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    lm = tiny_language_model()
    lm.tokenizer.chat_template = TEMPLATE
    return lm


def ids(lm: LanguageModel, text: str) -> list[int]:
    return lm.tokenizer(text)["input_ids"]


def test_a_prompt_in_any_form_is_continued_as_its_text_is(lm: LanguageModel) -> None:
    (expected,) = lm.generate("Hello", "low", max_new_tokens=5)
    token_ids = ids(lm, "Hello")
    forms = [token_ids, tuple(token_ids), torch.tensor(token_ids), torch.tensor([token_ids])]
    for form in forms:
        assert lm.generate(form, "low", max_new_tokens=5) == [expected]
        both = lm.generate([form, "Hello"], "low", max_new_tokens=5)
        assert [each.token_ids for each in both] == [expected.token_ids] * 2
        assert dict(lm.iter_generate(form, "low", max_new_tokens=5)) == {0: expected}
    assert dict(lm.iter_generate("Hello", "low", max_new_tokens=5)) == {0: expected}


def test_a_conversation_is_continued_as_its_template_writes_it(lm: LanguageModel) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}]
    (expected,) = lm.generate(lm.chat_prompt(HELLO), max_new_tokens=5)
    assert expected.prompt == "user:Hello;"
    assert lm.generate(HELLO, max_new_tokens=5) == [expected]
    assert lm.generate(parts, max_new_tokens=5) == [expected]
    (plain,) = lm.generate("a", max_new_tokens=5)
    found = lm.generate([HELLO, "a", ids(lm, "a"), parts], max_new_tokens=5)
    assert [each.token_ids for each in found] == [
        each.token_ids for each in (expected, plain, plain, expected)
    ]


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({"input_ids": [1]}, "prompts is a dictionary .input_ids.: expected a text"),
        (torch.ones(2, 3, dtype=torch.long), "tensor of 2 rows, whose padding"),
        (torch.ones(3), "prompt 1 is tensor"),
        (7, "prompts is 7"),
        (b"bytes", "prompts is b'bytes'"),
        (None, "prompts is None"),
        (["a", None], "prompt 2 is None"),
        (["a", 1.5], "prompt 2 is 1.5"),
        ([1, "a"], "prompt 1 is 1"),
        ([[]], "prompt 1 is empty"),
        ([{"role": "user"}], "prompt 1, message 1: expected 'role' and 'content', found role"),
        ([HELLO, [*HELLO, {"content": "x"}]], "prompt 2, message 2: expected 'role'"),
        ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "holds 'image': only text"),
        ([{"role": "user", "content": 3}], "the content must be text, found 3"),
    ],
    ids=str,
)
def test_what_is_no_prompt_is_told_in_one_line(lm: LanguageModel, prompts: Any, words: str) -> None:
    for call in (lm.generate, lm.iter_generate):
        with pytest.raises(dola.DataError, match=words) as refused:
            call(prompts)
        assert "\n" not in str(refused.value)


def test_a_token_that_the_model_lacks_is_no_prompt(lm: LanguageModel) -> None:
    with pytest.raises(dola.ModelError, match="token 999"):
        lm.generate([1, 999])


@pytest.mark.parametrize("text", ["low", "-1", "1,-1", "sled:0,1,2,-1", "low:alpha=0.3"])
def test_a_strategys_text_stands_for_it_in_every_call(lm: LanguageModel, text: str) -> None:
    strategy = dola.parse_strategy(text)
    requests = [("a", ["b", "cd"])]
    assert lm.generate("why", text, max_new_tokens=3) == lm.generate("why", strategy, max_new_tokens=3)
    assert lm.loglikelihood(requests, text) == lm.loglikelihood(requests, [strategy])
    assert lm.loglikelihood(requests, ["-1", text]) == lm.loglikelihood(requests, [dola.Vanilla(), strategy])
    assert lm.loglikelihood(requests, strategy) == lm.loglikelihood(requests, [strategy])
    assert lm.trace("why", text) == lm.trace("why", strategy)
    with dola.attach(lm.model, text) as attachment:
        named = str(attachment.strategy)
    with dola.attach(lm.model, strategy) as attachment:
        assert str(attachment.strategy) == named
    with dola.attach(lm.model, ["-1", text]) as attachment:
        assert len(attachment.resolved) == 2


def test_of_a_misspelt_strategy_the_nearest_is_said_in_every_call(lm: LanguageModel) -> None:
    calls = [
        lambda: lm.generate("a", "hihg"),
        lambda: lm.iter_generate(["a"], "hihg"),
        lambda: lm.loglikelihood([("a", ["b"])], "hihg"),
        lambda: lm.trace("why", "hihg"),
        lambda: dola.attach(lm.model, "hihg"),
        lambda: dola.attach(lm.model, ["low", "hihg"]),
    ]
    for call in calls:
        with pytest.raises(dola.StrategyError, match=r"unknown strategy 'hihg'.*Did you mean 'high'"):
            call()
    with pytest.raises(dola.StrategyError, match=r"expected a strategy, as in dola.DoLa.'high'. or 'high'"):
        lm.generate("a", 7)


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([("a", "bcd")], "request 1: its continuations are 'bcd'.*one alone is a list of one"),
        ({"a": ["b"]}, "requests: expected a list"),
        ("ab", "requests: expected a list"),
        (["ab"], "request 1: expected"),
        ([("a", ["b"]), ("a", [3])], "request 2, continuation 1"),
        ([(3, ["b"])], "request 1: expected"),
        ([("a", {"b": 1})], "its continuations are"),
    ],
    ids=str,
)
def test_what_is_no_request_is_told_in_one_line(lm: LanguageModel, requests: Any, words: str) -> None:
    with pytest.raises(dola.DataError, match=words):
        lm.loglikelihood(requests, "low")


def test_a_tokenizer_of_another_vocabulary_is_refused() -> None:
    for vocabulary in (120, 500):
        model = tiny_model("llama", vocab_size=vocabulary)
        with pytest.raises(dola.ModelError, match=f"259 tokens, and the model embeddings for {vocabulary}"):
            LanguageModel(model, byte_tokenizer())
    LanguageModel(tiny_model("llama", vocab_size=320), byte_tokenizer())  # some more, so that it divides well
