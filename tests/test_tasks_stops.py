"""Where a completion ends: where a question begins; and how far the released rule reads it."""

from __future__ import annotations

import re

import pytest

import dola
from dola.errors import StrategyError
from dola.hosts.transformers.stopping import cut_at_stop
from dola.tasks.gsm8k_answer import answer, released_answer
from dola.tasks.presets import PRESETS
from dola.tasks.released_text import without_stop_words
from dola.tasks.stops import STOPS, released_raw
from tiny_language_model import tiny_language_model

QUESTION = ("gsm8k", "strqa", "tfqa")


@pytest.mark.parametrize("task", QUESTION)
@pytest.mark.parametrize(
    "chance", ["IQ: 70.", "See the FAQ: it", "An (aside, Q: none) goes on", "P&Q: two", "the q: no", "EQ:1"]
)
def test_a_stop_text_within_a_line_ends_nothing(task: str, chance: str) -> None:
    text = f" Dan has {chance} The answer is 100."
    assert cut_at_stop(text, STOPS[task]) == (text, False)


@pytest.mark.parametrize("task", QUESTION)
@pytest.mark.parametrize("begins", ["\n\nQ:", "\nQ:", "\n  Q:", "\n**Q:**", "\n> Q:", " Q:", "\r\nQ:"])
def test_a_new_question_ends_it(task: str, begins: str) -> None:
    text, stopped = cut_at_stop(f"IQ: 70. The answer is 100.{begins} How many?", STOPS[task])
    assert stopped
    assert text.strip() == "IQ: 70. The answer is 100."


def test_a_question_at_the_very_start_leaves_nothing() -> None:
    assert cut_at_stop(" Q: How many?", STOPS["gsm8k"])[0] == ""


def test_a_heading_that_asks_nothing_ends_no_reasoning() -> None:
    for text in ("Ice is cold.\n\n## Answer\nno", "It is.\n\n#### yes", "One.\n\n### Quiet"):
        assert cut_at_stop(text, STOPS["strqa"]) == (text, False)
    assert cut_at_stop("No.\n\n## Question 2", STOPS["strqa"]) == ("No.", True)


def test_a_turn_of_the_user_ends_an_answer_and_a_quoted_one_does_not() -> None:
    stop = STOPS["vicuna"]
    for text in ("Split at `### Human:` marks.", "#### Human: a heading", 'The mark is "### Human:"'):
        assert cut_at_stop(text, stop) == (text, False)
    for text in ("Rain falls.### Human: more", "Rain falls.\n### Human:"):
        assert cut_at_stop(text, stop)[0].strip() == "Rain falls."


@pytest.mark.parametrize("task", STOPS)
def test_a_completion_never_ends_before_a_stop_word_of_the_script(task: str) -> None:
    for stop in STOPS[task]:
        for text in ("a.\n\nQ: b", "a\n\\end{code}", "a.\n\n## Question", "a\n### Human: b", "Q:"):
            found = stop.search(text)
            words = [text.find(word) + len(word) for word in PRESETS[task].stop_words if word in text]
            assert found is None or min(words) <= found.end() + 2


def test_the_released_rule_reads_as_far_as_its_script_went() -> None:
    raw = " IQ: 70 + 30 = 100. The answer is 100.\n\nQ:"
    text, _ = cut_at_stop(raw, STOPS["gsm8k"])
    assert answer(text) == "100"
    assert released_raw("gsm8k", raw, text) == " IQ:"
    assert released_answer(released_raw("gsm8k", raw, text)) is None
    assert without_stop_words("tfqa", raw, text) == "I"
    # By no chance: all that was decoded, what came in the same token with the stop word too.
    assert released_raw("gsm8k", "Nine.\n\nQ: 7", "Nine.\n") == "Nine.\n\nQ: 7"


def test_a_pattern_ends_each_row_where_it_says_and_no_sooner() -> None:
    lm = tiny_language_model()
    prompts = ["The sky is", "One two"]
    whole = lm.generate(prompts, max_new_tokens=12)
    half = [each.raw_text[: len(each.raw_text) // 2] for each in whole]
    stop = [re.compile(rf"\A{re.escape(text)}(?=.)", re.DOTALL) for text in half]
    for each, made in zip(whole, lm.generate(prompts, max_new_tokens=12, stop=stop), strict=True):
        assert (made.text, made.finish_reason) == ("", "stop")
        assert each.raw_text.startswith(made.raw_text)
        assert len(made.token_ids) < len(each.token_ids)


def test_patterns_that_find_nothing_or_are_streamed_are_refused() -> None:
    lm = tiny_language_model()
    with pytest.raises(StrategyError, match="patterns that find something"):
        lm.generate("One", stop=re.compile("x*"))
    with pytest.raises(StrategyError, match="not at patterns"):
        lm.generate("One", dola.Vanilla(), stop=re.compile("x"), on_text=print)
