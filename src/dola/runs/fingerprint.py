"""What a run's inputs are by their content, so that a resumed run is known to be the same run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from huggingface_hub import try_to_load_from_cache

from dola.models.aliases import resolve_alias

_WEIGHTS = ("*.safetensors", "*.gguf", "*.bin", "*.pt", "*.pth")
# What the host may read of a model's folder besides: settings, tokenizers and their vocabularies, chat
# templates, the index of the weights, adapters, code. Not every .json: results may lie beside.
_DESCRIPTIONS = (
    *("config.json", "generation_config.json", "added_tokens.json", "special_tokens_map.json"),
    *("tokenizer*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "*.bpe"),
    *("chat_template*", "additional_chat_templates/*", "*.index.json", "adapter_config.json"),
    *("*.py", "custom_generate/*.py"),
)
_BLOCK = 1 << 16
_BLOCKS = 64


def texts_digest(texts: Iterable[Sequence[str]]) -> str:
    """SHA-256 of texts in order; where one ends and the next begins counts too."""
    digest = hashlib.sha256()
    for each in texts:
        digest.update(json.dumps(list(each), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def model_identity(name: str) -> str:
    """Which weights, configuration, tokenizer, chat template and code `name` stands for.

    An embedded model is its pinned SHA-256; a hub id the commit in the local cache. A folder or a .gguf
    file is a SHA-256 over all that the host may read of it: settings (of generation too), tokenizer, added
    and special tokens, chat templates, index, adapters, code, whole; and, of each weights file, the size,
    the first and last 64 KiB and 64 blocks evenly in between: any further training changes those, and a
    model of hundreds of gigabytes is told in a second. A single weight changed by hand may go unnoticed.
    """
    weights = resolve_alias(name)
    if weights is not None:
        return f"sha256 {weights.sha256}"
    path = Path(name).expanduser()
    if path.is_file():
        return f"sampled sha256 {_digest_of([path], path.parent)}"
    if path.is_dir():
        return f"sampled sha256 {_digest_of(_model_files(path), path)}"
    cached = try_to_load_from_cache(name, "config.json")
    return f"commit {Path(cached).parent.name}" if isinstance(cached, str) else f"name {name}"


def _model_files(folder: Path) -> list[Path]:
    patterns = (*_WEIGHTS, *_DESCRIPTIONS)
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _digest_of(files: Sequence[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        place = file.relative_to(folder).as_posix()
        digest.update(f"{place}:{file.stat().st_size}:".encode())
        sampled = any(fnmatch(file.name, pattern) for pattern in _WEIGHTS)
        with file.open("rb") as stream:
            for block in _sample(stream) if sampled else [stream.read()]:
                digest.update(block)
    return digest.hexdigest()


def _sample(stream: IO[bytes]) -> Iterable[bytes]:
    """All of a small file; of a large one, blocks from the first to the last."""
    size = stream.seek(0, os.SEEK_END)
    if size <= _BLOCK * _BLOCKS:
        stream.seek(0)
        yield stream.read()
        return
    last = size - _BLOCK
    for step in range(_BLOCKS + 2):
        stream.seek(last * step // (_BLOCKS + 1))
        yield stream.read(_BLOCK)
