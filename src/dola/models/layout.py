"""What is special about an architecture: where its parts are, and what it does to its logits.

One table, by `config.model_type`. To add an architecture, add a line here and one to the tests
(CONTRIBUTING.md says how); one that is not listed is found by its shape and probed (`probe.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Config = Any  # a transformers configuration: its attributes differ by architecture
Model = Any  # a transformers model: so do its attributes


def _one(_: Model) -> float:
    return 1.0


def _none(_: Model) -> float | None:
    return None


@dataclass(frozen=True)
class Layout:
    """Where the parts of a causal language model are, as dotted paths from the model.

    Attributes:
        trunk: the model without its head; returns the states that the head reads.
        blocks: the list of blocks, in order. The input of block k is hidden state k. The host's own
            `hidden_states` agree, except Mamba's, which leave the embeddings out and so count one less.
        norm: the final norm, or None where the trunk has none.
        project_out: a map between the final norm and the head, where the trunk has one.
        scale: the factor on the head's output, read where the model itself reads it in every pass.
        softcap: the bound c of `c * tanh(logits / c)` on the (scaled) output, or None; read likewise.
        by_columns: its attention counts columns where others go by positions: ALiBi's distances, a window
            that the cache does not tell of (GPT-Neo), a temperature (Llama 4).
    """

    trunk: str = "model"
    blocks: str = "model.layers"
    norm: str | None = "model.norm"
    project_out: str | None = None
    scale: Callable[[Model], float] = _one
    softcap: Callable[[Model], float | None] = _none
    by_columns: bool = False


# By name, so that a layout is pickled with the model that it is of.
def _logit_scale(model: Model) -> float:
    return float(model.logit_scale)


def _inverse_logits_scaling(model: Model) -> float:
    return 1.0 / float(model.config.logits_scaling)


def _logits_scaling(model: Model) -> float:
    return float(model.config.logits_scaling)


def _lm_head_multiplier(model: Model) -> float:
    return float(model.model.lm_head_multiplier)


def _final_softcap(model: Model) -> float | None:
    found: float | None = model.config.final_logit_softcapping
    return found


def _logits_soft_cap(model: Model) -> float | None:
    found: float | None = model.config.logits_soft_cap
    return found


_LLAMA = Layout()
_GPT2 = Layout("transformer", "transformer.h", "transformer.ln_f")
_GPT_NEOX = Layout("gpt_neox", "gpt_neox.layers", "gpt_neox.final_layer_norm")
_PHI = Layout(norm="model.final_layernorm")
_MAMBA = Layout("backbone", "backbone.layers", "backbone.norm_f")
_MPT = Layout("transformer", "transformer.blocks", "transformer.norm_f")
_LFM2 = Layout(norm="model.embedding_norm")
_OPT = Layout(
    "model",
    "model.decoder.layers",
    "model.decoder.final_layer_norm",
    project_out="model.decoder.project_out",
)
# The contrast needs scales and caps: they change the distributions, not only the size of the scores.
_GEMMA2 = Layout(softcap=_final_softcap)
_COHERE = Layout(scale=_logit_scale)
_GRANITE = Layout(scale=_inverse_logits_scaling)
_VISION = Layout("model.language_model", "model.language_model.layers", "model.language_model.norm")

LAYOUTS: Mapping[str, Layout] = {
    "afmoe": _LLAMA,
    "apertus": _LLAMA,
    "arcee": _LLAMA,
    "aria_text": _LLAMA,
    "bamba": _PHI,
    "biogpt": Layout("biogpt", "biogpt.layers", "biogpt.layer_norm"),
    "bitnet": _LLAMA,
    "bloom": replace(_GPT2, by_columns=True),
    "codegen": _GPT2,
    "cohere": _COHERE,
    "cohere2": _COHERE,
    "cohere2_moe": _COHERE,
    "cwm": _LLAMA,
    "dbrx": _MPT,
    "deepseek_v2": _LLAMA,
    "deepseek_v3": _LLAMA,
    "diffllama": _LLAMA,
    "doge": _LLAMA,
    "dots1": _LLAMA,
    "ernie4_5": _LLAMA,
    "ernie4_5_moe": _LLAMA,
    "exaone4": _LLAMA,
    "exaone_moe": _LLAMA,
    "falcon": _GPT2,
    "falcon_h1": Layout(norm="model.final_layernorm", scale=_lm_head_multiplier),
    "falcon_mamba": _MAMBA,
    "flex_olmo": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _GEMMA2,
    "gemma3": _VISION,  # its text-only class caps the logits, this one does not
    "gemma3_text": _GEMMA2,
    "gemma4_text": _GEMMA2,
    "glm": _LLAMA,
    "glm4": _LLAMA,
    "glm4_moe": _LLAMA,
    "glm4_moe_lite": _LLAMA,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": replace(_GPT2, by_columns=True),
    "gpt_neox": _GPT_NEOX,
    "gpt_neox_japanese": Layout(
        "gpt_neox_japanese", "gpt_neox_japanese.layers", "gpt_neox_japanese.final_layer_norm"
    ),
    "gpt_oss": _LLAMA,
    "gptj": _GPT2,
    "granite": _GRANITE,
    "granitemoe": _GRANITE,
    "granitemoehybrid": _GRANITE,
    "granitemoeshared": _GRANITE,
    "helium": _LLAMA,
    "hunyuan_v1_dense": _LLAMA,
    "hunyuan_v1_moe": _LLAMA,
    "hy_v3": _LLAMA,
    # The setting has the name that it has in Granite, and the inverse sense.
    "hyperclovax": Layout(scale=_logits_scaling),
    "jais2": _LLAMA,
    "jamba": _PHI,
    "jetmoe": _LLAMA,
    "lfm2": _LFM2,
    "lfm2_moe": _LFM2,
    "llama": _LLAMA,
    "llama4_text": replace(_LLAMA, by_columns=True),
    "mamba": _MAMBA,
    "mamba2": _MAMBA,
    "mellum": _LLAMA,
    "mimo_v2_flash": _LLAMA,
    "minimax": _LLAMA,
    "minimax_m2": _LLAMA,
    "ministral": _LLAMA,
    "ministral3": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "mpt": replace(_MPT, by_columns=True),
    "nanochat": _GEMMA2,
    "nemotron": _LLAMA,
    "nemotron_h": Layout(norm="model.norm_f"),
    "olmo": _LLAMA,
    "olmo2": _LLAMA,
    "olmo3": _LLAMA,
    "olmo_hybrid": _LLAMA,
    "olmoe": _LLAMA,
    "openai-gpt": Layout("transformer", "transformer.h", None),
    "opt": _OPT,
    "persimmon": _PHI,
    "phi": _PHI,
    "phi3": _LLAMA,
    "phimoe": _LLAMA,
    "qwen2": _LLAMA,
    "qwen2_moe": _LLAMA,
    "qwen3": _LLAMA,
    "qwen3_5_moe_text": _LLAMA,
    "qwen3_5_text": _LLAMA,
    "qwen3_moe": _LLAMA,
    "qwen3_next": _LLAMA,
    "recurrent_gemma": Layout(norm="model.final_norm", softcap=_logits_soft_cap),
    "seed_oss": _LLAMA,
    "smollm3": _LLAMA,
    "solar_open": _LLAMA,
    "stablelm": _LLAMA,
    "starcoder2": _LLAMA,
    "vaultgemma": _GEMMA2,
    "xglm": Layout(norm="model.layer_norm"),
    "youtu": _LLAMA,
}

# Tried in this order on an architecture that is not listed; the first whose parts exist is probed.
GUESSES: tuple[Layout, ...] = (
    _LLAMA,
    _GPT2,
    _GPT_NEOX,
    _PHI,
    _OPT,
    Layout(norm="model.final_norm"),
    _LFM2,
    _MAMBA,
    _MPT,
    _VISION,
)
