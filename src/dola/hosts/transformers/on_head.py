"""In the place of a live model's head: the states of all exits go through the head that the model has now."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dola.head import ContrastiveHead
from dola.models.parts import ModelParts
from dola.models.projection import hangs_on, head_of, is_own_method
from dola.models.replaced import OfModel, Replaced, clear_idle
from dola.models.tap import LayerTap
from dola.strategies import Exit


class Score(Protocol):
    """What becomes of a pass: scores `[..., V]` of states `[E, ..., D]`, by a head that goes through the
    model's own, or from the logits `[E, ..., V]` that its own has given already."""

    def __call__(self, head: ContrastiveHead, hidden: Tensor, logits: Tensor | None) -> Tensor: ...


class OnHead(OfModel):
    """Ours in the place of the `forward` of the module that is the model's head, until `leave`.

    A head that nobody has hung anything on is not run: one product gives the logits of all exits. Where there
    are hooks, or a forward that is not the class's own, the module itself is called, once an exit and in the
    host's shape, `[B, T, D]`. Either way what the head gives in the end are the scores.

    Attributes:
        module: the head.
        scores: what the head gave in this pass; None until it has been called.
    """

    def __init__(
        self,
        parts: ModelParts,
        tap: LayerTap,
        exits: Sequence[Exit],
        score: Score,
        outside: Callable[[], None],
    ) -> None:
        """`outside`: told when the head is called while no pass is under way."""
        self._parts = parts
        self._tap = tap
        self._exits = tuple(exits)
        self._score = score
        self._outside = outside
        self.scores: Tensor | None = None
        self.module = module = parts.head
        self._replaced = Replaced(module, "forward", self._forward)
        self._handle: RemovableHandle = module.register_forward_hook(self._after)
        original = self._replaced.original
        self._by_hand = not (is_own_method(module, original) or hasattr(module, "_hf_hook"))
        self._head = head_of(parts, original)

    @property
    def _of(self) -> nn.Module:
        return self._parts.model

    def _idle(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {"_replaced": copy.deepcopy(self._replaced, memo)}

    @property
    def undone(self) -> bool:
        """Whether another has put back what was there before ours."""
        return not torch.compiler.is_compiling() and self._replaced.undone

    def begin(self) -> None:
        """Before a pass: be behind all that hangs on the head."""
        self.scores = None
        if torch.compiler.is_compiling():
            return
        hooks, ours = self.module._forward_hooks, self._handle.id
        if next(reversed(hooks)) != ours:
            hooks[ours] = hooks.pop(ours)

    def leave(self) -> None:
        """Put the head back as it was. Whoever still calls ours gets what the head does by itself."""
        self.idle = True
        self._replaced.put_back()
        self._handle.remove()
        clear_idle(self._of, OnHead)

    def _forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """In the place of the head's own: the last layer's states `[B, T, D]` -> scores `[B, T, V]`."""
        if self.idle or not self._tap.recording or self._is_called():
            logits: Tensor = self._replaced.original(*args, **kwargs)
            return logits
        final = args[0] if args else next(iter(kwargs.values()))
        hidden = self._tap.stack(self._exits, final)
        self._tap.stop()
        self.scores = self._score(self._head, hidden, None)
        return self.scores

    def _is_called(self) -> bool:
        """Whether the module itself must be called, for what others have done to it."""
        module = self.module
        hooked = len(module._forward_hooks) > 1 or module._forward_pre_hooks
        inside = any(hangs_on(each) for each in module.modules() if each is not module)
        return self._by_hand or bool(hooked) or inside or not self._replaced.in_place

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """The last of the head's hooks."""
        if self.idle:
            return None
        if not self._tap.recording:
            self._outside()
            return None
        hidden = self._tap.stack(self._exits, args[0])
        self._tap.stop()
        depth = self._parts.depth.num_layers
        logits = [
            output if exit.layer == depth else module(state).to(output.device)
            for exit, state in zip(self._exits, hidden, strict=True)
        ]
        self.scores = self._score(self._head, hidden, self._parts.head_output(torch.stack(logits)))
        return self.scores
