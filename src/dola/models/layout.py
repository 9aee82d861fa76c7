"""What is special about an architecture: where its parts are, and what it does to its logits.

One table, by `config.model_type`. To add an architecture, add a line here and one to the tests
(CONTRIBUTING.md says how); one that is not listed is found by its shape and probed (`probe.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Config = Any  # a transformers configuration: its attributes differ by architecture


@dataclass(frozen=True)
class Layout:
    """Where the parts of a causal language model are, as dotted paths from the model.

    Attributes:
        trunk: the model without its head; returns the states that the head reads.
        blocks: the list of blocks, in order. The input of block k is hidden state k.
        norm: the final norm, or None where the trunk has none.
        project_out: a map between the final norm and the head, where the trunk has one.
        scale: the factor on the head's output.
        softcap: the bound c of `c * tanh(logits / c)` on the (scaled) output, or None.
    """

    trunk: str = "model"
    blocks: str = "model.layers"
    norm: str | None = "model.norm"
    project_out: str | None = None
    scale: Callable[[Config], float] = lambda config: 1.0
    softcap: Callable[[Config], float | None] = lambda config: None


def _logit_scale(config: Config) -> float:
    return float(config.logit_scale)


def _final_softcap(config: Config) -> float | None:
    found: float | None = config.final_logit_softcapping
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
_VISION = Layout("model.language_model", "model.language_model.layers", "model.language_model.norm")

LAYOUTS: Mapping[str, Layout] = {
    **dict.fromkeys(
        (
            "afmoe apertus arcee aria_text bitnet cwm deepseek_v2 deepseek_v3 diffllama doge dots1 ernie4_5"
            " ernie4_5_moe exaone4 exaone_moe flex_olmo gemma glm glm4 glm4_moe glm4_moe_lite gpt_oss helium"
            " hunyuan_v1_dense hunyuan_v1_moe hy_v3 jais2 jetmoe llama llama4_text longcat_flash mellum"
            " mimo_v2_flash minimax minimax_m2 ministral ministral3 mistral mixtral nemotron olmo olmo2 olmo3"
            " olmo_hybrid olmoe phi3 phimoe qwen2 qwen2_moe qwen3 qwen3_5_text qwen3_5_moe_text qwen3_moe"
            " qwen3_next seed_oss smollm3 solar_open stablelm starcoder2 youtu"
        ).split(),
        _LLAMA,
    ),
    **dict.fromkeys("gpt2 gptj gpt_neo bloom falcon gpt_bigcode codegen".split(), _GPT2),
    # The contrast needs the scale and the cap: both change the distributions, not only the scores' size.
    **dict.fromkeys("gemma2 gemma3_text nanochat vaultgemma".split(), Layout(softcap=_final_softcap)),
    **dict.fromkeys("cohere cohere2 cohere2_moe".split(), Layout(scale=_logit_scale)),
    **dict.fromkeys(
        "granite granitemoe granitemoehybrid granitemoeshared".split(),
        Layout(scale=lambda config: 1.0 / config.logits_scaling),
    ),
    # By the same name as Granite's, and the other way round.
    "hyperclovax": Layout(scale=lambda config: float(config.logits_scaling)),
    **dict.fromkeys("phi persimmon bamba jamba zamba zamba2".split(), _PHI),
    "minicpm3": Layout(scale=lambda config: config.dim_model_base / config.hidden_size),
    "falcon_h1": Layout(
        norm="model.final_layernorm", scale=lambda config: float(config.lm_head_multiplier)
    ),
    "recurrent_gemma": Layout(norm="model.final_norm", softcap=lambda config: config.logits_soft_cap),
    **dict.fromkeys("lfm2 lfm2_moe".split(), _LFM2),
    "modernbert-decoder": Layout(norm="model.final_norm"),
    "nemotron_h": Layout(norm="model.norm_f"),
    "xglm": Layout(norm="model.layer_norm"),
    "biogpt": Layout("biogpt", "biogpt.layers", "biogpt.layer_norm"),
    "ctrl": Layout("transformer", "transformer.h", "transformer.layernorm"),
    "dbrx": Layout("transformer", "transformer.blocks", "transformer.norm_f"),
    "gpt_neox": _GPT_NEOX,
    "gpt_neox_japanese": Layout(
        "gpt_neox_japanese", "gpt_neox_japanese.layers", "gpt_neox_japanese.final_layer_norm"
    ),
    "mpt": _MPT,
    "openai-gpt": Layout("transformer", "transformer.h", None),
    "opt": _OPT,
    **dict.fromkeys("mamba mamba2 falcon_mamba".split(), _MAMBA),
    "xlstm": Layout(
        "backbone", "backbone.blocks", "backbone.out_norm", softcap=lambda config: config.output_logit_soft_cap
    ),
    "gemma3": Layout(
        "model.language_model",
        "model.language_model.layers",
        "model.language_model.norm",
        softcap=_final_softcap,
    ),
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
