"""The released placement flags, as arguments of `from_pretrained`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dola.errors import ModelError
from dola.models.placement import Placement


def arguments(cuda_devices=0, *, saved="bfloat16", mps_available=False, bfloat16=True, **flags):
    return Placement(**flags).load_arguments(
        saved, cuda_devices=cuda_devices, mps_available=mps_available, bfloat16=bfloat16
    )


def test_one_gpu_takes_the_whole_model():
    assert arguments(4, device="cuda") == {"dtype": "bfloat16", "device_map": {"": "cuda"}}
    assert arguments(4, device="cuda:3") == {"dtype": "bfloat16", "device_map": {"": "cuda:3"}}


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "auto"])
@pytest.mark.parametrize(
    ("saved", "bfloat16", "taken"),
    [
        ("bfloat16", True, "bfloat16"),
        ("bfloat16", False, "float32"),
        ("float16", True, "float16"),
        ("float16", False, "float16"),
        ("float32", True, "float32"),
        ("float64", True, "float32"),
        ("float8_e4m3fn", True, "float32"),
        (None, True, "float32"),
    ],
)
def test_a_gpu_takes_the_checkpoints_own_dtype_and_float16_only_if_it_was_saved_so(
    device, saved, bfloat16, taken
):
    found = arguments(1, device=device, saved=saved, bfloat16=bfloat16, mps_available=True)
    assert found["dtype"] == taken


@pytest.mark.parametrize("saved", ["bfloat16", "float16", "float32", None])
def test_the_cpu_takes_float32_whatever_was_saved(saved):
    assert arguments(1, device="cpu", saved=saved)["dtype"] == "float32"
    assert arguments(0, device="auto", saved=saved)["dtype"] == "float32"


@pytest.mark.parametrize("num_gpus", [3, "3"])
def test_several_gpus_share_the_model_each_up_to_the_memory_limit(num_gpus):
    assert arguments(4, device="cuda", num_gpus=num_gpus, max_gpu_memory=20) == {
        "dtype": "bfloat16",
        "device_map": "auto",
        "max_memory": {0: "20GiB", 1: "20GiB", 2: "20GiB"},
    }


def test_auto_gpus_leaves_the_limits_to_accelerate():
    assert arguments(1, device="cuda", num_gpus="auto") == {"dtype": "bfloat16", "device_map": "auto"}


@pytest.mark.parametrize("num_gpus", ["1", "8", "auto"])
def test_the_cpu_ignores_the_number_of_gpus(num_gpus):
    assert arguments(4, device="cpu", num_gpus=num_gpus) == {"dtype": "float32"}


def test_auto_takes_the_best_device_there_is():
    assert arguments(2, mps_available=True)["device_map"] == {"": "cuda"}
    assert arguments(0, mps_available=True) == {"dtype": "bfloat16", "device_map": {"": "mps"}}
    assert arguments(0) == {"dtype": "float32"}


def test_a_dtype_that_is_asked_for_holds_on_every_device():
    assert arguments(1, device="cuda", dtype="bfloat16")["dtype"] == "bfloat16"
    assert arguments(0, device="cpu", dtype="auto")["dtype"] == "auto"


@pytest.mark.parametrize(
    ("flags", "needed"),
    [({"device": "cuda"}, 1), ({"device": "cuda:2"}, 3), ({"device": "cuda", "num_gpus": 4}, 4)],
)
def test_a_missing_gpu_is_said_with_how_many_are_needed(flags, needed):
    with pytest.raises(ModelError, match=rf"needs {needed} CUDA device.*here; give device 'cpu'"):
        arguments(needed - 1, **flags)


def test_several_gpus_are_never_silently_replaced_by_the_cpu():
    with pytest.raises(ModelError, match="no CUDA device"):
        arguments(0, device="auto", num_gpus="2")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cuda:"}, "unknown device 'cuda:'"),
        ({"dtype": "half"}, "unknown dtype 'half'"),
        ({"num_gpus": "0"}, "num_gpus must be"),
        ({"num_gpus": "two"}, "num_gpus must be"),
        ({"max_gpu_memory": 0}, "max_gpu_memory must be"),
        ({"device": "cuda:1", "num_gpus": 2}, "names one GPU"),
        ({"device": "mps"}, "this machine has none"),
    ],
)
def test_flags_that_cannot_hold_are_refused(flags, said):
    with pytest.raises(ModelError, match=said):
        arguments(8, **flags)


def test_flags_are_read_without_loading_torch():
    code = (
        "import sys; from dola.models.placement import Placement; Placement().load_arguments"
        "(cuda_devices=0, mps_available=False); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
