"""A method of a live module with another in its place, and how exactly that much is undone."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

from torch import nn


class Replaced:
    """Ours in the place of a module's method, until `put_back`.

    Whoever wraps ours meanwhile keeps what they have: then nothing is taken off, and ours must do from there
    on what the original does. Copied and pickled with the module.

    Attributes:
        original: what the module would do by itself.
    """

    def __init__(self, module: nn.Module, name: str, ours: Callable[..., Any]) -> None:
        self._module = module
        self._name = name
        self._ours = ours
        self._before = vars(module).get(name)
        self.original: Callable[..., Any] = getattr(module, name)
        vars(module)[name] = ours

    @property
    def in_place(self) -> bool:
        """Whether the module's method is ours, and not another's that may call it."""
        return vars(self._module).get(self._name) is self._ours

    @property
    def undone(self) -> bool:
        """Whether the module does again what it did before: what another put back has overwritten ours."""
        found = vars(self._module).get(self._name)
        own = getattr(found, "__func__", None) is getattr(type(self._module), self._name)
        return found is not self._ours and (found is None or found is self._before or own)

    def put_back(self) -> None:
        """Undo it. Twice does nothing."""
        if not self.in_place:
            return
        if self._before is None:
            del vars(self._module)[self._name]
        else:
            vars(self._module)[self._name] = self._before


class OfModel(ABC):
    """Something of ours that hangs on modules of a model.

    A copy of the model has one of its own. A copy of a module alone, as PEFT makes of a head for
    `modules_to_save`, has an idle one, which does nothing and does not hold a copy of all the model.
    """

    idle = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        with_model = id(self._of) in memo
        vars(copied).update(
            copy.deepcopy(vars(self), memo) if with_model else {**self._idle(memo), "idle": True}
        )
        return copied

    @property
    @abstractmethod
    def _of(self) -> nn.Module:
        """The model."""

    @abstractmethod
    def _idle(self, memo: dict[int, Any]) -> dict[str, Any]:
        """What an idle one has of its own."""


def clear_idle(model: nn.Module, kind: type[OfModel]) -> None:
    """Take idle ones of this kind off the modules of a model."""
    for module in model.modules():
        for number, hook in list(module._forward_hooks.items()):
            owner = getattr(hook, "__self__", None)
            if isinstance(owner, kind) and owner.idle:
                del module._forward_hooks[number]
                replaced = vars(owner).get("_replaced")
                if isinstance(replaced, Replaced):
                    replaced.put_back()
