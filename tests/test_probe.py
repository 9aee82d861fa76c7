"""Models that are in no table: taken where their own logits are reproduced, refused with the reason else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

import dola
from dola.models.parts import depth_of, take_apart
from dola.strategies import OWN
from tiny_models import randomize, tiny_model

IDS = torch.tensor([[5, 17, 3, 42, 88, 17, 60]])
SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
STRATEGY = dola.DoLa((0, 1, 2))


class UnknownConfig(LlamaConfig):
    model_type = "unknown"


class Unknown(LlamaForCausalLM):
    config_class = UnknownConfig


class Scaled(Unknown):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 0.5
        return output


class Capped(Unknown):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = 3.0 * torch.tanh(output.logits / 3.0)
        return output


class Cut(Unknown):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits[..., :90]
        return output


class HeadScaled(Unknown):
    """Something between the final norm and the head, as in MiniCPM."""

    def __init__(self, config: UnknownConfig) -> None:
        super().__init__(config)
        self.lm_head.register_forward_pre_hook(lambda module, args: (args[0] / 4.0,))


class WithoutCache(Unknown):
    """A forward pass that knows nothing of caches and returns a tuple."""

    def forward(self, input_ids: Tensor) -> tuple[Tensor]:
        return (self.lm_head(self.model(input_ids=input_ids, use_cache=False).last_hidden_state),)


class Broken(Unknown):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.model(*args, **kwargs)
        raise ValueError("needs an image")


class Headless(Unknown):
    """Logits that do not come from the output embeddings."""

    def forward(self, input_ids: Tensor, **kwargs: Any) -> tuple[Tensor]:
        states = self.model(input_ids=input_ids).last_hidden_state
        return (nn.functional.linear(states, self.lm_head.weight),)


class Elsewhere(Unknown):
    def __init__(self, config: UnknownConfig) -> None:
        super().__init__(config)
        self.model.towers = self.model.layers
        del self.model.layers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("refused before anything runs")


def build(kind: type[PreTrainedModel], **changes: Any) -> PreTrainedModel:
    torch.set_num_threads(1)
    model = kind(kind.config_class(**SMALL, **changes))
    randomize(model, seed=0)
    return model.eval()


def hooks_of(model: nn.Module) -> list[int]:
    return [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]


def scores(model: PreTrainedModel) -> Tensor:
    with torch.no_grad(), dola.attach(model, STRATEGY):
        return model(input_ids=IDS).logits


def test_an_unlisted_model_that_is_a_llama_is_contrasted_as_one():
    unlisted = build(Unknown)
    listed = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    listed.load_state_dict(unlisted.state_dict())
    assert not take_apart(unlisted).listed
    assert torch.equal(scores(unlisted), scores(listed))


def test_a_guess_needs_the_final_norm_where_it_says():
    model = build(Unknown)
    model.model.final_layernorm = model.model.norm
    del model.model.norm
    assert take_apart(model).norm is model.model.final_layernorm


@pytest.mark.parametrize("kind", [Scaled, Capped])
def test_an_unknown_change_of_the_logits_is_refused_with_its_size(kind: type[PreTrainedModel]):
    with pytest.raises(dola.ModelError, match=r"projection of the last layer differs .* up to \d.*of \d"):
        dola.attach(build(kind), STRATEGY)


def test_a_factor_before_the_head_is_refused_with_its_size():
    with pytest.raises(dola.ModelError, match=r"final norm of the last block differs from the head's input"):
        dola.attach(build(HeadScaled), STRATEGY)


def test_logits_of_another_shape_are_refused():
    with pytest.raises(dola.ModelError, match=r"has shape \[1, 5, 96\], the model's logits \[1, 5, 90\]"):
        dola.attach(build(Cut), STRATEGY)


def test_a_real_architecture_that_is_not_listed_is_refused():
    model = tiny_model(
        "minicpm3",
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=8,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
        head_dim=4,
    )
    with pytest.raises(dola.ModelError, match="final norm of the last block differs"):
        dola.attach(model, STRATEGY)


def test_blocks_in_an_unknown_place_are_refused_with_the_places_looked_at():
    with pytest.raises(dola.ModelError, match=r"looked for: model\.layers with model\.norm, .*layout\.py"):
        dola.attach(build(Elsewhere), STRATEGY)


def test_a_head_that_is_never_called_is_refused():
    with pytest.raises(dola.ModelError, match="without calling its output embeddings"):
        dola.attach(build(Headless), STRATEGY)


def test_a_model_that_fails_on_the_prompt_is_refused_with_its_own_words():
    with pytest.raises(dola.ModelError, match="needs an image"):
        dola.attach(build(Broken), STRATEGY)


@pytest.mark.parametrize("kind", [Scaled, Broken, Headless, Cut])
def test_a_refused_model_is_left_as_it_was(kind: type[PreTrainedModel]):
    model = build(kind)
    hooks, attributes = hooks_of(model), sorted(vars(model.lm_head))
    with pytest.raises(dola.ModelError):
        dola.attach(model, STRATEGY)
    assert hooks_of(model) == hooks
    assert sorted(vars(model.lm_head)) == attributes


def test_a_forward_without_cache_that_returns_a_tuple_can_be_probed():
    with torch.no_grad(), dola.attach(build(WithoutCache), STRATEGY) as attachment:
        (ours,) = attachment.model(input_ids=IDS)
    assert torch.equal(ours, scores(build(Unknown)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_probe_in_half_precision_tells_a_scale_from_rounding(dtype: torch.dtype):
    assert scores(build(Unknown).to(dtype)).dtype == torch.float32
    with pytest.raises(dola.ModelError, match="differs"):
        dola.attach(build(Scaled).to(dtype), STRATEGY)


def test_a_subclass_under_a_listed_name_is_probed_too():
    class Doubled(LlamaForCausalLM):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return (super().forward(*args, **kwargs).logits * 2.0,)

    with pytest.raises(dola.ModelError, match="differs"):
        dola.attach(build(Doubled), STRATEGY)


def test_the_language_model_inside_a_vision_model_is_found():
    config = LlavaConfig(
        text_config={"model_type": "llama", **SMALL},
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        image_token_index=95,
    )
    model = LlavaForConditionalGeneration(config).eval()
    randomize(model, seed=0)
    assert depth_of(config).num_layers == 4
    inside = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    inside.model.load_state_dict(model.model.language_model.state_dict())
    inside.lm_head.load_state_dict(model.lm_head.state_dict())
    assert torch.equal(scores(model), scores(inside))


def test_an_encoder_decoder_model_is_refused_before_its_weights_load():
    config = T5Config(vocab_size=96, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    with pytest.raises(dola.ModelError, match="encoder-decoder"):
        depth_of(config)
    with pytest.raises(dola.ModelError, match="encoder-decoder"):
        dola.attach(T5ForConditionalGeneration(config), STRATEGY)


def test_an_encoder_with_a_language_model_head_is_refused():
    with pytest.raises(dola.ModelError, match="no known layout"):
        dola.attach(BertLMHeadModel(BertConfig(**SMALL, is_decoder=True)), STRATEGY)


def test_a_recurrent_model_that_rescales_its_states_is_refused():
    model = tiny_model("rwkv", attention_hidden_size=32)
    with pytest.raises(dola.ModelError, match="rwkv"):
        dola.attach(model, STRATEGY)


def test_a_model_without_a_head_is_refused_with_the_class_to_load():
    with pytest.raises(dola.ModelError, match=r"LlamaModel has no language-model head.*AutoModelForCausalLM"):
        dola.attach(LlamaModel(LlamaConfig(**SMALL)), STRATEGY)


def test_what_is_no_transformers_model_is_refused():
    with pytest.raises(dola.ModelError, match=r"found Linear .*get_base_model"):
        dola.attach(nn.Linear(2, 2), STRATEGY)


def test_blocks_cut_off_without_the_configuration_are_refused():
    model = build(LlamaForCausalLM)
    model.model.layers = model.model.layers[:3]
    with pytest.raises(
        dola.ModelError, match=r"has 3 blocks .* says 4 layers: set its num_hidden_layers to 3"
    ):
        dola.attach(model, STRATEGY)


def test_one_block_used_as_several_layers_is_refused():
    model = build(LlamaForCausalLM)
    model.model.layers[3] = model.model.layers[1]
    with pytest.raises(dola.ModelError, match="one block as several layers"):
        dola.attach(model, STRATEGY)


def test_blocks_behind_the_last_layer_are_left_alone():
    model = build(LlamaForCausalLM)
    model.model.layers.append(nn.Identity())
    assert len(take_apart(model).blocks) == 4


def test_layers_are_checked_by_the_configuration_alone():
    depth = depth_of(LlamaConfig(**SMALL, tie_word_embeddings=True))
    assert depth == (4, True)
    with pytest.raises(dola.LayerError, match="4 layers"):
        dola.DoLa((0, 1, 9)).resolve({OWN: depth})


class LoraLinear(nn.Linear):
    """A head that is not the product with its weight alone."""

    calls = 0

    def forward(self, states: Tensor) -> Tensor:
        type(self).calls += 1
        delta = torch.ones(1, self.in_features, dtype=states.dtype) * 0.1
        return super().forward(states) + 2.0 * states @ delta.T * self.weight[:, 0]


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_a_head_that_is_not_a_plain_linear_is_called_through_its_own_forward(name: str):
    model = tiny_model(name)
    plain = scores(model)
    head = LoraLinear(32, 96, bias=False)
    head.weight = model.lm_head.weight
    model.lm_head = head
    LoraLinear.calls = 0
    ours = scores(model)
    assert LoraLinear.calls == 1  # one product for all exits
    assert not torch.allclose(ours, plain)
    folded = tiny_model(name, tie_word_embeddings=False)
    folded.load_state_dict(model.state_dict())
    with torch.no_grad():
        folded.lm_head.weight += 0.2 * head.weight[:, :1]
    torch.testing.assert_close(ours, scores(folded), rtol=1e-4, atol=1e-4)
