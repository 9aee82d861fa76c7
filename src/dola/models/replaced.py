"""A method of a live module with another in its place, and how exactly that much is undone."""

from collections.abc import Callable
from typing import Any

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

    def put_back(self) -> None:
        """Undo it. Twice does nothing."""
        if not self.in_place:
            return
        if self._before is None:
            del vars(self._module)[self._name]
        else:
            vars(self._module)[self._name] = self._before
