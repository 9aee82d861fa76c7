"""What other people hang on a model: hooks, a forward in place of its own, things that break.

All are classes of a module, so that they are copied and pickled with the model that they hang on.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn


class Broken(Exception):
    """What a stranger's hook fails with."""


class Louder:
    """A hook on the head: its logits, a quarter larger."""

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output * 1.25


class Steering:
    """A hook before the head: the states that it reads, moved."""

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0] + 0.3, *args[1:])


class Nudge:
    """A hook on a block: what it gives, moved."""

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        return (output[0] + 0.1, *output[1:]) if isinstance(output, tuple) else output + 0.1


class LastTwo:
    """A hook before the model: it is asked for the logits of the last two positions."""

    def __call__(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "logits_to_keep": 2}


class Favour:
    """A hook on the model: three more for one token."""

    token = 5

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        return with_more(output, self.token)


class Breaks:
    """A hook that fails."""

    def __call__(self, *args: Any) -> None:
        raise Broken


class BreaksAsProcessor:
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        raise Broken


class InPlaceOfForward:
    """A forward in the place of a module's own, which it calls; taken off as accelerate takes off its own."""

    def __init__(self, module: nn.Module) -> None:
        self.before = vars(module).get("forward")
        self.inner = module.forward
        self.__signature__ = inspect.signature(module.forward)
        vars(module)["forward"] = self
        vars(module)["_in_place_of_forward"] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.changed(self.inner(*args, **kwargs))

    def changed(self, output: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def on(module: nn.Module) -> InPlaceOfForward | None:
        return vars(module).get("_in_place_of_forward")

    def take_off(self, module: nn.Module) -> None:
        del vars(module)["_in_place_of_forward"]
        del vars(module)["forward"]
        if self.before is not None:
            vars(module)["forward"] = self.before


class LouderForward(InPlaceOfForward):
    def changed(self, output: Any) -> Any:
        return output * 1.5


class FavouringForward(InPlaceOfForward):
    token = 7

    def changed(self, output: Any) -> Any:
        return with_more(output, self.token)


def with_more(output: Any, token: int) -> Any:
    """An output of a model with three more for one token."""
    logits = output[1] if isinstance(output, tuple) and output[0].ndim == 0 else output[0]
    logits = logits if isinstance(output, tuple) else output.logits
    more = torch.zeros_like(logits)
    more[..., token] = 3.0
    if isinstance(output, tuple):
        return tuple(each + more if each is logits else each for each in output)
    output.logits = logits + more
    return output


def hooks_of(module: nn.Module, kind: type) -> dict[int, Any]:
    """Those hooks of a module that are of this kind, by the number that they have there."""
    every = {**module._forward_hooks, **module._forward_pre_hooks}
    return {number: hook for number, hook in every.items() if isinstance(hook, kind)}


def unhook(module: nn.Module, kind: type) -> None:
    """As a handle does it; the handles that the original was hooked by do not know a copy."""
    for number in hooks_of(module, kind):
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._forward_pre_hooks_with_kwargs,
        ):
            hooks.pop(number, None)
