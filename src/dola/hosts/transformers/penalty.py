"""The host's repetition penalty, for rows that are padded.

The host penalises every token of a row's ids, its padding included: the token that pads (of many models the
end of sequence) would be less probable in a row because another row is longer.
"""

import torch
from torch import Tensor
from transformers import LogitsProcessor, RepetitionPenaltyLogitsProcessor


class RowPenalty(LogitsProcessor):
    """Penalises the tokens that a row holds, and not those that fill it up."""

    def __init__(self, penalty: float, attention_mask: Tensor) -> None:
        """`attention_mask` `[B, T]` of the prompts, which are padded on the left."""
        self._host = RepetitionPenaltyLogitsProcessor(penalty=float(penalty))
        self._padding = attention_mask == 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        beams = input_ids.shape[0] // self._padding.shape[0]
        padding = self._padding.repeat_interleave(beams, dim=0)
        length = padding.shape[1]
        # A token is penalised once, however often it occurs: a prompt's last one stands for its padding.
        prompt = torch.where(padding, input_ids[:, length - 1 : length], input_ids[:, :length])
        penalised: torch.FloatTensor = self._host(torch.cat([prompt, input_ids[:, length:]], dim=1), scores)
        return penalised
