"""`LanguageModel.iter_generate`: in batches, every prompt is continued as if alone."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import dola
from dola import DoLa, DoLaStatic, Generation, LanguageModel, Strategy, Vanilla
from dola.hosts.transformers import batches
from dola.hosts.transformers.penalty import RowPenalty
from dola.hosts.transformers.stopping import cut_at_stop
from dola.models.capabilities import Capabilities
from tiny_models import TINY, VOCAB_SIZE, tiny_model

LETTERS = [chr(code) for code in range(ord("!"), ord("!") + VOCAB_SIZE - 3)]
SHOTS = "".join(random.Random(1).choices(LETTERS, k=16))
PROMPTS = [SHOTS + rest for rest in ("?:abc", "Who,then?", "a", "a", "Several:1+2+3+4=", "why")]
DYNAMIC = DoLa((0, 1, 2))
STRATEGIES = pytest.mark.parametrize("strategy", [Vanilla(), DoLaStatic(1), DYNAMIC], ids=str)
DYNAMIC_ROTATION = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}


def letter_tokenizer() -> PreTrainedTokenizerFast:
    """Every token a letter, but for the three that the tiny models take for padding, begin and end."""
    names = ["<pad>", "<s>", "</s>", *LETTERS]
    plain = Tokenizer(models.BPE(vocab={name: at for at, name in enumerate(names)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def tiny(model_type: str = "llama", **changes: Any) -> LanguageModel:
    return LanguageModel(tiny_model(model_type, **changes), letter_tokenizer())


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny()


def many(lm: LanguageModel, prompts: list[str], strategy: Strategy, **settings: Any) -> list[Generation]:
    found = dict(lm.iter_generate(prompts, strategy, **settings))
    assert sorted(found) == list(range(len(prompts)))
    return [found[index] for index in range(len(prompts))]


def assert_as_alone(lm: LanguageModel, found: list[Generation], strategy: Strategy, **settings: Any) -> None:
    for each in found:
        (alone,) = lm.generate(each.prompt, strategy, **settings)
        assert each.token_ids == alone.token_ids
        assert each.premature_layers == alone.premature_layers
        assert each.scores == pytest.approx(alone.scores, abs=1e-4)
        assert (each.text, each.raw_text) == (alone.text, alone.raw_text)
        assert (each.finish_reason, each.prompt_tokens) == (alone.finish_reason, alone.prompt_tokens)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the host was called with for each batch: rows, columns, and how many of them the cache had."""
    seen: list[dict[str, Any]] = []
    original = batches.generate_batch

    def noted(model: Any, tokenizer: Any, rows: Any, *args: Any, prefix: Any = None) -> Any:
        lengths = [len(row.ids) for row in rows]
        seen.append({"lengths": lengths, "shared": 0 if prefix is None else prefix.length})
        return original(model, tokenizer, rows, *args, prefix=prefix)

    monkeypatch.setattr(batches, "generate_batch", noted)
    return seen


@pytest.mark.parametrize("name", sorted(TINY))
def test_in_every_architecture_each_prompt_is_continued_as_if_alone(name: str) -> None:
    lm = tiny(name)
    settings = {"max_new_tokens": 4, "repetition_penalty": 1.2}
    found = many(lm, PROMPTS[1:5], DYNAMIC, batch_size=3, **settings)
    assert_as_alone(lm, found, DYNAMIC, **settings)


@STRATEGIES
@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "gemma3_text", "mamba"])
@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.2}, {"num_beams": 2}], ids=str)
def test_every_way_to_decode_is_the_same_in_batches(
    name: str, strategy: Strategy, settings: dict[str, Any]
) -> None:
    lm = tiny(name)
    found = many(lm, PROMPTS[:5], strategy, batch_size=3, max_new_tokens=7, **settings)
    assert_as_alone(lm, found, strategy, max_new_tokens=7, **settings)


@pytest.mark.parametrize("window", [3, 8, 19])
@pytest.mark.parametrize(
    "name", ["gemma2", "gemma3_text", "mistral", "cohere2", "gpt_oss", "gpt_neo", "llama4_text"]
)
def test_a_window_shorter_than_the_shared_text_changes_nothing(
    name: str, window: int, passes: list[dict[str, Any]]
) -> None:
    keys = {"gpt_neo": "window_size", "llama4_text": "attention_chunk_size"}
    lm = tiny(name, **{keys.get(name, "sliding_window"): window})
    found = many(lm, PROMPTS, Vanilla(), batch_size=4, max_new_tokens=6)
    assert_as_alone(lm, found, Vanilla(), max_new_tokens=6)
    assert {each["shared"] for each in passes} == {len(SHOTS)}


def test_falcons_biases_by_position_change_nothing(passes: list[dict[str, Any]]) -> None:
    lm = tiny("falcon", alibi=True, new_decoder_architecture=False)
    found = many(lm, PROMPTS, DYNAMIC, batch_size=4, max_new_tokens=6)
    assert_as_alone(lm, found, DYNAMIC, max_new_tokens=6)
    assert {each["shared"] for each in passes} == {len(SHOTS)}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("recurrent_gemma", {}),
        ("llama", {"rope_parameters": DYNAMIC_ROTATION, "max_position_embeddings": 48}),
    ],
)
def test_where_padding_would_change_a_row_only_equally_long_ones_share_a_batch(
    name: str, changes: dict[str, Any], passes: list[dict[str, Any]]
) -> None:
    lm = tiny(name, **changes)
    assert not Capabilities.of(lm.model).pads
    found = many(lm, PROMPTS, Vanilla(), batch_size=8, max_new_tokens=6)
    assert_as_alone(lm, found, Vanilla(), max_new_tokens=6)
    assert [len(set(each["lengths"])) for each in passes] == [1] * 5
    assert max(len(each["lengths"]) for each in passes) == 2
    assert {each["shared"] for each in passes} == {0}
    for each, alone in zip(lm.generate(PROMPTS, max_new_tokens=6), found, strict=True):
        assert each.token_ids == alone.token_ids


def test_of_an_unlisted_architecture_nothing_is_assumed(
    passes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny()
    monkeypatch.setattr(type(lm.model), "__module__", "elsewhere")
    found = many(lm, PROMPTS, DYNAMIC, batch_size=8, max_new_tokens=4)
    assert_as_alone(lm, found, DYNAMIC, max_new_tokens=4)
    assert {(len(set(each["lengths"])), each["shared"]) for each in passes} == {(1, 0)}


def test_what_all_prompts_begin_with_is_read_once(lm: LanguageModel) -> None:
    read: list[tuple[int, int]] = []
    hook = lm.model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: read.append(tuple(args[0].shape))
    )
    try:
        many(lm, PROMPTS, DYNAMIC, batch_size=3, max_new_tokens=1)
    finally:
        hook.remove()
    rests = sorted((len(prompt) - len(SHOTS) for prompt in PROMPTS), reverse=True)
    assert read == [(1, len(SHOTS)), (3, rests[0]), (3, rests[3])]


@pytest.mark.parametrize(
    "prompts",
    [
        [SHOTS] * 3,  # a token is left to go on from
        [SHOTS, SHOTS + "abc"],
        ["abcdefghi" + "z" * 40, "abcdefghi" + "y"],  # more padding than there is shared text
        ["abc", "abd", "q"],  # nothing shared
    ],
)
def test_however_much_is_shared_each_prompt_is_continued_as_if_alone(
    lm: LanguageModel, prompts: list[str]
) -> None:
    found = many(lm, prompts, DYNAMIC, max_new_tokens=6)
    assert_as_alone(lm, found, DYNAMIC, max_new_tokens=6)


def test_a_token_is_not_penalised_for_filling_up_a_shorter_row() -> None:
    penalty = RowPenalty(2.0, torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]))
    scores = torch.full((2, 8), 4.0)
    # Token 0 pads the first row, and is a word of the second; token 7 is new in both.
    ids = torch.tensor([[0, 0, 5, 6, 7], [0, 5, 5, 1, 7]])
    penalised = penalty(ids, scores)
    assert [set((row == 2.0).nonzero().flatten().tolist()) for row in penalised] == [{5, 6, 7}, {0, 1, 5, 7}]
    # Beams of a prompt lie side by side.
    beams = penalty(ids.repeat_interleave(3, 0), torch.full((6, 8), 4.0))
    assert torch.equal(beams, penalised.repeat_interleave(3, 0))


@STRATEGIES
def test_a_padding_token_that_a_row_would_generate_is_generated_in_every_batch(strategy: Strategy) -> None:
    """Many tokenizers pad with the end of sequence, which then must not be less probable in shorter rows."""
    lm = tiny()
    settings = {"max_new_tokens": 8, "repetition_penalty": 3.0}
    short, long = "ab", "a much longer row".replace(" ", "_")
    first = lm.generate(short, strategy, **settings)[0].token_ids[1]
    lm.tokenizer.pad_token = lm.tokenizer.convert_ids_to_tokens(first)
    (alone,) = lm.generate(short, strategy, **settings)
    assert first in alone.token_ids
    for together in (
        lm.generate([long, short], strategy, **settings)[1],
        many(lm, [long, short], strategy, **settings)[1],
    ):
        assert together.token_ids == alone.token_ids
        assert together.scores == pytest.approx(alone.scores, abs=1e-4)


@STRATEGIES
def test_stop_strings_end_every_row_where_they_end_it_alone(lm: LanguageModel, strategy: Strategy) -> None:
    plain = many(lm, PROMPTS, strategy, max_new_tokens=20)
    stop = tuple(
        {
            each.text[at : at + size]
            for at, (each, size) in enumerate(zip(plain, (3, 1, 2, 2, 4, 2), strict=True))
        }
    )
    found = many(lm, PROMPTS, strategy, max_new_tokens=20, stop=stop, batch_size=4)
    assert_as_alone(lm, found, strategy, max_new_tokens=20, stop=stop)
    for before, each in zip(plain, found, strict=True):
        assert (each.text, True) == cut_at_stop(before.text, stop)
        assert each.finish_reason == "stop"
        assert each.raw_text.startswith(each.text)
        assert any(each.raw_text.endswith(word) for word in stop)  # a letter a token: nothing comes with it
    assert len({len(each.token_ids) for each in found}) > 1  # some rows end earlier than others


def test_the_raw_text_is_that_of_the_tokens_and_keeps_the_stop_string(lm: LanguageModel) -> None:
    (plain,) = lm.generate(PROMPTS[0], max_new_tokens=12)
    assert plain.raw_text == plain.text == lm.tokenizer.decode(plain.token_ids)
    assert plain.prompt_tokens == len(PROMPTS[0])
    stop = plain.text[5:8]
    (stopped,) = lm.generate(PROMPTS[0], max_new_tokens=12, stop=stop)
    assert stopped.raw_text == stopped.text + stop


def test_rows_that_end_early_end_where_they_end_alone() -> None:
    lm = tiny()
    plain = many(lm, PROMPTS, DYNAMIC, max_new_tokens=12)
    lm.model.generation_config.eos_token_id = [plain[0].token_ids[2], plain[4].token_ids[6]]
    found = many(lm, PROMPTS, DYNAMIC, max_new_tokens=12, batch_size=4)
    assert_as_alone(lm, found, DYNAMIC, max_new_tokens=12)
    assert len({len(each.token_ids) for each in found}) > 1


def test_when_memory_runs_out_the_batch_is_halved_and_stays_so(
    monkeypatch: pytest.MonkeyPatch, lm: LanguageModel, passes: list[dict[str, Any]]
) -> None:
    original = batches.generate_batch

    def crowded(model: Any, tokenizer: Any, rows: Any, *args: Any, **kwargs: Any) -> Any:
        done = original(model, tokenizer, rows, *args, **kwargs)
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return done

    monkeypatch.setattr(batches, "generate_batch", crowded)
    found = many(lm, PROMPTS, DYNAMIC, batch_size=5, max_new_tokens=6)
    assert [len(each["lengths"]) for each in passes] == [5, 2, 2, 2]
    assert_as_alone(lm, found, DYNAMIC, max_new_tokens=6)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), RuntimeError("a fault of ours")])
def test_an_error_that_smaller_batches_cannot_mend_is_raised(
    monkeypatch: pytest.MonkeyPatch, lm: LanguageModel, error: RuntimeError
) -> None:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(batches, "generate_batch", failing)
    with pytest.raises(type(error), match=str(error)):
        many(lm, PROMPTS, DYNAMIC, batch_size=4)


def test_results_come_as_each_batch_is_done_and_leave_the_model_as_it_was(
    lm: LanguageModel, passes: list[dict[str, Any]]
) -> None:
    results = lm.iter_generate(PROMPTS, DYNAMIC, batch_size=2, max_new_tokens=3)
    assert not passes
    for number, _ in enumerate(itertools.islice(results, 5)):
        assert len(passes) == number // 2 + 1
        lm.generate("another", DoLaStatic(2), max_new_tokens=1)
    lengths = [length for each in passes for length in each["lengths"]]
    assert lengths == sorted(map(len, PROMPTS), reverse=True)


def test_what_a_batch_draws_depends_on_its_seed_and_its_prompts_alone(lm: LanguageModel) -> None:
    def sample(prompts: list[str], seed: int, batch_size: int) -> list[tuple[int, ...]]:
        settings = {"do_sample": True, "max_new_tokens": 12, "batch_size": batch_size, "seed": seed}
        return [each.token_ids for each in many(lm, prompts, DYNAMIC, **settings)]

    assert sample(PROMPTS, 1, 4) == sample(PROMPTS, 1, 4)
    assert sample(PROMPTS, 1, 4) != sample(PROMPTS, 2, 4)
    one_by_one = sample(PROMPTS, 1, 1)
    assert one_by_one[2] != one_by_one[3]  # the same prompt twice is sampled twice
    assert sample(PROMPTS[2:], 1, 1) == one_by_one[2:]  # as after an interruption


def test_prompt_lookup_goes_one_by_one(lm: LanguageModel, passes: list[dict[str, Any]]) -> None:
    prompts = ["abcabcabcabcabc", "xyxyxyxyxy"]
    found = many(lm, prompts, DYNAMIC, max_new_tokens=12, prompt_lookup_num_tokens=3)
    assert_as_alone(lm, found, DYNAMIC, max_new_tokens=12)
    assert [len(each["lengths"]) for each in passes] == [1, 1]


def test_what_cannot_be_is_refused_before_the_first_batch(lm: LanguageModel) -> None:
    with pytest.raises(dola.StrategyError, match="batch_size must be at least 1, found 0"):
        lm.iter_generate(PROMPTS, batch_size=0)
    with pytest.raises(dola.StrategyError, match="no beams"):
        lm.iter_generate(PROMPTS, num_beams=2, prompt_lookup_num_tokens=2)
    with pytest.raises(dola.DataError, match="prompt 2 is empty"):
        lm.iter_generate(["a", ""])
    with pytest.raises(dola.DataError, match="context holds 128"):
        lm.iter_generate(["a" * 100], max_new_tokens=40)
    with pytest.raises(dola.LayerError):
        lm.iter_generate(PROMPTS, DoLa((0, 9)))
    with dola.attach(lm.model, DYNAMIC), pytest.raises(dola.ModelError, match="attached already"):
        lm.iter_generate(PROMPTS)
    assert list(lm.iter_generate([])) == []
