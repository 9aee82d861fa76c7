"""A ready-to-load copy of an embedded model: its GGUF file dequantised once, as the hub's own file format.

Reading the quantised file takes most of a minute each time (its metadata is parsed in Python, three times
over), the copy about a second. The weights are the same float32 numbers to the bit.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from dola.models.aliases import Weights
from dola.models.weights import cache_folder, fetch, file_errors_explained

_CHECKSUMS = "checksums.json"
# Without these no copy is whole, whatever its list of checksums says.
_REQUIRED = frozenset({"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
_CHECKED: set[tuple[str, str, int, int]] = set()


def unpacked_folder(weights: Weights, *, progress: Callable[[str], None]) -> Path:
    """The folder with the model in float32 and its tokenizer, made where it is missing or damaged.

    Raises:
        WeightsError: the weights cannot be fetched or kept.
    """
    folder = cache_folder() / "models" / weights.alias / f"float32-{weights.sha256[:12]}"
    if _whole(folder):
        return folder
    gguf = fetch(weights.alias, progress=progress)
    with file_errors_explained(weights), FileLock(folder.with_suffix(".lock")):
        if not _whole(folder):  # again: who held the lock before us may have made it
            progress(f"preparing {weights.title} for use (once, about a minute)")
            partial = folder.with_name(".unpacking")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                _unpack(gguf, partial)
                _clear(folder)
                partial.replace(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def _clear(folder: Path) -> None:
    """Make room, whatever lies there."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _whole(folder: Path) -> bool:
    """Whether every file is there as it was written, and no other: the host reads what it finds."""
    try:
        sums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        if not isinstance(sums, dict) or not sums.keys() >= _REQUIRED:
            return False
        found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        return found == {_CHECKSUMS, *sums} and all(
            isinstance(digest, str) and _unchanged(folder / name, digest) for name, digest in sums.items()
        )
    except (OSError, ValueError, RecursionError):
        return False


def _unchanged(path: Path, digest: str) -> bool:
    """Whether the file has this SHA-256. Read once a process, unless its size or time have changed."""
    seen = path.stat()
    stamp = (str(path), digest, seen.st_size, seen.st_mtime_ns)
    if stamp not in _CHECKED and _sha256(path) == digest:
        _CHECKED.add(stamp)
    return stamp in _CHECKED


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(gguf: Path, folder: Path) -> None:
    _write(gguf, folder)
    sums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / _CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")


def _write(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from dola.models.filled import check_filled

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, output_loading_info=True
    )
    model, report = loaded
    check_filled(model, report, gguf.name, tell=lambda _: None)
    # The numbers are plain float32 from here on; a model that is marked as quantised cannot be saved.
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):
        vars(model).pop(mark, None)
    del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
