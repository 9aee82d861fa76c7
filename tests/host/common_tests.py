"""The host's tests that models of all architectures have in common, out of its source distribution.

`common.ModelTesterMixin`; `training.TrainingTesterMixin`: a model learns a text by heart and generates it.
The distribution has the files of the host's `tests` folder, not the folders in it. Two of these the common
tests import, those of `generate` and of exporters: empty classes stand for them.
"""

import importlib
import os
import sys
from types import ModuleType

from source_distribution import tests_folder

# Read when the host's testing tools are imported. A test that asks for a process of its own stays in this
# one, where the models are attached; CPU, unless an accelerator is asked for.
os.environ["_INSIDE_SUB_PROCESS"] = "1"
os.environ.setdefault("TRANSFORMERS_TEST_DEVICE", "cpu")

# Not `tests`, which is what the folder of ours may be called.
_PACKAGE = "tests_of_transformers"
_LEFT_OUT = {"exporters.test_export": "ExportTesterMixin", "generation.test_utils": "GenerationTesterMixin"}


def _prepare() -> None:
    """Make a package of the folder."""
    folder = tests_folder()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there: `make host` fetches the host's own tests")
    _package(_PACKAGE, [str(folder)])
    for path, name in _LEFT_OUT.items():
        _package(f"{_PACKAGE}.{path.partition('.')[0]}", [])
        setattr(_package(f"{_PACKAGE}.{path}", []), name, type(name, (), {}))


def _package(name: str, folders: list[str]) -> ModuleType:
    made = sys.modules[name] = ModuleType(name)
    made.__path__ = folders
    return made


_prepare()
common = importlib.import_module(f"{_PACKAGE}.test_modeling_common")
training = importlib.import_module(f"{_PACKAGE}.test_training_mixin")
