"""From a name to a language model: `dola.load`."""

from collections.abc import Callable, Mapping
from os import PathLike, fspath

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import ModelError
from dola.language_model import LanguageModel
from dola.models.adapter import put_on
from dola.models.loading import HostOptions, find_source, load_depth, load_model
from dola.models.placement import Placement
from dola.models.source import Hub
from dola.models.wrappers import unwrapped
from dola.strategies import Depth


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


def load(
    name: str | PathLike[str] | PreTrainedModel,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "auto",
    num_gpus: int | str = 1,
    max_gpu_memory: int = 27,
    device_map: str | Mapping[str, int | str | torch.device] | None = None,
    attn_implementation: str | None = None,
    quantization_config: object = None,
    adapter: str | PathLike[str] | None = None,
    tokenizer: Tokenizer | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    subfolder: str = "",
    trust_remote_code: bool = False,
    progress: Callable[[str], None] = _silent,
) -> LanguageModel:
    """Load a model: an alias (`smollm2`), a hub id, a local folder, or a .gguf file.

        dola.load("meta-llama/Llama-3.1-8B", dtype="auto", device="cuda:1", adapter="my-lora")
        dola.load(model, tokenizer=tokenizer)             # both loaded already

    Args:
        dtype: `float32`, `bfloat16`, `float16` or `auto` (as saved), or torch's; None: float32 on the CPU,
            elsewhere as saved (bfloat16 that the device lacks: float32).
        device: `auto` (CUDA, else mps, where there is one), `cpu`, `cuda`, `cuda:1`, `mps`, or torch's.
        num_gpus: 1, more, or `auto`: as the released `--num-gpus`.
        max_gpu_memory: GiB a GPU may be filled with when there are several; the released `--max_gpu_memory`.
        device_map: the host's, in place of `device` and `num_gpus`.
        attn_implementation, quantization_config: the host's.
        adapter: a folder that PEFT saved, or a hub id, put on the model and switched on.
        tokenizer: in place of the model's own; needed beside a loaded model.
        revision, token, subfolder: of a hub id; a folder here may have a `subfolder` too.
        trust_remote_code: run code that comes with the model.
        progress: is told what takes time (a download, the first unpacking), and the dtype that was taken.

    Raises:
        ModelError: not found, not reachable, not a decoder-only language model, no such device, or an
            adapter of another model.
    """
    if not isinstance(name, str | PathLike):
        return _loaded_already(name, tokenizer, adapter)
    if device_map is not None and (str(device) != "auto" or num_gpus != 1):
        raise ModelError("device_map says where the weights go, and device or num_gpus too: give one")
    placement = Placement(
        device=str(device),
        dtype=None if dtype is None else str(dtype).removeprefix("torch."),
        num_gpus=num_gpus,
        max_gpu_memory=max_gpu_memory,
    )
    name = fspath(name)
    source = find_source(name, progress=progress, hub=Hub(revision, token, subfolder))
    load_depth(source, trust_remote_code=trust_remote_code)
    model, words = load_model(
        source,
        placement,
        trust_remote_code=trust_remote_code,
        options=HostOptions(attn_implementation, quantization_config, device_map),
        tokenizer=tokenizer,
        progress=progress,
    )
    if adapter is not None:
        put_on(model, fspath(adapter), name)
    return LanguageModel(model, words, name)


def _loaded_already(
    model: object, tokenizer: Tokenizer | None, adapter: str | PathLike[str] | None
) -> LanguageModel:
    inside = unwrapped(model) if isinstance(model, nn.Module) else model
    if not isinstance(inside, PreTrainedModel):
        raise ModelError(
            f"expected a model's name or a transformers model, found {type(model).__name__}: an alias, a hub"
            " id, a folder or a .gguf file"
        )
    if tokenizer is None:
        raise ModelError(f"{type(inside).__name__} comes without its tokenizer: load(model, tokenizer=...)")
    if adapter is not None:
        put_on(inside, fspath(adapter), inside.config.name_or_path or type(inside).__name__)
    return LanguageModel(inside, tokenizer)


def depth_of_model(
    name: str, *, trust_remote_code: bool = False, progress: Callable[[str], None] = _silent
) -> Depth:
    """How deep a model is, from its configuration alone (an alias is fetched first)."""
    return load_depth(find_source(name, progress=progress), trust_remote_code=trust_remote_code)
