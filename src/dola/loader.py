"""From a name to a language model: `dola.load`."""

from collections.abc import Callable

from dola.language_model import LanguageModel
from dola.models.loading import find_source, load_depth, load_model
from dola.models.placement import Placement
from dola.strategies import Depth


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


def load(
    name: str,
    *,
    dtype: str | None = None,
    device: str = "auto",
    num_gpus: int | str = 1,
    max_gpu_memory: int = 27,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] = _silent,
) -> LanguageModel:
    """Load a model: an alias (`smollm2`), a hub id, a local folder, or a .gguf file.

    Args:
        dtype: `float32`, `bfloat16`, `float16` or `auto` (as saved); None: float32 on the CPU, elsewhere as
            saved (bfloat16 that the device lacks: float32).
        device: `auto` (CUDA, else mps, where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        num_gpus: 1, more, or `auto`: as the released `--num-gpus`.
        max_gpu_memory: GiB a GPU may be filled with when there are several; the released `--max_gpu_memory`.
        trust_remote_code: run code that comes with the model.
        progress: is told what takes time (a download, the first unpacking), and the dtype that was taken.

    Raises:
        ModelError: not found, not reachable, not a decoder-only language model, or no such device.
    """
    placement = Placement(device=device, dtype=dtype, num_gpus=num_gpus, max_gpu_memory=max_gpu_memory)
    source = find_source(name, progress=progress)
    load_depth(source, trust_remote_code=trust_remote_code)
    model, tokenizer = load_model(source, placement, trust_remote_code=trust_remote_code, progress=progress)
    return LanguageModel(model, tokenizer, name)


def depth_of_model(
    name: str, *, trust_remote_code: bool = False, progress: Callable[[str], None] = _silent
) -> Depth:
    """How deep a model is, from its configuration alone (an alias is fetched first)."""
    return load_depth(find_source(name, progress=progress), trust_remote_code=trust_remote_code)
