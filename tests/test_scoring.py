"""Log-likelihoods do not depend on how they are computed: batches, order, sharing, memory, strategies."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from dola import LanguageModel
from dola.errors import DataError, StrategyError
from dola.models.projection import HeadProjection
from dola.models.trunk import TappedTrunk
from dola.scoring import queries
from dola.scoring.result import Scored
from dola.strategies import DoLa, DoLaStatic, Vanilla
from slow_scoring import STRATEGIES, expected
from tiny_language_model import tiny_language_model
from tiny_models import tiny_model

Requests = Sequence[tuple[str, Sequence[str]]]

SHOTS = "Q: one? A: two. Q: red? A: blue. Q: "
REQUESTS: Requests = [
    (SHOTS + "up? A:", [" down.", " down", " up.", " d", " down.", " sideways, or up."]),
    (SHOTS + "us? A:", [" them."]),
    (SHOTS + "left? A:", [" right.", " left of the middle.", " lefter."]),
]


@functools.cache
def language_model(model_type: str = "llama") -> LanguageModel:
    return tiny_language_model(model_type)


def three_questions(what: str = "them") -> Requests:
    """Each is worth a pass of its own, as it has many answers."""
    answers = [f" {letter}{letter}" for letter in "abcdefgh"]
    return [(SHOTS + f"which {of} {what}? A:", answers) for of in ("of", "all of", "part of")]


def token_scores(scored: Scored) -> list[list[tuple[float, ...]]]:
    return [[each.token_scores for each in row] for row in scored.by_strategy]


def assert_same(ours: list[Scored], theirs: list[Scored]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        for row, other_row in zip(token_scores(one), token_scores(other), strict=True):
            for scores, other_scores in zip(row, other_row, strict=True):
                np.testing.assert_allclose(scores, other_scores, atol=1e-4)


@functools.cache
def one_by_one(model_type: str = "llama") -> list[Scored]:
    lm = language_model(model_type)
    return [lm.loglikelihood([request], STRATEGIES)[0] for request in REQUESTS]


TEXT = st.text("abc ", min_size=1, max_size=8)

# Branches are one row for the first, and rows of a batch for the second, whose attention goes by columns.
BOTH_WAYS = pytest.mark.parametrize("model_type", ["llama", "bloom"])


@BOTH_WAYS
@settings(max_examples=25)
@given(
    beginning=st.text("ab", max_size=20),
    rest=st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=5)), min_size=1, max_size=4),
    batch_tokens=st.integers(1, 64),
)
def test_any_requests_score_as_one_full_forward_pass_a_text(
    model_type, beginning, rest, batch_tokens
) -> None:
    lm = language_model(model_type)
    requests = [(beginning + prompt, continuations) for prompt, continuations in rest]
    found = lm.loglikelihood(requests, STRATEGIES, batch_tokens=batch_tokens)
    for (prompt, continuations), scored in zip(requests, found, strict=True):
        start = len(lm.tokenizer(prompt)["input_ids"])
        for number, continuation in enumerate(continuations):
            ids = lm.tokenizer(prompt + continuation)["input_ids"]
            for row, theirs in zip(token_scores(scored), expected(lm.model, ids, start), strict=True):
                np.testing.assert_allclose(row[number], theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "bloom", "gemma3_text", "mamba"])
@pytest.mark.parametrize("batch_tokens", [1, 7, 30, 1000])
def test_the_batch_size_changes_no_score(model_type: str, batch_tokens: int) -> None:
    found = language_model(model_type).loglikelihood(REQUESTS, STRATEGIES, batch_tokens=batch_tokens)
    assert_same(found, one_by_one(model_type))


def test_a_model_that_rotates_by_length_reads_every_text_as_if_it_were_alone() -> None:
    """The longest text is past the context that the model was trained with, its neighbours are not."""
    dimensions = 4  # half of a head's
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 32,
        "short_factor": [1.0] * dimensions,
        "long_factor": [4.0] * dimensions,
        "factor": 4.0,
    }
    lm = tiny_language_model("llama", rope_parameters=rope)
    prompt = "Q: which of all these is it?"  # 28 tokens, a letter each
    continuations = [" one", " on", " ones", " one of the first"]  # in all 32, 31, 33 and 45
    (found,) = lm.loglikelihood([(prompt, continuations)], STRATEGIES)
    for number, continuation in enumerate(continuations):
        ids = lm.tokenizer(prompt + continuation)["input_ids"]
        for row, theirs in zip(token_scores(found), expected(lm.model, ids, len(prompt)), strict=True):
            np.testing.assert_allclose(row[number], theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_changes_no_score(seed: int) -> None:
    order = random.Random(seed).sample(range(len(REQUESTS)), len(REQUESTS))
    found = language_model().loglikelihood([REQUESTS[at] for at in order], STRATEGIES, batch_tokens=10)
    assert_same(found, [one_by_one()[at] for at in order])


@pytest.mark.parametrize("strategy", range(len(STRATEGIES)))
def test_other_strategies_in_the_pass_change_no_score(strategy: int) -> None:
    found = language_model().loglikelihood(REQUESTS, [STRATEGIES[strategy]])
    for alone, together in zip(found, one_by_one(), strict=True):
        for one, other in zip(alone.by_strategy[0], together.by_strategy[strategy], strict=True):
            np.testing.assert_allclose(one.token_scores, other.token_scores, atol=1e-4)
            assert one.premature_layers == other.premature_layers


def test_results_come_with_their_index_as_windows_are_done() -> None:
    found = dict(language_model().iter_loglikelihood(REQUESTS, [Vanilla()], batch_tokens=1))
    assert sorted(found) == [0, 1, 2]


def test_a_score_is_the_sum_of_its_tokens() -> None:
    for scored in one_by_one():
        for each in (each for row in scored.by_strategy for each in row):
            assert each.score == pytest.approx(sum(each.token_scores))
            assert each.tokens == len(each.token_scores)


def test_layers_are_told_by_number_and_only_where_something_is_contrasted() -> None:
    (scored,) = language_model().loglikelihood([REQUESTS[0]], [Vanilla(), DoLaStatic(1), DoLa((2, 3))])
    vanilla, static, dynamic = (row[0].premature_layers for row in scored.by_strategy)
    assert vanilla is None
    assert static == (1,) * 6
    assert dynamic is not None
    assert set(dynamic) <= {2, 3}


class Passes:
    """Counts the tokens of every pass, and fails, as a full memory would, where there are too many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 10**9) -> None:
        self.count = 0
        self.texts: list[str] = []
        forward = TappedTrunk._forward

        def counted(trunk: TappedTrunk, ids: torch.Tensor, cache: object, tree: object = None):
            if ids.numel() > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            self.count += 1
            self.texts += [language_model().tokenizer.decode(row) for row in ids]
            return forward(trunk, ids, cache, tree)

        monkeypatch.setattr(TappedTrunk, "_forward", counted)


@BOTH_WAYS
@pytest.mark.parametrize("batch_tokens", [1000, 40])
def test_what_all_texts_share_is_read_once(
    monkeypatch: pytest.MonkeyPatch, model_type: str, batch_tokens: int
) -> None:
    passes = Passes(monkeypatch)
    language_model(model_type).loglikelihood(REQUESTS, [Vanilla()], batch_tokens=batch_tokens)
    assert sum(text.count("Q: red? A: bl") for text in passes.texts) == 1


@BOTH_WAYS
def test_a_question_is_read_once_when_that_pays(monkeypatch: pytest.MonkeyPatch, model_type: str) -> None:
    passes = Passes(monkeypatch)
    answers = [f" {letter}{letter}" for letter in "abcdefgh"]
    questions = [SHOTS + "which of them? A:", SHOTS + "what sort of thing? A:"]
    language_model(model_type).loglikelihood([(question, answers) for question in questions], [Vanilla()])
    assert sum(text.count("of them") for text in passes.texts) == 1
    assert sum(text.count("sort of") for text in passes.texts) == 1


def test_questions_and_answers_are_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Passes(monkeypatch)
    language_model().loglikelihood(three_questions(), [Vanilla()])
    assert passes.count == 2  # what all share, and the rest
    assert passes.texts[1] == "".join(f"{of} them? A: abcdefgh" for of in ("of", "all of", "part of"))


def test_a_question_too_large_for_one_pass_is_read_before_its_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes = Passes(monkeypatch)
    requests = three_questions("them all, and why")
    found = language_model().loglikelihood(requests, STRATEGIES, batch_tokens=30)
    assert max(map(len, passes.texts)) <= 30
    assert passes.texts[passes.texts.index("all of them all, and why? A: ") + 1] == "abcdefgh"
    assert_same(found, [language_model().loglikelihood([request], STRATEGIES)[0] for request in requests])


@BOTH_WAYS
@pytest.mark.parametrize("most", [30, 12, 1])
def test_a_full_memory_halves_the_passes_and_changes_no_score(
    monkeypatch: pytest.MonkeyPatch, model_type: str, most: int
) -> None:
    theirs = one_by_one(model_type)
    Passes(monkeypatch, most)
    assert_same(language_model(model_type).loglikelihood(REQUESTS, STRATEGIES), theirs)


def test_a_memory_that_holds_not_even_one_token_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Passes(monkeypatch, 0)
    with pytest.raises(torch.OutOfMemoryError):
        language_model().loglikelihood(REQUESTS, STRATEGIES)


def counting_projection(monkeypatch: pytest.MonkeyPatch, most: int = 10**9) -> list[int]:
    rows: list[int] = []
    project = HeadProjection.__call__

    def counted(head: HeadProjection, hidden: torch.Tensor) -> torch.Tensor:
        if hidden.shape[0] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        rows.append(hidden.shape[0])
        return project(head, hidden)

    monkeypatch.setattr(HeadProjection, "__call__", counted)
    return rows


def test_a_full_memory_halves_the_head_too(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = one_by_one()
    counting_projection(monkeypatch, most=20)
    assert_same(language_model().loglikelihood(REQUESTS, STRATEGIES), theirs)


@BOTH_WAYS
def test_a_subtree_may_begin_with_places_that_nobody_asks(model_type: str) -> None:
    """Two subjects, several questions on each: nothing is asked before a question's end."""
    answers = [f" {letter}{letter}" for letter in "abcdefgh"]
    subjects = ("of the sea and its many fish", "by night the stars are bright")
    asked = [f"{subject}, {word}? A:" for subject in subjects for word in ("how", "why", "may it be")]
    requests = [(SHOTS + question, answers) for question in asked]
    lm = language_model(model_type)
    assert_same(
        lm.loglikelihood(requests, STRATEGIES),
        [lm.loglikelihood([request], STRATEGIES)[0] for request in requests],
    )


@pytest.mark.parametrize("failures", [1, 4, 5])
def test_what_waits_for_a_full_head_is_answered_in_the_end(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    requests = three_questions()
    theirs = language_model().loglikelihood(requests, STRATEGIES)
    monkeypatch.setattr(queries, "_GATHERED", 8)  # so that the trunk's passes go on meanwhile
    left = [failures]
    project = HeadProjection.__call__

    def failing(head: HeadProjection, hidden: torch.Tensor) -> torch.Tensor:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return project(head, hidden)

    monkeypatch.setattr(HeadProjection, "__call__", failing)
    assert_same(language_model().loglikelihood(requests, STRATEGIES), theirs)
    assert left == [0]


def test_every_place_is_projected_once_for_all_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = counting_projection(monkeypatch)
    strategies = [Vanilla(), DoLa((0, 2)), DoLa((2, 3)), DoLa((0, 2), alpha=0.5), DoLaStatic(3)]
    language_model().loglikelihood([("one", [" two", " two", " tw"])], strategies)
    assert sum(rows) == 4 * 4  # the places before " two", the exits 0, 2, 3, 4


def test_another_error_is_not_taken_for_a_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(TappedTrunk, "_forward", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        language_model().loglikelihood(REQUESTS, [Vanilla()])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (("", [" a"]), "request 1: the prompt is empty"),
        (("a", [" b", ""]), "request 1, continuation 2: no token is left"),
        (("a" * 120, [" long enough"]), "132 tokens, and the model's context holds 128"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_the_first_pass(request_, message: str) -> None:
    with pytest.raises(DataError, match=message):
        language_model().iter_loglikelihood([request_], [Vanilla()])


def test_no_strategy_is_refused() -> None:
    with pytest.raises(StrategyError, match="no strategy"):
        language_model().loglikelihood(REQUESTS, [])


def test_a_long_text_is_cut_on_the_left_and_the_cut_is_counted() -> None:
    lm = language_model()
    prompt = "".join(chr(ord("a") + at % 26) for at in range(120))
    (cut,) = lm.loglikelihood([(prompt, [" yes", " certainly not"])], [Vanilla()], truncate=True)
    assert cut.truncated == 120 + 14 - 128
    (same,) = lm.loglikelihood([(prompt[cut.truncated :], [" yes", " certainly not"])], [Vanilla()])
    assert_same([cut], [same])
    assert same.truncated == 0


def test_a_continuation_is_never_cut() -> None:
    with pytest.raises(DataError, match="never cut"):
        language_model().loglikelihood([("a", ["b" * 128])], [Vanilla()], truncate=True)


def merging_tokenizer() -> PreTrainedTokenizerFast:
    vocab = {name: at for at, name in enumerate(["<s>", "a", "b", "c", "d", "ab"])}
    plain = Tokenizer(models.BPE(vocab=vocab, merges=[("a", "b")]))
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>")


def test_a_seam_that_merges_is_scored_after_the_prompts_count_and_told() -> None:
    lm = LanguageModel(tiny_model("llama", vocab_size=8), merging_tokenizer())
    (scored,) = lm.loglikelihood([("ca", ["bdc", "dc"])], STRATEGIES)
    assert scored.prompt_is_prefix == (False, True)
    for row, theirs in zip(scored.by_strategy, expected(lm.model, [3, 5, 4, 3], 2), strict=True):
        np.testing.assert_allclose(row[0].token_scores, theirs, atol=1e-4, rtol=1e-5)


def test_a_seam_that_merges_the_whole_continuation_leaves_nothing_to_score() -> None:
    lm = LanguageModel(tiny_model("llama", vocab_size=8), merging_tokenizer())
    with pytest.raises(DataError, match="no token is left"):
        lm.loglikelihood([("ca", ["b"])], [Vanilla()])


def test_a_beginning_of_sequence_is_kept_when_the_text_is_cut() -> None:
    lm = LanguageModel(tiny_model("llama", vocab_size=8), merging_tokenizer())
    (cut,) = lm.loglikelihood([("<s>" + "d" * 10 + "c" * 120, ["aa"])], STRATEGIES, truncate=True)
    assert cut.truncated == 5
    ids = [0] + [4] * 5 + [3] * 120 + [1, 1]
    for row, theirs in zip(cut.by_strategy, expected(lm.model, ids, 126), strict=True):
        np.testing.assert_allclose(row[0].token_scores, theirs, atol=1e-4, rtol=1e-5)
