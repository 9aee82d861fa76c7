"""Tiny random models of every architecture in `dola.models.layout.LAYOUTS`, and a few that are not in it.

    model = tiny_model("llama")                       # 4 layers, hidden size 32, vocabulary 96
    model = tiny_model("gemma2", num_hidden_layers=6, tie_word_embeddings=False, dtype=torch.bfloat16)

Every weight is random and large enough to matter, norms and biases too: a norm that is forgotten or applied
twice, a bias or a scale that is left out, changes the logits visibly.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

VOCAB_SIZE = 96

_BASE: Mapping[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

_LATENT: Mapping[str, Any] = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "head_dim": 4,
}
_LATENT_EXPERTS: Mapping[str, Any] = {
    **_LATENT,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}
_MAMBA2: Mapping[str, Any] = {
    "mamba_n_heads": 4,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
_LINEAR_ATTENTION: Mapping[str, Any] = {
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
_GRANITE: Mapping[str, Any] = {
    "logits_scaling": 0.4,
    "embedding_multiplier": 1.7,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.3,
}

# By model type, what its configuration needs beside or instead of the above: what keeps it small, and a
# value that shows for every scale, cap and bias that its logits may have.
TINY: dict[str, dict[str, Any]] = {
    "afmoe": {},
    "apertus": {},
    "arcee": {},
    "aria_text": {},
    "bamba": {**_MAMBA2, "attn_layer_indices": [1, 3]},
    "biogpt": {},
    "bitnet": {},
    "bloom": {},
    "codegen": {"rotary_dim": 4},
    "cohere": {"logit_scale": 0.4},
    "cohere2": {"logit_scale": 0.4},
    "cohere2_moe": {"logit_scale": 0.4},
    "cwm": {},
    "dbrx": {
        "d_model": 32,
        "n_heads": 4,
        "n_layers": 4,
        "max_seq_len": 128,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {**_LATENT_EXPERTS},
    "deepseek_v3": {**_LATENT_EXPERTS},
    "diffllama": {},
    "doge": {},
    "dots1": {"n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "ernie4_5": {},
    "ernie4_5_moe": {},
    "exaone4": {},
    "exaone_moe": {},
    "falcon": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon_h1": {**_MAMBA2, "mamba_d_ssm": 32, "mamba_d_head": 8, "lm_head_multiplier": 0.4},
    "falcon_mamba": {"state_size": 4, "time_step_rank": 4},
    "flex_olmo": {},
    "gemma": {},
    "gemma2": {"final_logit_softcapping": 3.0},
    "gemma3": {
        "text_config": {
            **{key: value for key, value in _BASE.items() if "expert" not in key},
            "final_logit_softcapping": 3.0,
        },
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        "mm_tokens_per_image": 4,
    },
    "gemma3_text": {"final_logit_softcapping": 3.0},
    "gemma4_text": {
        "final_logit_softcapping": 3.0,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "global_head_dim": 8,
        "hidden_size_per_layer_input": 4,
        "vocab_size_per_layer_input": VOCAB_SIZE,
        "num_kv_shared_layers": 0,
    },
    "glm": {},
    "glm4": {},
    "glm4_moe": {"n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "glm4_moe_lite": {**_LATENT_EXPERTS},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 8},
    "gpt_neox": {},
    "gpt_neox_japanese": {},
    "gpt_oss": {},
    "gptj": {"rotary_dim": 4},
    "granite": {**_GRANITE},
    "granitemoe": {**_GRANITE},
    "granitemoehybrid": {**_GRANITE, **_MAMBA2, "layer_types": ["mamba", "attention"] * 2},
    "granitemoeshared": {**_GRANITE},
    "helium": {},
    "hunyuan_v1_dense": {},
    "hunyuan_v1_moe": {},
    "hy_v3": {},
    "hyperclovax": {"logits_scaling": 0.4},
    "jais2": {},
    "jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "jetmoe": {},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "llama": {},
    "llama4_text": {"intermediate_size_mlp": 64},
    "mamba": {"state_size": 4, "time_step_rank": 4},
    "mamba2": {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 8},
    "mellum": {},
    "mimo_v2_flash": {},
    "minimax": {},
    "minimax_m2": {},
    "ministral": {},
    "ministral3": {},
    "mistral": {},
    "mixtral": {},
    "mpt": {},
    "nanochat": {"final_logit_softcapping": 3.0},
    "nemotron": {},
    "nemotron_h": {
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 8,
        "mamba_hidden_act": "silu",
    },
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "olmo_hybrid": {},
    "olmoe": {},
    "openai-gpt": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 24},
    "persimmon": {},
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {},
    "phimoe": {},
    "qwen2": {},
    "qwen2_moe": {"shared_expert_intermediate_size": 32},
    "qwen3": {},
    "qwen3_5_moe_text": {**_LINEAR_ATTENTION, "shared_expert_intermediate_size": 32},
    "qwen3_5_text": {**_LINEAR_ATTENTION},
    "qwen3_moe": {},
    "qwen3_next": {**_LINEAR_ATTENTION, "shared_expert_intermediate_size": 32},
    "recurrent_gemma": {"logits_soft_cap": 3.0, "attention_window_size": 16},
    "seed_oss": {},
    "smollm3": {},
    "solar_open": {},
    "stablelm": {},
    "starcoder2": {},
    "vaultgemma": {"final_logit_softcapping": 3.0},
    "xglm": {"d_model": 32, "ffn_dim": 64, "attention_heads": 4},
    "youtu": {**_LATENT},
}


def tiny_model(
    model_type: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    **changes: Any,
) -> PreTrainedModel:
    """A random model in evaluation mode; `changes` are settings of its configuration.

    Skips the calling test where the installed transformers does not know the architecture.
    """
    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {model_type}")
    kind = CONFIG_MAPPING[model_type]
    common = {key: value for key, value in _BASE.items() if _has(kind, key)}
    config = kind(**{**common, **TINY.get(model_type, {}), **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    randomize(model, seed=seed)
    model.generation_config.eos_token_id = None  # no generation ends early by chance
    return model.to(dtype).eval()


def randomize(model: PreTrainedModel, *, seed: int) -> None:
    """Give every parameter a random value that shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * 0.2)
            else:
                parameter.add_(noise * 0.2)


def _has(kind: type, key: str) -> bool:
    """Whether the configuration class has this setting, under this name or its own."""
    return key in inspect.signature(kind).parameters or key in getattr(kind, "attribute_map", {})
