"""A configuration can promise a model of any size; building one that its files cannot fill is not begun.

The host builds what the configuration says, then fills what it finds no weights for with random ones. With
10^12 layers the first never ends, with a vocabulary of 10^12 the second takes all memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from dola.errors import ModelError
from dola.models.saved import Saved

# Far more than any model has, and few enough to make a list of.
_MOST = 1_000_000
# In the names of settings by which a configuration makes a list as long.
_COUNTED = ("layer", "block", "depth", "label")
# Generous on purpose: what is a little too large is refused by name once it is loaded. A saved tensor
# becomes several weights (of fused ones), a weight has modules around it, a tied one is made twice.
_WEIGHTS_A_TENSOR = 16
_MODULES_A_TENSOR = 64
_NUMBERS_A_NUMBER = 4
_SLACK_MODULES = 2_000
_SLACK_NUMBERS = 1 << 26


def check_counts(settings: Mapping[str, Any], name: str) -> None:
    """See that a configuration's numbers of layers, blocks, labels can be counted to: the host does.

    Raises:
        ModelError: one that cannot.
    """
    for key, value in settings.items():
        if isinstance(value, Mapping):
            check_counts(value, name)
        elif isinstance(value, int) and value > _MOST and any(word in key for word in _COUNTED):
            raise ModelError(f"the configuration of {name} says {key} = {value:,}: no model has so many")


@contextmanager
def no_larger_than(saved: Saved | None, name: str) -> Iterator[None]:
    """While it holds, building a model on the meta device ends when it is larger than its files can fill.

    Only this thread's building is counted. None: nothing is known of the files, nothing is bounded.

    Raises:
        ModelError: the model that is being built is larger.
    """
    if saved is None:
        yield
        return
    count = _Count(saved, name)
    with ExitStack() as hooks:
        for register, hook in (
            (register_module_module_registration_hook, count.module),
            (register_module_parameter_registration_hook, count.parameter),
            (register_module_buffer_registration_hook, count.buffer),
        ):
            registering: Callable[[Any], Any] = register
            hooks.callback(registering(hook).remove)
        yield


class _Count:
    """What has been registered since, against what the files hold."""

    def __init__(self, saved: Saved, name: str) -> None:
        self._saved = saved
        self._name = name
        self._thread = threading.get_ident()
        self._modules = self._numbers = 0
        self._weights: dict[int, Tensor] = {}  # kept, so that no other gets an address again

    def module(self, _: nn.Module, __: str, ___: nn.Module | None) -> None:
        if threading.get_ident() == self._thread:
            self._modules += 1
            self._check(self._modules, _MODULES_A_TENSOR, "modules")

    def parameter(self, _: nn.Module, __: str, parameter: Tensor | None) -> None:
        self._add(parameter)
        self._check(len(self._weights), _WEIGHTS_A_TENSOR, "weights")

    def buffer(self, _: nn.Module, __: str, buffer: Tensor | None) -> None:
        self._add(buffer)

    def _add(self, tensor: Tensor | None) -> None:
        # One on a device is being filled: it takes the place of one that was counted.
        if tensor is None or not tensor.is_meta or threading.get_ident() != self._thread:
            return
        if id(tensor) not in self._weights:
            self._weights[id(tensor)] = tensor
            self._numbers += tensor.numel()
        if self._numbers > _NUMBERS_A_NUMBER * self._saved.numbers + _SLACK_NUMBERS:
            raise self._too_large(f"{self._numbers:,} numbers or more")

    def _check(self, found: int, each: int, what: str) -> None:
        if found > each * self._saved.tensors + _SLACK_MODULES:
            raise self._too_large(f"more than {found - 1:,} {what}")

    def _too_large(self, found: str) -> ModelError:
        return ModelError(
            f"the configuration of {self._name} describes a model of {found}, and its files hold"
            f" {self._saved.tensors:,} tensors in {self._saved.size:,} bytes: config.json is not theirs"
        )
