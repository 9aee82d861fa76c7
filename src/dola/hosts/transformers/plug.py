"""What replaces what on a live model, and how it is put back. Knows no strategy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LogitsProcessorList, PreTrainedModel

from dola.errors import ModelError, StrategyError
from dola.hosts.transformers.on_forward import OnForward
from dola.hosts.transformers.on_head import OnHead, Score
from dola.hosts.transformers.output import logits_in, with_logits
from dola.models.parts import ModelParts
from dola.models.projection import is_own_method
from dola.models.replaced import Replaced
from dola.models.tap import LayerTap
from dola.strategies import Exit


@dataclass(frozen=True)
class Socket:
    """What a plug connects the model with.

    Attributes:
        exits: whose states are needed.
        begin: told of every pass of the model before it, with its arguments by name.
        score: from the states of the positions that the host asks for to scores, see `Score`.
        processors: what becomes of the host's logits processors, given its generation settings and the list
            of them.
    """

    exits: tuple[Exit, ...]
    begin: Callable[[Mapping[str, Any]], None]
    score: Score
    processors: Callable[[Any, LogitsProcessorList], LogitsProcessorList]


class Plug:
    """Another head in the place of the model's own, until `remove`.

    The blocks whose states are needed are tapped, and three methods are replaced: the forward of the head
    (`OnHead`), the model's own forward (`OnForward`), and the one that makes its logits processors. The
    modules themselves stay: weights, quantisation, adapters and `state_dict` are as they were.
    """

    def __init__(self, model: PreTrainedModel, parts: ModelParts, socket: Socket) -> None:
        self._parts = parts
        self._socket = socket
        self._behind_another = _is_changed_by_another(model)
        self._tap = LayerTap(parts, socket.exits)
        self._head = self._on_head()
        self._forward = OnForward(model, self._around)
        self._processors = Replaced(model, "_get_logits_processor", self._prepare)

    def _prepare(self, generation_config: Any, *arguments: Any, **named: Any) -> LogitsProcessorList:
        """In the place of the host's method that makes the logits processors of a call."""
        prepared: LogitsProcessorList = self._processors.original(generation_config, *arguments, **named)
        return self._socket.processors(generation_config, prepared) if self._forward.on else prepared

    def _on_head(self) -> OnHead:
        return OnHead(self._parts, self._tap, self._socket.exits, self._socket.score, self._outside)

    def _outside(self) -> None:
        """A call of the head outside of a pass, which contrasts nothing. It is one of a pass after all where
        passes do not come through ours any more."""
        if self._forward.undone:
            raise ModelError(
                f"something has put back the forward of {type(self._parts.model).__name__} while a strategy"
                " was attached (as accelerate does when its hooks are removed): detach, and attach again"
            )

    def _around(self, run: Callable[[], Any], arguments: Mapping[str, Any]) -> Any:
        """Around a pass of the model."""
        if arguments.get("labels") is not None:
            raise StrategyError("no loss is defined on contrasted scores: detach, or call without labels")
        if self._parts.head is not self._head.module or self._head.undone:
            self._head.leave()
            self._head = self._on_head()
        self._head.begin()
        self._socket.begin(arguments)
        self._tap.start(arguments.get("logits_to_keep", 0))
        try:
            return self._scored(run())
        finally:
            self._tap.stop()
            self._head.scores = None

    def _scored(self, output: Any) -> Any:
        """Undo what the model does to its head's output (scale, cap): the scores have had both already."""
        scores = self._head.scores
        if scores is None:
            raise ModelError(
                f"{type(self._parts.model).__name__} made its output without calling its language-model head,"
                " so nothing could be contrasted in this pass: detach to call it in this way"
            )
        if not self._behind_another:
            return with_logits(output, scores)
        self._check_that_scores_came_through(output, scores)
        return output

    def _check_that_scores_came_through(self, output: Any, scores: Tensor) -> None:
        """Somebody put a forward of theirs in the place of the model's before this one. It has seen the
        scores, as the head gave them: unless the model changes its logits, theirs is the last word."""
        if self._parts.scale == 1.0 and self._parts.softcap is None:
            return
        found, expected = logits_in(output, scores), self._parts.head_output(scores)
        if found.shape != expected.shape or not torch.allclose(found.float(), expected, rtol=1e-3):
            raise ModelError(
                f"the forward of {type(self._parts.model).__name__} was replaced before the strategy was"
                " attached, by one that changes its logits, and the model scales or caps them in between:"
                " attach first, or change them in a forward hook"
            )
        with_logits(output, scores)

    def remove(self) -> None:
        """Put the model back as it was."""
        self._tap.remove()
        self._head.leave()
        self._forward.leave()
        self._processors.put_back()


def _is_changed_by_another(model: nn.Module) -> bool:
    """Whether the forward that a model has is another's, who may do to its logits what they like."""
    forward = vars(model).get("forward")
    if forward is not None and hasattr(model, "_hf_hook"):  # accelerate's, which moves them between devices
        forward = vars(model).get("_old_forward")
    return forward is not None and not is_own_method(model, forward)
