"""A ready-to-load copy of an embedded model: its GGUF file dequantised once, as the hub's own file format.

Reading the quantised file takes most of a minute each time (its metadata is parsed in Python, three times
over), the copy about a second. The weights are the same float32 numbers to the bit.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from dola.models.aliases import Weights
from dola.models.weights import fetch

_CHECKSUMS = "checksums.json"


def unpacked_folder(weights: Weights, *, progress: Callable[[str], None]) -> Path:
    """The folder with the model in float32 and its tokenizer, made where it is missing or damaged.

    Raises:
        WeightsError: the weights cannot be fetched or kept.
    """
    gguf = fetch(weights.alias, progress=progress)
    folder = gguf.parent / f"float32-{weights.sha256[:12]}"
    with FileLock(gguf.parent / f"{folder.name}.lock"):
        if not _whole(folder):
            progress(f"preparing {weights.title} for use (once, about a minute)")
            partial = gguf.parent / ".unpacking"
            shutil.rmtree(partial, ignore_errors=True)
            try:
                _unpack(gguf, partial)
                shutil.rmtree(folder, ignore_errors=True)
                partial.replace(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def _whole(folder: Path) -> bool:
    """Whether every file is there as it was written."""
    try:
        sums: dict[str, str] = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        return all(_sha256(folder / name) == digest for name, digest in sums.items())
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # The numbers are plain float32 from here on; a model that is marked as quantised cannot be saved.
    model.hf_quantizer = None
    vars(model).pop("is_quantized", None)
    vars(model).pop("quantization_method", None)
    del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    sums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / _CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")
