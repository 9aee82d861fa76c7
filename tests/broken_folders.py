"""A model folder that is whole, and the many ways in which one is not."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

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
