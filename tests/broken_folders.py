"""A model folder that is whole, and the many ways in which one is not."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFWriter
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers

from tiny_language_model import byte_tokenizer
from tiny_models import tiny_model

Damage = Callable[[Path], object]
WEIGHTS = "model.safetensors"
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def save_whole(folder: Path, model_type: str = "llama", **changes: Any) -> None:
    """A tiny random model with a tokenizer of bytes and a chat template."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    model = tiny_model(model_type, vocab_size=len(tokenizer), **changes)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def written(name: str, content: str | bytes) -> Damage:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def without(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def cut(name: str, share: float) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return damage


def with_settings(name: str = "config.json", **settings: Any) -> Damage:
    """Settings of a JSON file changed; `...` takes one away."""

    def damage(folder: Path) -> None:
        found = json.loads((folder / name).read_text())
        found |= settings
        (folder / name).write_text(json.dumps({k: v for k, v in found.items() if v is not ...}))

    return damage


def with_tensors(change: Callable[[dict[str, torch.Tensor]], Mapping[str, torch.Tensor]]) -> Damage:
    def damage(folder: Path) -> None:
        tensors = change(load_file(folder / WEIGHTS))
        # Of two names for one tensor the file keeps neither.
        save_file(
            {name: tensor.clone() for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"}
        )

    return damage


def without_tensor(name: str) -> Damage:
    return with_tensors(lambda held: {key: held[key] for key in held if key != name})


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def header(length: int) -> bytes:
    """The start of a safetensors file whose header is said to be so long."""
    return struct.pack("<Q", length) + b"{}"


def both(first: Damage, second: Damage) -> Damage:
    return lambda folder: (first(folder), second(folder))


def sharded(change: Callable[[dict[str, Any]], Any] = dict) -> Damage:
    """The weights in two files, with an index that `change` may damage."""

    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        places: dict[str, str] = {}
        for number, names in enumerate((sorted(held)[:20], sorted(held)[20:]), start=1):
            shard = f"model-0000{number}-of-00002.safetensors"
            save_file({name: held[name] for name in names}, folder / shard, {"format": "pt"})
            places |= dict.fromkeys(names, shard)
        index = {"metadata": {"total_size": 1}, "weight_map": places}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(change(index)))

    return damage


def saved_with_torch(instead: object = None) -> Damage:
    """The weights, or something else, as torch's own file."""

    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        torch.save(held if instead is None else instead, folder / "pytorch_model.bin")

    return damage


def other_tokens(shift: int) -> Damage:
    """Every token of the tokenizer under a number that is larger by `shift`."""

    def damage(folder: Path) -> None:
        found = json.loads((folder / "tokenizer.json").read_text())
        found["model"]["vocab"] = {name: at + shift for name, at in found["model"]["vocab"].items()}
        found["added_tokens"] = [{**token, "id": token["id"] + shift} for token in found["added_tokens"]]
        (folder / "tokenizer.json").write_text(json.dumps(found))

    return damage


_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}


def save_gguf(
    path: Path, *, without: tuple[str, ...] = (), cut: str = "", layers: int = 4, length: float = 1.0
) -> None:
    """The same tiny model as a GGUF file in float32: without some tensors, one of them a row shorter, with
    another number of layers in its settings, or no more than a share of the file."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<pad>", "</s>", "<s>"]
    tokens[200] = "ab"  # the one that the merge makes
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256 + [3] * 3)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(258)
    writer.add_eos_token_id(257)
    for name, tensor in tiny_model("llama", vocab_size=len(tokens)).state_dict().items():
        for theirs, own in _GGUF_NAMES.items():
            name = name.replace(theirs, own)
        if name not in without:
            writer.add_tensor(name, tensor.numpy()[: -1 if name == cut else None].copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * length)])
