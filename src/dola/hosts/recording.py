"""Keeps, of each generated token, its score and the layer it was contrasted with; never a whole distribution.

Rides on the host's own loop: a logits processor sees each step's scores, a stopping criterion the token
that was chosen. Assisted decoding scores several positions of one forward pass and may score a position
again; the last time, which decided the token, is the one that counts.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from dola.hosts.transformers import Attachment
from dola.strategies import Contrast


@dataclass
class StepRecord:
    """What was recorded, by the length of the sequence before the token: rows `[B]`, on the device."""

    scores: dict[int, Tensor] = field(default_factory=dict)
    premature: dict[int, Tensor] = field(default_factory=dict)


class StepScores(LogitsProcessor):
    """Changes nothing; holds the scores of the positions whose token is not yet chosen."""

    def __init__(self, record: StepRecord, attachment: Attachment | None) -> None:
        self._record = record
        self._attachment = attachment
        self._latest: Contrast | None = None
        self._first_length = 0
        self.pending: dict[int, Tensor] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        length = input_ids.shape[1]
        self.pending[length] = scores
        contrast = None if self._attachment is None else self._attachment.last
        if contrast is not None and contrast.premature is not None:
            if contrast is not self._latest:
                self._latest, self._first_length = contrast, length
            position = length - self._first_length
            chosen = contrast.premature
            # The host keeps only the last position of a prompt's logits; assisted decoding, several.
            column = position if chosen.shape[1] > 1 and position < chosen.shape[1] else -1
            self._record.premature[length] = chosen[:, column]
        return scores


class ChosenTokens(StoppingCriteria):
    """Never stops; takes the score of each token once it is chosen."""

    def __init__(self, record: StepRecord, steps: StepScores) -> None:
        self._record = record
        self._steps = steps

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.BoolTensor:  # noqa: ARG002
        for length, step in self._steps.pending.items():
            # Beam search shows twice the beams as possible continuations here; its host keeps their scores.
            if length >= input_ids.shape[1] or step.shape[0] != input_ids.shape[0]:
                continue
            token = input_ids[:, length : length + 1].to(step.device)
            self._record.scores[length] = step.gather(1, token).squeeze(1)
        self._steps.pending = {}
        return self._go_on(input_ids)

    @staticmethod
    def _go_on(input_ids: Tensor) -> torch.BoolTensor:
        never = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        return cast("torch.BoolTensor", never)
