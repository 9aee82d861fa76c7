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

# By model type, what its configuration needs beside or instead of the above.
TINY: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma2": {"final_logit_softcapping": 3.0},
    "gpt2": {},
    "qwen2": {},
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
    model = AutoModelForCausalLM.from_config(config)
    randomize(model, seed=seed)
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
