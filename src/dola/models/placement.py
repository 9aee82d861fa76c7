"""Where a model's weights go and in which dtype: from the released flags to `from_pretrained` arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dola.errors import ModelError

DTYPES = ("float32", "bfloat16", "float16", "auto")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class Placement:
    """The released flags `--device`, `--num-gpus` and `--max_gpu_memory`, and `--dtype`.

    Attributes:
        device: `auto` (a CUDA device, else Apple's `mps`, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: of the weights. None: float32 on the CPU, else the dtype that they were saved in where the
            device computes in it, and float32 where it does not; `auto`: as saved, on every device.
        num_gpus: on CUDA, 1: the whole model on one GPU; n: spread over the first n by accelerate, each
            filled up to `max_gpu_memory`; `auto`: spread over all of them. Of no effect on other devices.
        max_gpu_memory: GiB.
    """

    device: str = "auto"
    dtype: str | None = None
    num_gpus: int | str = "1"
    max_gpu_memory: int = 27

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise ModelError(
                f"unknown device {self.device!r}: expected auto, cpu, cuda, cuda:N (as in cuda:0) or mps"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ModelError(f"unknown dtype {self.dtype!r}: expected one of {', '.join(DTYPES)}")
        if self.max_gpu_memory < 1:
            raise ModelError(f"max_gpu_memory must be at least 1 (GiB), found {self.max_gpu_memory}")
        if self._gpus != 1 and self.device.startswith("cuda:"):
            raise ModelError(
                f"device {self.device!r} names one GPU, but num_gpus is {self.num_gpus}: give device 'cuda'"
            )

    @property
    def _gpus(self) -> int | None:
        """`num_gpus` as a number; None is `auto`."""
        if self.num_gpus == "auto":
            return None
        if not str(self.num_gpus).isdecimal() or int(self.num_gpus) < 1:
            raise ModelError(f"num_gpus must be 'auto' or a whole number from 1, found {self.num_gpus!r}")
        return int(self.num_gpus)

    def load_arguments(
        self, saved: str | None = None, *, cuda_devices: int, mps_available: bool, bfloat16: bool = True
    ) -> dict[str, Any]:
        """Arguments for `from_pretrained` on a machine that has this: `dtype` (a name, as transformers
        takes it), and `device_map` and `max_memory` unless the weights stay on the CPU.

        Args:
            saved: the dtype that the weights were saved in, by torch's name; None: not known.
            bfloat16: whether the machine's CUDA device or mps computes in bfloat16.

        Raises:
            ModelError: a device, or a number of them, that the machine lacks.
        """
        device = self._device_here(cuda_devices, mps_available=mps_available)
        on_cuda = device.startswith("cuda")
        dtype = self.dtype or _default_dtype(device, saved, bfloat16=bfloat16)
        arguments: dict[str, Any] = {"dtype": dtype}
        if on_cuda and self._gpus != 1:
            arguments["device_map"] = "auto"
            if self._gpus is not None:
                arguments["max_memory"] = dict.fromkeys(range(self._gpus), f"{self.max_gpu_memory}GiB")
        elif device != "cpu":
            arguments["device_map"] = {"": device}
        return arguments

    def load_arguments_here(self, saved: str | None = None) -> dict[str, Any]:
        """`load_arguments` on this machine."""
        import torch

        return self.load_arguments(
            saved,
            cuda_devices=torch.cuda.device_count() if torch.cuda.is_available() else 0,
            mps_available=torch.backends.mps.is_available(),
            bfloat16=_computes_in_bfloat16(),
        )

    def _device_here(self, cuda_devices: int, *, mps_available: bool) -> str:
        """The device to use, once it is known to be there."""
        wanted = self.device
        if wanted == "cpu":
            return wanted
        if wanted == "mps" and not mps_available:
            raise ModelError("device 'mps': this machine has none; give device 'cpu' or 'auto'")
        index = int(wanted.partition(":")[2] or 0)
        needed = max(index + 1, self._gpus or 1) if wanted.startswith("cuda") else self._gpus or 1
        spread = wanted.startswith("cuda") or (wanted == "auto" and needed > 1)
        if spread and cuda_devices < needed:
            asked = f"device {wanted!r}" + (f" with num_gpus {self.num_gpus}" if self._gpus != 1 else "")
            found = f"{cuda_devices} CUDA device(s)" if cuda_devices else "no CUDA device"
            raise ModelError(
                f"{asked} needs {needed} CUDA device(s), and PyTorch sees {found} here;"
                " give device 'cpu', or install a CUDA build of PyTorch and its driver"
            )
        if wanted != "auto":
            return wanted
        return "cuda" if cuda_devices else "mps" if mps_available else "cpu"


def _default_dtype(device: str, saved: str | None, *, bfloat16: bool) -> str:
    """Half precision where the weights were saved in it, of the same kind: a model that was trained in
    bfloat16 overflows in float16, without a word."""
    if device == "cpu" or saved not in ("float16", "bfloat16"):
        return "float32"
    return saved if saved == "float16" or bfloat16 else "float32"


def _computes_in_bfloat16() -> bool:
    """Whether this machine's GPU does, by itself: emulated it is slow, and lacks operations."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.backends.mps.is_available() and bool(torch.backends.mps.is_macos_or_newer(14, 0))
