"""Whatever the host does with logits, it does with DoLa: every feature of `generate`, with DoLa attached.

The yardstick is a plain loop written here: run the model without anything attached, contrast the early exits
of its `hidden_states` with a strategy, take the best token, start again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

import dola
from contrasting import contrast_of, resolved
from dola import DoLa, DoLaStatic, ModelError, Strategy, StrategyError, Vanilla
from real_models import smollm2  # noqa: F401
from tiny_models import tiny_model

STRATEGY = DoLa((0, 1, 3), alpha=0.05)
PROMPT = torch.tensor([[5, 17, 42, 9, 5, 17, 42, 33, 5, 17]])
STEPS = 10
END = 2  # never generated, so that every run has as many steps
GREEDY: dict[str, Any] = {
    "max_new_tokens": STEPS,
    "do_sample": False,
    "eos_token_id": END,
    "pad_token_id": 0,
    "suppress_tokens": [END],
}


@pytest.fixture(scope="module")
def loaded() -> PreTrainedModel:
    return tiny_model("llama")


@pytest.fixture
def model(loaded: PreTrainedModel) -> Iterator[PreTrainedModel]:
    yield loaded
    assert not changed(loaded), "a test left the shared model changed"


def changed(model: PreTrainedModel) -> list[str]:
    """What of ours is left on a model: hooks, replaced methods, marks. The host leaves hooks of its own."""
    left = [name for name in vars(model) if "dola" in name]
    for name, module in model.named_modules():
        if "forward" in vars(module) or type(module).__module__.startswith("dola"):
            left.append(f"{name}: {type(module)}")
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            left += [f"{name}: {hook}" for hook in hooks.values() if hook.__module__.startswith("dola")]
    return left


def contrasted(model: PreTrainedModel, ids: Tensor, strategy: Strategy, **inputs: Any) -> Tensor:
    """Scores of the last position `[B, V]`, from nothing but the model's hidden states and its head."""
    depth = model.config.num_hidden_layers
    own = resolved(strategy, depth)
    hidden = model(ids, output_hidden_states=True, use_cache=False, **inputs).hidden_states
    exits = torch.stack([model.lm_head(hidden[read.exits[0].layer][:, -1]) for read in own.reads])
    return contrast_of(own, exits.float()).scores


@torch.no_grad()
def by_hand(model: PreTrainedModel, ids: Tensor, strategy: Strategy, penalty: float = 1.0) -> list[int]:
    """Greedy decoding as the definition has it, with no cache."""
    start = ids.shape[1]
    for _ in range(STEPS):
        scores = contrasted(model, ids, strategy)
        seen = scores.gather(1, ids)
        scores.scatter_(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))
        scores[:, END] = -torch.inf
        ids = torch.cat([ids, scores.argmax(-1, keepdim=True)], 1)
    return ids[0, start:].tolist()


def generate(model: PreTrainedModel, ids: Tensor = PROMPT, **settings: Any) -> Any:
    return model.generate(ids, attention_mask=torch.ones_like(ids), **{**GREEDY, **settings})


def new_tokens(model: PreTrainedModel, ids: Tensor = PROMPT, **settings: Any) -> list[int]:
    return generate(model, ids, **settings)[0, ids.shape[1] :].tolist()


ALL = pytest.mark.parametrize(
    "strategy",
    [
        STRATEGY,
        DoLaStatic(2),
        DoLa("high", divergence="js", post_softmax=True, early_exit_norm=False),
        DoLa((0, 2), mature_layer=3, alpha=0.3),
        Vanilla(),
    ],
    ids=str,
)


@ALL
def test_greedy_decoding_takes_the_best_contrast(model: PreTrainedModel, strategy: Strategy) -> None:
    expected = by_hand(model, PROMPT, strategy)
    with dola.attach(model, strategy):
        assert new_tokens(model) == expected


def test_the_strategies_above_are_told_apart_by_their_tokens(model: PreTrainedModel) -> None:
    outcomes = {tuple(by_hand(model, PROMPT, s)) for s in (STRATEGY, DoLaStatic(2), Vanilla())}
    assert len(outcomes) == 3


def test_early_exits_are_normed_where_asked(model: PreTrainedModel) -> None:
    with torch.no_grad():
        hidden = model(PROMPT, output_hidden_states=True).hidden_states
        exits = [model.lm_head(model.model.norm(hidden[1])), model.lm_head(hidden[-1])]
        expected = contrast_of(resolved(DoLaStatic(0), 1), torch.stack(exits)).scores
        with dola.attach(model, DoLaStatic(1, early_exit_norm=True)):
            torch.testing.assert_close(model(PROMPT).logits, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_every_position_of_a_forward_pass_is_contrasted(model: PreTrainedModel) -> None:
    expected = torch.stack([contrasted(model, PROMPT[:, : n + 1], STRATEGY) for n in range(10)], 1)
    with dola.attach(model, STRATEGY) as attachment:
        torch.testing.assert_close(model(PROMPT).logits, expected, rtol=1e-4, atol=1e-4)
        assert attachment.last.premature.shape == (1, 10)
        assert attachment.last.details["divergence"].shape == (3, 1, 10)
        for keep in (1, 3, torch.tensor([2, 5])):
            kept = expected[:, keep] if isinstance(keep, Tensor) else expected[:, -keep:]
            found = model(PROMPT, logits_to_keep=keep).logits
            torch.testing.assert_close(found, kept, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_sampling_with_a_seed_is_sampling_from_the_contrast(model: PreTrainedModel) -> None:
    settings = {"do_sample": True, "temperature": 1.7, "top_k": 20, "top_p": 0.95}

    class Contrasted(LogitsProcessor):
        """DoLa the slow way: throws the host's logits away and contrasts the whole sequence anew."""

        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            new = contrasted(model, input_ids, STRATEGY)
            new[:, END] = -torch.inf
            return new

    torch.manual_seed(7)
    expected = new_tokens(model, logits_processor=LogitsProcessorList([Contrasted()]), **settings)
    with dola.attach(model, STRATEGY):
        torch.manual_seed(7)
        assert new_tokens(model, **settings) == expected
        torch.manual_seed(8)
        assert new_tokens(model, **settings) != expected


def test_several_samples_of_one_prompt(model: PreTrainedModel) -> None:
    with dola.attach(model, STRATEGY):
        torch.manual_seed(0)
        found = generate(model, do_sample=True, num_return_sequences=4, temperature=2.0)
    assert found.shape == (4, PROMPT.shape[1] + STEPS)
    assert len({tuple(row.tolist()) for row in found}) > 1


@torch.no_grad()
def test_beam_search_finds_the_best_sum_of_normalised_scores(model: PreTrainedModel) -> None:
    """As wide as the vocabulary, two steps of beam search are an exhaustive search."""
    width = 96
    first = contrasted(model, PROMPT, STRATEGY).log_softmax(-1)[0]
    follow = torch.cat([PROMPT.expand(width, -1), torch.arange(width)[:, None]], 1)
    sums = first[:, None] + contrasted(model, follow, STRATEGY).log_softmax(-1)
    sums[END], sums[:, END] = -torch.inf, -torch.inf
    best = divmod(int(sums.argmax()), width)
    settings = {"max_new_tokens": 2, "num_beams": width, "length_penalty": 0.0}
    with dola.attach(model, STRATEGY):
        assert tuple(new_tokens(model, **settings)) == best


def test_beams_returned_side_by_side(model: PreTrainedModel) -> None:
    with dola.attach(model, STRATEGY):
        found = generate(model, num_beams=4, num_return_sequences=3)
    assert len({tuple(row.tolist()) for row in found}) == 3


def test_repetition_penalty_acts_on_the_contrast(model: PreTrainedModel) -> None:
    expected = by_hand(model, PROMPT, STRATEGY, penalty=1.5)
    assert expected != by_hand(model, PROMPT, STRATEGY)
    with dola.attach(model, STRATEGY):
        assert new_tokens(model, repetition_penalty=1.5) == expected


def test_other_logits_processors_act_on_the_contrast(model: PreTrainedModel) -> None:
    first = by_hand(model, PROMPT, STRATEGY)[0]
    with dola.attach(model, STRATEGY):
        assert first not in new_tokens(model, bad_words_ids=[[first]])
        found = new_tokens(model, no_repeat_ngram_size=1)
        assert not set(found) & set(PROMPT[0].tolist())


def test_streamers_see_every_token(model: PreTrainedModel) -> None:
    class Collect(BaseStreamer):
        def __init__(self) -> None:
            self.seen: list[int] = []
            self.ended = False

        def put(self, value: Tensor) -> None:
            self.seen += value.flatten().tolist()

        def end(self) -> None:
            self.ended = True

    streamer = Collect()
    with dola.attach(model, STRATEGY):
        found = new_tokens(model, streamer=streamer)
    assert streamer.seen == PROMPT[0].tolist() + found
    assert streamer.ended


def test_stopping_criteria_stop(model: PreTrainedModel) -> None:
    expected = by_hand(model, PROMPT, STRATEGY)

    class After3(StoppingCriteria):
        def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
            return torch.full((input_ids.shape[0],), input_ids.shape[1] >= PROMPT.shape[1] + 3)

    with dola.attach(model, STRATEGY):
        found = new_tokens(model, stopping_criteria=StoppingCriteriaList([After3()]))
        assert found == expected[:3]
        end = expected[4]
        found = new_tokens(model, eos_token_id=end)
        assert found == expected[: expected.index(end) + 1]


@pytest.mark.weights
def test_stop_strings_stop(smollm2: dola.LanguageModel) -> None:  # noqa: F811
    prompt = smollm2.tokenizer("Q: What is the capital of Italy?\nA:", return_tensors="pt")
    with dola.attach(smollm2.model, DoLa("low", early_exit_norm=False)):
        found = smollm2.model.generate(
            **prompt, max_new_tokens=20, do_sample=False, stop_strings=["city"], tokenizer=smollm2.tokenizer
        )
    assert smollm2.tokenizer.decode(found[0]).endswith(" the main city")


@pytest.mark.parametrize("cache", ["dynamic", "static", None])
def test_every_kind_of_cache_gives_the_same_tokens(model: PreTrainedModel, cache: str | None) -> None:
    expected = by_hand(model, PROMPT, STRATEGY)
    settings = {"use_cache": False} if cache is None else {"cache_implementation": cache}
    with dola.attach(model, STRATEGY):
        assert new_tokens(model, **settings) == expected


@pytest.mark.parametrize("guesses", [1, 3, 6])
@pytest.mark.parametrize("strategy", [STRATEGY, DoLaStatic(2)], ids=str)
def test_prompt_lookup_accepts_exactly_dolas_own_tokens(
    model: PreTrainedModel, strategy: Strategy, guesses: int
) -> None:
    expected = by_hand(model, PROMPT, strategy)
    with dola.attach(model, strategy):
        assert new_tokens(model, prompt_lookup_num_tokens=guesses) == expected


@pytest.mark.parametrize("seed", [0, 1])  # 0: the same weights without DoLa; 1: a model that knows nothing
def test_a_draft_models_accepted_tokens_are_exactly_dolas_own(model: PreTrainedModel, seed: int) -> None:
    expected = by_hand(model, PROMPT, STRATEGY)
    draft = tiny_model("llama", seed=seed)
    with dola.attach(model, STRATEGY):
        assert new_tokens(model, assistant_model=draft) == expected
    assert not changed(draft)


def test_output_scores_are_the_contrast(model: PreTrainedModel) -> None:
    with torch.no_grad():
        expected = contrasted(model, PROMPT, STRATEGY)
    with dola.attach(model, STRATEGY):
        found = generate(
            model, suppress_tokens=None, output_scores=True, output_logits=True, return_dict_in_generate=True
        )
    assert found.scores[0].dtype == torch.float32
    torch.testing.assert_close(found.scores[0], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits[0], expected, rtol=1e-4, atol=1e-4)
    assert (found.scores[0] < -1e4).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_in_half_precision_the_contrast_is_float32(dtype: torch.dtype) -> None:
    model = tiny_model("llama", dtype=dtype)
    with torch.no_grad():
        hidden = model(PROMPT, output_hidden_states=True).hidden_states
        # A plain head in half precision is multiplied in float32.
        weight = model.lm_head.weight.float()
        exits = torch.stack([hidden[layer].float() @ weight.T for layer in (0, 1, 3, 4)])
        expected = contrast_of(resolved(STRATEGY, 4), exits).scores
        with dola.attach(model, STRATEGY):
            found = model(PROMPT).logits
            assert len(new_tokens(model)) == STEPS
    assert found.dtype == torch.float32
    plausible = expected > -5e3  # the others lie below all of these, as far as their sum in float32 has it
    assert torch.equal(found > -5e3, plausible)
    torch.testing.assert_close(found[plausible], expected[plausible], rtol=1e-4, atol=1e-3)


def test_inputs_as_embeddings(model: PreTrainedModel) -> None:
    expected = by_hand(model, PROMPT, STRATEGY)
    embeddings = model.get_input_embeddings()(PROMPT)
    mask = torch.ones_like(PROMPT)
    with dola.attach(model, STRATEGY):
        found = model.generate(inputs_embeds=embeddings, attention_mask=mask, **GREEDY)
    assert found[0].tolist() == expected


def test_tuples_instead_of_outputs_by_name(model: PreTrainedModel) -> None:
    with dola.attach(model, STRATEGY), torch.no_grad():
        named = model(PROMPT, use_cache=False, output_hidden_states=True)
        plain = model(PROMPT, use_cache=False, output_hidden_states=True, return_dict=False)
    assert isinstance(plain, tuple)
    assert torch.equal(plain[0], named.logits)
    assert torch.equal(named["logits"], named.logits)
    assert len(plain[1]) == len(named.hidden_states) == 5


@torch.no_grad()
def test_after_detach_the_model_is_bit_for_bit_what_it_was(model: PreTrainedModel) -> None:
    before, weights = model(PROMPT).logits, copy.deepcopy(model.state_dict())
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    kinds = {name: type(module) for name, module in model.named_modules()}
    attachment = dola.attach(model, STRATEGY)
    assert not torch.equal(model(PROMPT).logits, before)
    attachment.detach()
    assert torch.equal(model(PROMPT).logits, before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert {name: type(module) for name, module in model.named_modules()} == kinds


def test_the_weights_keep_their_names_while_a_strategy_is_attached(model: PreTrainedModel) -> None:
    names = list(model.state_dict())
    with dola.attach(model, STRATEGY):
        assert list(model.state_dict()) == names


def test_a_second_strategy_is_refused_until_the_first_is_detached(model: PreTrainedModel) -> None:
    with dola.attach(model, STRATEGY) as first:
        with pytest.raises(ModelError, match="detach"):
            dola.attach(model, DoLaStatic(2))
        expected = first.strategy
        assert expected == resolved(STRATEGY, 4).strategy
        assert len(new_tokens(model)) == STEPS
    with dola.attach(model, DoLaStatic(2)):
        assert new_tokens(model) == by_hand(copy_without_dola(model), PROMPT, DoLaStatic(2))


def copy_without_dola(model: PreTrainedModel) -> PreTrainedModel:
    plain = tiny_model(model.config.model_type)
    plain.load_state_dict(model.state_dict())
    return plain


def test_detaching_twice_or_late_never_takes_anothers_strategy_off(model: PreTrainedModel) -> None:
    first = dola.attach(model, STRATEGY)
    first.detach()
    first.detach()
    with dola.attach(model, DoLaStatic(2)) as second:
        first.detach()
        assert new_tokens(model) == by_hand(copy_without_dola(model), PROMPT, DoLaStatic(2))
    second.detach()


def test_two_models_are_detached_in_any_order(model: PreTrainedModel) -> None:
    other = tiny_model("llama", seed=3)
    one, two = dola.attach(model, STRATEGY), dola.attach(other, DoLaStatic(1))
    one.detach()
    assert new_tokens(other) == by_hand(tiny_model("llama", seed=3), PROMPT, DoLaStatic(1))
    two.detach()
    assert not changed(other)


@pytest.mark.parametrize("where", ["processor", "block", "head"])
def test_an_exception_inside_generate_leaves_the_model_as_it_was(model: PreTrainedModel, where: str) -> None:
    expected = new_tokens(model)

    class FailsError(Exception): ...

    def fail(*arguments: Any, **keywords: Any) -> None:
        raise FailsError

    module = {"block": model.model.layers[2], "head": model.lm_head}.get(where)
    hook = module.register_forward_pre_hook(fail) if module is not None else None
    processors = LogitsProcessorList([fail] if where == "processor" else [])
    with pytest.raises(FailsError), dola.attach(model, STRATEGY):
        generate(model, logits_processor=processors)
    if hook is not None:
        hook.remove()
    assert not changed(model)
    assert new_tokens(model) == expected


def test_a_failed_forward_pass_does_not_show_in_the_next(model: PreTrainedModel) -> None:
    expected = by_hand(model, PROMPT, STRATEGY)
    with dola.attach(model, STRATEGY) as attachment:
        new_tokens(model)
        with pytest.raises(IndexError):
            model(torch.tensor([[10**6]]))
        assert attachment.last is None
        assert new_tokens(model) == expected


def test_a_loss_on_contrasted_scores_is_refused(model: PreTrainedModel) -> None:
    with dola.attach(model, STRATEGY), pytest.raises(StrategyError, match="labels"):
        model(PROMPT, labels=PROMPT)


def test_layers_that_the_model_lacks_leave_it_untouched(model: PreTrainedModel) -> None:
    with pytest.raises(dola.LayerError, match="4 layers"):
        dola.attach(model, DoLa((0, 9)))
    assert not changed(model)


def custom(model: PreTrainedModel, **settings: Any) -> list[int]:
    return new_tokens(model, custom_generate=dola.custom_generate, **settings)


def test_custom_generate_is_the_removed_dola_layers_argument(model: PreTrainedModel) -> None:
    assert custom(model, dola_layers=[0, 1, 3], relative_top=0.05) == by_hand(model, PROMPT, STRATEGY)
    assert custom(model, dola_layers="high") == by_hand(model, PROMPT, DoLa("high", early_exit_norm=False))
    assert custom(model) == by_hand(model, PROMPT, DoLa("low", early_exit_norm=False))
    assert not changed(model)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_sample": True, "temperature": 1.5},
        {"num_beams": 4},
        {"num_beams": 3, "do_sample": True},
        {"num_beams": 4, "num_return_sequences": 2},
        {"prompt_lookup_num_tokens": 3},
        {"cache_implementation": "static"},
        {"repetition_penalty": 1.4, "return_dict_in_generate": False},
        {"do_sample": True, "num_return_sequences": 3},
    ],
    ids=str,
)
def test_custom_generate_does_what_attach_does_in_every_mode(
    model: PreTrainedModel, settings: dict[str, Any]
) -> None:
    torch.manual_seed(3)
    with dola.attach(model, DoLa("high", alpha=0.02, early_exit_norm=False)):
        expected = generate(model, **settings)
    torch.manual_seed(3)
    found = generate(
        model, custom_generate=dola.custom_generate, dola_layers="high", relative_top=0.02, **settings
    )
    assert torch.equal(found, expected)


def test_custom_generate_detaches_after_an_exception(model: PreTrainedModel) -> None:
    def fail(input_ids: Tensor, scores: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        custom(model, logits_processor=LogitsProcessorList([fail]))
    assert not changed(model)
