"""The removed `dola_layers=` of transformers, as the host's own custom generation."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation.utils import GENERATION_MODES_MAPPING

from dola.errors import StrategyError
from dola.hosts.transformers.attach import attach
from dola.hosts.transformers.processors import for_contrast, refuse_early_drafts
from dola.strategies import DoLa


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
    refuse_early_drafts(generation_config)
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
