"""The removed `dola_layers=` of transformers, as the host's own custom generation."""

import sys
from collections.abc import Mapping, Sequence
from copy import copy
from types import CodeType, FrameType
from typing import Any, Literal

from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel, StoppingCriteriaList, StopStringCriteria
from transformers.generation.utils import GENERATION_MODES_MAPPING

from dola.contrast import Divergence
from dola.errors import StrategyError
from dola.hosts.transformers.attach import attach
from dola.hosts.transformers.processors import for_contrast, refuse_early_drafts
from dola.strategies import DoLa, Strategy

# What the host's `generate` takes, and tells its own ways to decode alone.
_KEPT_BACK = ("streamer", "assistant_model")


def custom_generate(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    inputs_tensor: Tensor | None = None,
    *,
    dola_layers: Literal["low", "high", "auto", "all"] | Sequence[int] | None = None,
    relative_top: float | None = None,
    mature_layer: int | None = None,
    early_exit_norm: bool | None = None,
    divergence: Divergence | None = None,
    post_softmax: bool | None = None,
    filter_value: float | None = None,
    strategy: Strategy | str | None = None,
    dola_stop_strings: str | Sequence[str] | None = None,
    dola_tokenizer: Any = None,
    **model_kwargs: Any,
) -> Any:
    """The removed `dola_layers=` of transformers, back, with every decoding method of the host:

        model.generate(**inputs, custom_generate=dola.custom_generate, dola_layers="high")

    Called by the host, which prepares everything and passes `**model_kwargs` on. Its `streamer=` and
    `assistant_model=` are served, though it keeps them back from a callable: they are read where it has them.
    A tokenizer it lets nobody have: stop strings are given as `dola_stop_strings`, with `dola_tokenizer`.

    Args:
        dola_layers: `low`, `high`, `auto`, `all`, or the candidate premature layers. None: as in the
            generation config, else `low`.
        relative_top: the adaptive plausibility constraint, `alpha`; 0.1 where it is not given.
        mature_layer: None is the last.
        early_exit_norm: None is False, as the removed one had it.
        divergence, post_softmax, filter_value: as of `DoLa`.
        strategy: another strategy in place of all these, or its text form.

    Returns:
        What the host's own decoding method returns.

    Raises:
        StrategyError: settings that do not go together, or a way to decode that the host has no more.
    """
    settings = {
        "mature_layer": mature_layer,
        "alpha": relative_top,
        "early_exit_norm": early_exit_norm,
        "divergence": divergence,
        "post_softmax": post_softmax,
        "filter_value": filter_value,
    }
    said = {name: value for name, value in settings.items() if value is not None}
    if dola_layers is None and strategy is None:
        dola_layers = generation_config.dola_layers
    wanted = _strategy(dola_layers, said, strategy)
    config = copy(generation_config)
    config.dola_layers = None  # of which the host would know that it is gone
    refuse_early_drafts(config)
    others = _kept_back()
    mode = config.get_generation_mode(others.get("assistant_model"))
    decode = getattr(type(model), GENERATION_MODES_MAPPING[mode], None)
    if decode is None:
        raise StrategyError(
            f"transformers has no {mode.value} of its own any more: choose another way to decode"
        )
    if "streamer" in others and (config.num_beams or 1) > 1:
        raise StrategyError("a streamer takes no beams: leave out streamer, or num_beams")
    if inputs_tensor is not None and mode == "assisted_generation":
        model_kwargs["inputs_tensor"] = inputs_tensor
    processors = for_contrast(logits_processor, beams=(config.num_beams or 1) > 1)
    with attach(model, wanted):
        return decode(
            model,
            input_ids,
            logits_processor=processors,
            stopping_criteria=_stopping(stopping_criteria, dola_stop_strings, dola_tokenizer),
            generation_config=config,
            **others,
            **model_kwargs,
        )


def _strategy(layers: Any, said: Mapping[str, Any], strategy: Strategy | str | None) -> Strategy | str:
    if strategy is None:
        return DoLa("low" if layers is None else layers, **{"early_exit_norm": False, **said})
    if layers is not None or said:
        names = ", ".join(["dola_layers"] * (layers is not None) + list(said)).replace(
            "alpha", "relative_top"
        )
        raise StrategyError(f"strategy says all there is to say, and {names} too: give one or the other")
    return strategy


def _kept_back() -> dict[str, Any]:
    """What the caller gave to the host's `generate`, of which a callable is told nothing.

    Dropped, a reader of the streamer would wait for ever, and an assistant not be asked.
    """
    generate: CodeType = getattr(GenerationMixin.generate, "__wrapped__", GenerationMixin.generate).__code__
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not generate:
        frame = frame.f_back
    if frame is None:
        return {}
    found = {name: frame.f_locals.get(name) for name in _KEPT_BACK}
    return {name: value for name, value in found.items() if value is not None}


def _stopping(criteria: Any, strings: str | Sequence[str] | None, tokenizer: Any) -> Any:
    if strings is None:
        return criteria
    if tokenizer is None:
        raise StrategyError("dola_stop_strings needs the tokenizer: give dola_tokenizer too")
    listed = [strings] if isinstance(strings, str) else list(strings)
    return StoppingCriteriaList([*(criteria or ()), StopStringCriteria(tokenizer, listed)])
