"""What replaces what on a live model, and how it is put back. Knows no strategy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import LogitsProcessorList, PreTrainedModel

from dola.errors import StrategyError
from dola.models.parts import ModelParts
from dola.models.tap import LayerTap
from dola.strategies import Exit

# The host's method that makes the list of logits processors of a call.
_PREPARE = "_get_logits_processor"


@dataclass(frozen=True)
class Socket:
    """What a plug connects the model with.

    Attributes:
        exits: whose states are needed.
        begin: told of every pass of the model before it, with its arguments.
        score: from the states `[E, B, T, D]` of the positions that the host asks for to scores `[B, T, V]`.
        processors: what becomes of the host's logits processors, given its generation settings and the list
            of them; None: they stay as they are.
    """

    exits: tuple[Exit, ...]
    begin: Callable[[Sequence[Any], Mapping[str, Any]], None]
    score: Callable[[Tensor], Tensor]
    processors: Callable[[Any, LogitsProcessorList], LogitsProcessorList] | None = None


class Plug:
    """Another head in the place of the model's own, until `remove`.

    The blocks whose states are needed are tapped, the head module's `forward` is replaced, and a hook puts
    the scores into the model's output, so that a scale or cap of the host's own never touches them. The
    module itself stays: weights, quantisation, adapters and `state_dict` are as they were.
    """

    def __init__(self, model: PreTrainedModel, parts: ModelParts, socket: Socket) -> None:
        self._model = model
        self._socket = socket
        self._scores: Tensor | None = None  # of the pass that runs
        self._tap = LayerTap(parts, socket.exits)
        self._head = parts.head
        self._host_forward = parts.head.forward
        self._had_own_forward = vars(parts.head).get("forward")
        parts.head.forward = self._forward
        self._handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, always_call=True),
        ]
        if socket.processors is not None:
            vars(model)[_PREPARE] = self._processors
        _forget_compiled(model)

    def _processors(self, generation_config: Any, *arguments: Any, **named: Any) -> LogitsProcessorList:
        """In the place of the host's own."""
        prepared = getattr(type(self._model), _PREPARE)(self._model, generation_config, *arguments, **named)
        change = self._socket.processors
        return prepared if change is None else change(generation_config, prepared)

    def _before(self, _model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("labels") is not None:
            raise StrategyError("no loss is defined on contrasted scores: detach, or call without labels")
        self._scores = None
        self._socket.begin(args, kwargs)
        self._tap.start(kwargs.get("logits_to_keep", 0))

    def _forward(self, final: Tensor) -> Tensor:
        """In the place of the head's own: the last layer's states `[B, T, D]` -> scores `[B, T, V]`."""
        if not self._tap.recording:
            logits: Tensor = self._host_forward(final)
            return logits
        hidden = self._tap.stack(self._socket.exits, final)
        self._tap.stop()
        self._scores = self._socket.score(hidden)
        return self._scores

    def _after(self, _model: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Undo what the model does to its head's output (scale, cap): the scores have had both already."""
        self._tap.stop()
        scores, self._scores = self._scores, None
        if output is None or scores is None:  # the forward pass failed
            return output
        if isinstance(output, tuple):
            return (scores, *output[1:])
        output.logits = scores
        return output

    def remove(self) -> None:
        """Put the model back as it was."""
        self._tap.remove()
        for handle in self._handles:
            handle.remove()
        if self._had_own_forward is None:
            del self._head.forward
        else:
            self._head.forward = self._had_own_forward
        vars(self._model).pop(_PREPARE, None)
        _forget_compiled(self._model)


def _forget_compiled(model: PreTrainedModel) -> None:
    """Drop the host's compiled forward: compilation does not notice that hooks came or went."""
    vars(model).pop("_compiled_call", None)
