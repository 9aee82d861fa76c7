"""Around every pass of a live model, however it is called."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType
from typing import Any

from transformers import PreTrainedModel

from dola.models.replaced import Replaced

Around = Callable[[Callable[[], Any], Mapping[str, Any]], Any]
"""What a pass becomes: from the pass itself, to be run, and its arguments by name, to the model's output."""


class OnForward:
    """Ours in the place of a model's forward, until `leave`.

    The forward is replaced, and no hook is put on the model: that way it does not matter whether the model or
    its `forward` is called, and what others hang on it comes after ours and works on what ours returns. Hosts
    that ask what they may pass find the signature of the model's own.

    Attributes:
        on: False once it has been left; whoever still calls it then gets the model's own forward.
    """

    def __init__(self, model: PreTrainedModel, around: Around) -> None:
        self.on = True
        self._names = tuple(inspect.signature(type(model).forward).parameters)[1:]
        self._model = model
        self._around = around
        self._replaced = Replaced(model, "forward", self)
        _forget_compiled(model)

    @property
    def __signature__(self) -> inspect.Signature:
        """By which hosts find out what they may pass."""
        return inspect.signature(self._replaced.original)

    @property
    def __code__(self) -> CodeType:
        """By which torch.export says where a forward is."""
        return type(self).__call__.__code__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.on:
            return self._replaced.original(*args, **kwargs)
        arguments = {**dict(zip(self._names, args, strict=False)), **kwargs}
        return self._around(partial(self._replaced.original, *args, **kwargs), arguments)

    @property
    def undone(self) -> bool:
        """Whether another has put back what was there before ours."""
        return self._replaced.undone

    def leave(self) -> None:
        """Put the model's forward back."""
        self.on = False
        self._replaced.put_back()
        _forget_compiled(self._model)


def _forget_compiled(model: PreTrainedModel) -> None:
    """Drop the host's compiled forward: compilation does not notice that hooks came or went."""
    vars(model).pop("_compiled_call", None)
