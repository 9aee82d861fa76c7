"""Keeps, of each generated token, its score and the layer it was contrasted with; never a whole distribution.

Rides on the host's own loop: a logits processor sees each step's scores, a stopping criterion the token
that was chosen. Assisted decoding scores several positions of one forward pass and may score a position
again; the last time, which decided the token, is the one that counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

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


class Begun(LogitsProcessor):
    """Changes nothing; knows whether anything was decoded."""

    def __init__(self) -> None:
        self.yes = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:  # noqa: ARG002
        self.yes = True
        return scores


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


def scores_per_token(output: Any, record: StepRecord, start: int) -> Tensor:
    """Scores `[B, n]` of the generated tokens."""
    lengths = range(start, output.sequences.shape[1])
    source = _source_beams(output, len(lengths))
    if source is None:
        return torch.stack([record.scores[n] for n in lengths], 1)
    tokens = output.sequences[:, start:]
    return torch.stack(
        [step[source[:, at], tokens[:, at]] for at, step in enumerate(output.scores[: len(lengths)])], 1
    )


def per_token(output: Any, recorded: Mapping[int, Tensor], start: int) -> Tensor | None:
    """What was recorded of each step, as `[B, n]` of the generated tokens; None where nothing was."""
    if not recorded:
        return None
    lengths = range(start, output.sequences.shape[1])
    source = _source_beams(output, len(lengths))
    if source is None:
        return torch.stack([recorded[n] for n in lengths], 1)
    return torch.stack([recorded[n][source[:, at]] for at, n in enumerate(lengths)], 1)


def _source_beams(output: Any, count: int) -> Tensor | None:
    """Which running beam each token of a finished sequence came from `[B, n]`; None without beams."""
    beams: Tensor | None = getattr(output, "beam_indices", None)
    return None if beams is None else beams[:, :count].clamp(min=0)  # -1 past its end
