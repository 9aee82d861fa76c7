"""Transformers as a host: the head of any loaded causal language model, replaced and put back.

The host keeps everything it does with logits: greedy and beam search, sampling, processors, streamers,
caches, assisted generation, compilation. None of it is written here.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

from torch import Tensor, nn
from transformers import LogitsProcessorList, PreTrainedModel
from transformers.generation.utils import GENERATION_MODES_MAPPING

from dola.contrast import are_finite
from dola.errors import ModelError, StrategyError
from dola.head import ContrastiveHead
from dola.hosts.processors import for_contrast
from dola.hosts.watch import Watch
from dola.models.parts import take_apart
from dola.models.probe import probe
from dola.models.projection import projection_of
from dola.models.tap import LayerTap
from dola.models.turns import turn
from dola.strategies import Contrast, DoLa, Strategy

_MARK = "_dola_attachment"
# The host's method that makes the list of logits processors of a call.
_PREPARE = "_get_logits_processor"


class Attachment:
    """A contrastive head on a model, until `detach` or the end of the `with` block.

    Attributes:
        model: the model, changed in place.
        strategy: the strategy with the model's own layer numbers.
        last: what the latest forward pass was contrasted with, for the positions whose logits it gave:
            scores `[B, T, V]`, chosen candidate `[B, T]`, divergences `[K, B, T]`. None before the first.
    """

    def __init__(self, model: PreTrainedModel, strategy: Strategy) -> None:
        parts = take_apart(model)
        if attached(model) is not None:
            raise ModelError(f"{type(model).__name__} has a strategy attached already: detach that one first")
        self.model = model
        self.strategy = strategy.resolve(parts.depth)
        if not parts.listed:
            probe(model, parts)
        self.last: Contrast | None = None
        self._head = ContrastiveHead(projection_of(parts), parts.vocab_size)
        self._watch = Watch(model, self.strategy.exits)
        self._tap = LayerTap(parts, self.strategy.exits)
        self._lm_head = parts.head
        self._host_forward = parts.head.forward
        self._had_own_forward = vars(parts.head).get("forward")
        parts.head.forward = self._forward
        self._handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, always_call=True),
        ]
        if _contrasts(self.strategy, parts.depth.num_layers):
            vars(model)[_PREPARE] = self._processors
        setattr(model, _MARK, self)
        _forget_compiled(model)

    def _processors(self, generation_config: Any, *arguments: Any, **named: Any) -> LogitsProcessorList:
        """In the place of the host's own: what it prepares, as it works on contrasted scores."""
        prepare = getattr(type(self.model), _PREPARE)
        prepared = prepare(self.model, generation_config, *arguments, **named)
        return for_contrast(prepared, beams=(generation_config.num_beams or 1) > 1)

    def _before(self, _model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("labels") is not None:
            raise StrategyError("no loss is defined on contrasted scores: detach, or call without labels")
        self.last = None
        self._watch.begin(args, kwargs)
        self._tap.start(kwargs.get("logits_to_keep", 0))

    def _forward(self, final: Tensor) -> Tensor:
        """In the place of the head's own: the last layer's states `[B, T, D]` -> scores `[B, T, V]`."""
        if not self._tap.recording:
            logits: Tensor = self._host_forward(final)
            return logits
        hidden = self._tap.stack(self.strategy.exits, final)
        self._tap.stop()
        contrast, unusable = self._head.read(hidden, self.strategy)
        self._watch.look(are_finite(hidden), unusable)
        self.last = contrast
        return contrast.scores

    def _after(self, _model: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Undo what the model does to its head's output (scale, cap): the contrast has had both already."""
        self._tap.stop()
        if output is None or self.last is None:  # the forward pass failed
            return output
        if isinstance(output, tuple):
            return (self.last.scores, *output[1:])
        output.logits = self.last.scores
        return output

    def detach(self) -> None:
        """Put the model back as it was. Detaching twice does nothing.

        Raises:
            NumericsError: the last forward pass read what is no number, and nobody has said so yet.
        """
        if attached(self.model) is not self:
            return
        self._tap.remove()
        for handle in self._handles:
            handle.remove()
        if self._had_own_forward is None:
            del self._lm_head.forward
        else:
            self._lm_head.forward = self._had_own_forward
        vars(self.model).pop(_PREPARE, None)
        delattr(self.model, _MARK)
        _forget_compiled(self.model)
        self._watch.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # which is not to be hidden by what it may well have come from
            self._watch.forget()
        self.detach()


def attach(model: PreTrainedModel, strategy: Strategy) -> Attachment:
    """Give a loaded model a contrastive head, in place.

        with dola.attach(model, dola.DoLa("high")):
            model.generate(**inputs, max_new_tokens=64)

    Its logits are then the strategy's scores `[B, T, V]` in float32; tokens that are ruled out lie finitely
    below all others. The weights are not touched. One strategy at a time, and for one thread: while it is
    attached, the model's own calls are not kept apart (those of `LanguageModel` are, and refuse to generate
    meanwhile). `generate` refuses `guidance_scale` while a contrasting strategy is attached.

    Where NaN, +inf or a row of nothing but -inf is read, padding aside, the forward pass raises
    NumericsError; on CUDA, so that nothing waits, the next pass or `detach` does. A candidate of `DoLa` is
    left out instead, and counted in `last.left_out`.

    Raises:
        ModelError: not a decoder-only language model with a head, one already attached, or an unlisted
            architecture whose logits are not reproduced; or the call comes from within a batch of it.
        LayerError: a layer that the model lacks.
    """
    with turn(model):
        return Attachment(model, strategy)


def attached(model: PreTrainedModel) -> Attachment | None:
    """The attachment on this model, if there is one."""
    found: Attachment | None = vars(model).get(_MARK)
    return found


def custom_generate(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    inputs_tensor: Tensor | None = None,
    dola_layers: Literal["low", "high", "auto"] | Sequence[int] = "low",
    relative_top: float = 0.1,
    **model_kwargs: Any,
) -> Any:
    """The removed `dola_layers=` of transformers, back, with every decoding method of the host:

        model.generate(**inputs, custom_generate=dola.custom_generate, dola_layers="high")

    Called by the host, which prepares everything and passes `**model_kwargs` on. It does not pass on a
    streamer, an assistant model or the tokenizer of stop strings to a callable; for those, use `attach`.

    Args:
        dola_layers: `low`, `high`, `auto`, or the candidate premature layers; the last layer is mature.
        relative_top: the adaptive plausibility constraint, `alpha`.

    Returns:
        What the host's own decoding method returns.
    """
    layers: Any = dola_layers  # which DoLa checks
    processors = for_contrast(logits_processor, beams=(generation_config.num_beams or 1) > 1)
    mode = generation_config.get_generation_mode(None)
    decode = getattr(type(model), GENERATION_MODES_MAPPING[mode], None)
    if decode is None:
        raise StrategyError(
            f"transformers has no {mode.value} of its own any more: choose another way to decode"
        )
    if inputs_tensor is not None and mode == "assisted_generation":
        model_kwargs["inputs_tensor"] = inputs_tensor
    with attach(model, DoLa(layers, alpha=relative_top, early_exit_norm=False)):
        return decode(
            model,
            input_ids,
            logits_processor=processors,
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            **model_kwargs,
        )


def _contrasts(strategy: Strategy, last_layer: int) -> bool:
    """Whether other layers than the last are read."""
    return any(exit.layer != last_layer for exit in strategy.exits)


def _forget_compiled(model: PreTrainedModel) -> None:
    """Drop the host's compiled forward: compilation does not notice that hooks came or went."""
    vars(model).pop("_compiled_call", None)
