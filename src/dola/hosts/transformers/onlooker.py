"""Looks at what a live model's own head reads and gives, and changes nothing, to the bit."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from dola.hosts.transformers.on_forward import OnForward
from dola.models.parts import ModelParts
from dola.models.replaced import OfModel, clear_idle


class Onlooker(OfModel):
    """In the place of a `Plug` where nothing is contrasted.

    It is told of every pass before it, with the arguments by name, and shown the states that the head read
    `[B, T, D]` with the logits that it gave `[B, T, V]`, before the model scales or caps them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        parts: ModelParts,
        begin: Callable[[Mapping[str, Any]], None],
        look: Callable[[Tensor, Tensor], None],
    ) -> None:
        self._parts = parts
        self._begin = begin
        self._look = look
        self._running = False
        self._watch(parts.head)
        self._forward = OnForward(model, self._around)

    @property
    def _of(self) -> nn.Module:
        return self._parts.model

    def _idle(self, memo: dict[int, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {"_running": False}

    def _watch(self, head: nn.Module) -> None:
        self._head = head
        self._handle: RemovableHandle = head.register_forward_hook(self._saw)

    def _around(self, run: Callable[[], Any], arguments: Mapping[str, Any]) -> Any:
        head = self._parts.head
        if head is not self._head:
            self._handle.remove()
            self._watch(head)
        self._begin(arguments)
        self._running = True
        try:
            return run()
        finally:
            self._running = False

    def _saw(self, _head: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._running and args and isinstance(output, Tensor):
            with torch.no_grad():
                self._look(args[0], output)

    def remove(self) -> None:
        """Put the model back as it was."""
        self._handle.remove()
        self._forward.leave()
        clear_idle(self._of, Onlooker)
