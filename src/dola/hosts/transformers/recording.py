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

from dola.hosts.transformers.attach import Attachment, LastPass


@dataclass
class StepRecord:
    """What was recorded, by the length of the sequence before the token: rows `[B]`, on the device."""

    scores: dict[int, Tensor] = field(default_factory=dict)
    premature: dict[int, Tensor] = field(default_factory=dict)
    left_out: dict[int, Tensor] = field(default_factory=dict)


class StepScores(LogitsProcessor):
    """Changes nothing; holds the scores of the positions whose token is not yet chosen."""

    def __init__(
        self, record: StepRecord, attachment: Attachment | None, *, overwritten: bool = False
    ) -> None:
        """`overwritten`: the host puts what later processors make of the scores into the same memory."""
        self._record = record
        self._overwritten = overwritten
        self._attachment = attachment
        self._contrasts: dict[int, LastPass | None] = {}
        self.pending: dict[int, Tensor] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        length = input_ids.shape[1]
        self.pending[length] = scores.clone() if self._overwritten else scores
        self._contrasts[length] = None if self._attachment is None else self._attachment.last
        return scores

    def settle(self) -> None:
        """Record the layers of the latest forward pass, and begin anew.

        Its last positions are those whose scores were looked at: most models give no others, some those of
        the whole prompt.
        """
        latest = None if self._attachment is None else self._attachment.last
        if latest is not None and latest.premature is not None:
            seen = sorted(length for length, contrast in self._contrasts.items() if contrast is latest)
            for back, length in enumerate(reversed(seen), start=1):
                self._record.premature[length] = latest.premature[:, -back]
                if latest.left_out is not None:
                    self._record.left_out[length] = latest.left_out[:, -back]
        self._contrasts = {}
        self.pending = {}


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
        self._steps.settle()
        return self._go_on(input_ids)

    @staticmethod
    def _go_on(input_ids: Tensor) -> torch.BoolTensor:
        never = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        return cast("torch.BoolTensor", never)
