"""The host's logits processors on contrasted scores: what they may do to tokens that are ruled out.

A ruled-out token lies finitely below the plausible ones (`dola.contrast.apply_plausibility`), so that masks
of any kind leave the likeliest of what they allow. But what is finite can be lifted, and subtracted.
"""

from typing import Any, cast

import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation.logits_process import (
    ClassifierFreeGuidanceLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor,
    ExponentialDecayLengthPenalty,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)

from dola.contrast import BELOW
from dola.errors import StrategyError

_GUIDANCE = (UnbatchedClassifierFreeGuidanceLogitsProcessor, ClassifierFreeGuidanceLogitsProcessor)
# What adds to scores or multiplies them; all others of the host's forbid or keep.
_LIFTING = (
    EncoderRepetitionPenaltyLogitsProcessor,
    ExponentialDecayLengthPenalty,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)


def for_contrast(processors: Any, *, beams: bool) -> LogitsProcessorList:
    """The host's processors as they work on contrasted scores, in their order.

    Args:
        processors: a list of them, as the host has prepared it.
        beams: of a beam all continuations may be forbidden, as long as another beam has some.

    Raises:
        StrategyError: classifier-free guidance is among them.
    """
    prepared = list(processors or ())
    if any(isinstance(processor, _GUIDANCE) for processor in prepared):
        raise StrategyError(
            "guidance_scale cannot be combined with contrasted layers: it subtracts one pass's scores from"
            " another's, so a token that one of them rules out would win; leave out guidance_scale, or use"
            " Vanilla()"
        )
    kept = [NeverLifts(each) if isinstance(each, _LIFTING) else each for each in prepared]
    return LogitsProcessorList(kept if beams else [*kept, SomethingLeft()])


def refuse_early_drafts(generation_config: Any) -> None:
    """The host drafts with a model that it has cut short for the while, and there nothing can be contrasted.

    Raises:
        StrategyError: `assistant_early_exit` is set.
    """
    if generation_config.assistant_early_exit is not None:
        raise StrategyError(
            "assistant_early_exit cannot be combined with contrasted layers: it drafts with the model's first"
            f" {generation_config.assistant_early_exit} layers alone; leave it out, or give an"
            " assistant_model or prompt_lookup_num_tokens"
        )


class NeverLifts(LogitsProcessor):
    """A bias or a penalty of the host's that may lower a ruled-out token, and never lifts one."""

    def __init__(self, processor: LogitsProcessor) -> None:
        self.processor = processor

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        # Where a plausible token is left, the ruled out are those so far below the best.
        ruled_out = scores <= scores.amax(-1, keepdim=True) - BELOW
        lifted: torch.FloatTensor = self.processor(input_ids, scores)
        return cast("torch.FloatTensor", torch.where(ruled_out, torch.minimum(lifted, scores), lifted))


class SomethingLeft(LogitsProcessor):
    """Changes nothing; refuses a row of which every token is forbidden, where the host would emit token 0."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        forbidden = scores.amax(-1) == -torch.inf
        if bool(forbidden.any()):
            row = int(forbidden.nonzero()[0])
            raise StrategyError(
                f"row {row}, token {input_ids.shape[1]}: every token of the vocabulary is forbidden, by the"
                " settings or processors of this call together with the strategy's filter_value; allow some"
                " (with filter_value=None none is forbidden by the strategy)"
            )
        return scores
