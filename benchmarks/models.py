"""What is measured: an alias, a folder or hub id, or `random:SHAPE`, random weights of a known shape."""

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

SHAPES = {
    # hidden, intermediate, layers, heads, key-value heads, vocabulary
    "tiny": (64, 128, 4, 4, 2, 1000),
    "smollm2-135m": (576, 1536, 30, 9, 3, 49152),
    "llama-1b": (2048, 8192, 16, 32, 8, 128256),
    "llama-7b": (4096, 11008, 32, 32, 32, 32000),
    "llama-8b": (4096, 14336, 32, 32, 8, 128256),
}


def load_benchmark_model(name: str, *, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """The model in evaluation mode, on the device."""
    if not name.startswith("random:"):
        import dola

        return dola.load(name, dtype=str(dtype).removeprefix("torch."), device=device).model
    hidden, intermediate, layers, heads, kv_heads, vocabulary = SHAPES[name.removeprefix("random:")]
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        # Initialised where it will run: 7 billion random numbers on a CPU take minutes.
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval()
