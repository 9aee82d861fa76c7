"""What a checkpoint's files say that they hold, from their headers: no weight is read."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor
from transformers.modeling_utils import load_state_dict

from dola.errors import ModelError, in_one_line

# As the host looks for them, the first that is there.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_BITS = 8  # in a byte; no number is packed into less than one of them
_GGUF_START = struct.Struct("<4sIQ")  # magic, version, number of tensors


@dataclass(frozen=True)
class Saved:
    """What lies in the files of a checkpoint.

    Attributes:
        tensors: how many.
        numbers: how many, in all of them; of packed ones the most that there can be.
        size: bytes, of all files together.
        dtype: what most of the numbers are saved in, as torch names it; None where that is not told.
        whole: the names of the tensors of whole numbers or truth values; of packed ones not told.
    """

    tensors: int
    numbers: int
    size: int
    dtype: str | None = None
    whole: tuple[str, ...] = ()

    @property
    def packed(self) -> Saved:
        """The same files where they are quantised: a saved number may hold many."""
        return replace(self, numbers=_BITS * self.size, whole=())


def read_saved(location: str, gguf_file: str | None = None, *, named: str | None = None) -> Saved | None:
    """What the files of a folder or of a hub id hold; None of a hub id whose files are not here yet.

    Args:
        named: the weights file that the configuration names itself, if it does.

    Raises:
        ModelError: no weights, or an index that cannot be read or names a file that is not there.
    """
    if gguf_file is not None:
        return _read_gguf(Path(location) / gguf_file)
    for name in (named, *_WEIGHTS) if named else _WEIGHTS:
        path = _path(location, name)
        if path is not None:
            return _read(list(_files(path)))
    if Path(location).is_dir():
        raise ModelError(f"{location} has no weights: expected one of {', '.join(_WEIGHTS)}")
    return None


def _path(location: str, name: str) -> Path | None:
    """A file of the folder, or of the hub id as far as it is in the local cache."""
    folder = Path(location)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    cached = try_to_load_from_cache(location, name)
    return Path(cached) if isinstance(cached, str) else None


def _files(path: Path) -> Iterator[Path]:
    """The weights file itself, or those that an index names."""
    if path.suffix != ".json":
        yield path
        return
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} is no index of weights: expected an object with the key weight_map ({error!r})"
        ) from error
    if not shards:
        raise ModelError(f"{path} names no weights: its weight_map is empty")
    for shard in shards:
        if not (path.parent / str(shard)).is_file():
            raise ModelError(f"{path} names {shard}, which is not there: fetch or save the model again")
        yield path.parent / str(shard)


def _read(files: list[Path]) -> Saved:
    headers: dict[str, Tensor] = {}
    for file in files:
        headers |= _header(file)
    elements: Counter[torch.dtype] = Counter()
    for tensor in headers.values():
        elements[tensor.dtype] += tensor.numel()
    most = max(elements, key=lambda dtype: elements[dtype], default=None)
    return Saved(
        len(headers),
        elements.total(),
        sum(file.stat().st_size for file in files),
        None if most is None else str(most).removeprefix("torch."),
        tuple(name for name, tensor in headers.items() if not tensor.is_floating_point()),
    )


def _header(file: Path) -> dict[str, Tensor]:
    """The file's tensors by name, on the meta device."""
    try:
        held: Mapping[str, object] = load_state_dict(str(file), map_location="meta")
        return {name: tensor for name, tensor in held.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # readers of damaged files raise types of their own, some plain `Exception`
        raise ModelError(
            f"cannot load {file}: it is no whole file of weights ({in_one_line(error)}); save it again"
        ) from error


def _read_gguf(file: Path) -> Saved:
    with file.open("rb") as stream:
        start = stream.read(_GGUF_START.size)
    if len(start) < _GGUF_START.size or not start.startswith(b"GGUF"):
        raise ModelError(f"{file} is no GGUF file: it does not begin as one")
    size = file.stat().st_size
    return Saved(_GGUF_START.unpack(start)[2], _BITS * size, size)
