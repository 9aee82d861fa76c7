"""`custom_generate`: what the host keeps back from callables is served; nothing is dropped in silence."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, PreTrainedModel, TextIteratorStreamer
from transformers.generation.streamers import BaseStreamer

import dola
from tiny_language_model import byte_tokenizer
from tiny_models import tiny_model

PROMPT = torch.tensor([[5, 9, 17, 5, 9, 44, 5, 9, 17]])
GREEDY: dict[str, Any] = {"max_new_tokens": 10, "do_sample": False, "pad_token_id": 256, "eos_token_id": 257}


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", vocab_size=259)


def generate(model: PreTrainedModel, **settings: Any) -> list[list[int]]:
    return model.generate(PROMPT, attention_mask=torch.ones_like(PROMPT), **GREEDY | settings).tolist()


def custom(model: PreTrainedModel, **settings: Any) -> list[list[int]]:
    return generate(model, custom_generate=dola.custom_generate, **settings)


def attached(model: PreTrainedModel, strategy: dola.Strategy, **settings: Any) -> list[list[int]]:
    with dola.attach(model, strategy):
        return generate(model, **settings)


@pytest.mark.parametrize(
    ("settings", "strategy"),
    [
        ({"dola_layers": "all", "early_exit_norm": True}, dola.DoLa("all", early_exit_norm=True)),
        ({"dola_layers": [0, 1, 2], "divergence": "js"}, dola.DoLa((0, 1, 2), divergence="js")),
        ({"dola_layers": [0, 1], "mature_layer": 3}, dola.DoLa((0, 1), mature_layer=3)),
        ({"dola_layers": [0, 1], "relative_top": 0.0}, dola.DoLa((0, 1), alpha=0.0)),
        (
            {"dola_layers": [0, 1], "post_softmax": True, "filter_value": -1000.0, "repetition_penalty": 2.0},
            dola.DoLa((0, 1), post_softmax=True, filter_value=-1000.0),
        ),
        ({"strategy": "sled:0,1,2,-1"}, dola.parse_strategy("sled:0,1,2,-1")),
        ({"strategy": dola.DoLaStatic(1)}, dola.DoLaStatic(1)),
    ],
    ids=str,
)
def test_every_setting_of_dola_means_what_it_means_attached(
    model: PreTrainedModel, settings: dict[str, Any], strategy: dola.Strategy
) -> None:
    penalty = {name: value for name, value in settings.items() if name == "repetition_penalty"}
    assert custom(model, **settings) == attached(model, strategy, **penalty)


def test_the_settings_above_are_told_apart_by_their_tokens(model: PreTrainedModel) -> None:
    said = [{}, {"early_exit_norm": True}, {"divergence": "js"}, {"mature_layer": 3}, {"relative_top": 0.9}]
    told = [custom(model, dola_layers=[0, 1, 2], max_new_tokens=60, **settings)[0] for settings in said]
    assert len({tuple(each) for each in told}) == len(said)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"do_sample": True}], ids=str)
def test_dola_layers_are_read_from_a_generation_config(
    model: PreTrainedModel, settings: dict[str, Any]
) -> None:
    config = GenerationConfig(dola_layers=[0, 2], **GREEDY | settings)
    drawn = []
    for told in ({"generation_config": config}, {"dola_layers": [0, 2], **GREEDY, **settings}):
        torch.manual_seed(2)
        mask = torch.ones_like(PROMPT)
        made = model.generate(PROMPT, attention_mask=mask, custom_generate=dola.custom_generate, **told)
        drawn.append(made.tolist())
    assert drawn[0] == drawn[1]
    if not settings:
        assert drawn[0] == attached(model, dola.DoLa((0, 2)))
        assert drawn[0] != custom(model)
        assert custom(model, generation_config=config, dola_layers="low") == custom(model)


class Deaf(BaseStreamer):
    def put(self, value: Any) -> None:
        """Not asked for."""

    def end(self) -> None:
        """Nor this."""


@pytest.mark.parametrize("wrapped", ["plain", "partial", "function"])
def test_a_streamer_hears_every_token(model: PreTrainedModel, wrapped: str) -> None:
    def through(*args: Any, **named: Any) -> Any:
        return dola.custom_generate(*args, **named)

    ways = {"plain": dola.custom_generate, "partial": partial(dola.custom_generate), "function": through}
    tokenizer = byte_tokenizer()
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=20)
    (found,) = generate(model, custom_generate=ways[wrapped], streamer=streamer)
    assert "".join(streamer) == tokenizer.decode(found[PROMPT.shape[1] :])
    with pytest.raises(dola.StrategyError, match="a streamer takes no beams"):
        custom(model, streamer=Deaf(), num_beams=2)


def test_an_assistant_guesses_and_the_tokens_are_dolas_own(model: PreTrainedModel) -> None:
    assistant = tiny_model("llama", vocab_size=259, num_hidden_layers=2)
    calls = []
    handle = assistant.register_forward_hook(lambda *_: calls.append(1))
    assert custom(model, dola_layers=[0, 1], assistant_model=assistant) == custom(model, dola_layers=[0, 1])
    handle.remove()
    assert calls


def test_stop_strings_stop_through_keywords_of_its_own(model: PreTrainedModel) -> None:
    tokenizer = byte_tokenizer()
    start = PROMPT.shape[1]
    told = {"suppress_tokens": list(range(94, 256))}  # ASCII alone is written
    (plain,) = custom(model, **told)
    text = tokenizer.decode([plain[start + 4]])
    (found,) = custom(model, dola_stop_strings=text, dola_tokenizer=tokenizer, **told)
    first = plain[start:].index(plain[start + 4])
    assert found == plain[: start + first + 1]
    with pytest.raises(dola.StrategyError, match="give dola_tokenizer too"):
        custom(model, dola_stop_strings=["x"])


def test_a_strategy_beside_settings_of_dola_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(dola.StrategyError, match="and dola_layers, relative_top too"):
        custom(model, strategy="low", dola_layers="low", relative_top=0.2)
    with pytest.raises(dola.StrategyError, match="Did you mean 'high'"):
        custom(model, strategy="hihg")
