"""Draws that belong to a row: what is drawn for a prompt depends on no other row, batch, order or thread.

The host decodes greedily. To the scores as its own warpers leave them, the last processor adds Gumbel noise;
the largest sum is then a draw from exactly their softmax. The noise is a function of the row's seed, how
many tokens the row has, and the token: not a stream that is used up. So a position that is scored twice
(prompt lookup) is drawn once, and padding, devices and what was drawn before change nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from transformers import LogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.logits_process import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    TopHLogitsWarper,
    TypicalLogitsWarper,
)

from dola.hosts.transformers.prompts import Prompt
from dola.hosts.transformers.settings import GenerationSettings

# SplitMix64 (Steele, Lea, Flood 2014) in the signed numbers that tensors have: what it counts by, and its
# rounds of mixing: a shift, and a factor.
_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX = ((30, 0xBF58476D1CE4E5B9 - (1 << 64)), (27, 0x94D049BB133111EB - (1 << 64)), (31, 1))


class RowSampler(LogitsProcessor):
    """Makes the largest score of each row a draw from the softmax of its warped scores."""

    def __init__(
        self,
        settings: GenerationSettings,
        rows: Sequence[Prompt],
        start: int,
        *,
        device: torch.device | str = "cpu",
        watermark: LogitsProcessor | None = None,
    ) -> None:
        """`start`: the length of the (padded) prompts. The settings have a seed."""
        self._warpers = warpers(settings, device)
        if watermark is not None:
            self._warpers.append(watermark)
        self._seeds = [seed_of(settings, [row]) for row in rows]
        self._start = start

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        for warper in self._warpers:
            scores = warper(input_ids, scores)
        place = (input_ids.shape[1] - self._start).to_bytes(8, "big")
        # Row by row: a CPU's caches hold what one row needs.
        drawn = torch.stack(
            [
                row + gumbel(seed + place, row.shape[0], row.device)
                for row, seed in zip(scores, self._seeds, strict=True)
            ]
        )
        return cast("torch.FloatTensor", drawn)


def warpers(settings: GenerationSettings, device: torch.device | str = "cpu") -> list[LogitsProcessor]:
    """What the host would do to the scores that it samples from, in its order; a watermark comes after."""
    host = settings.host
    found: list[LogitsProcessor] = []
    if settings.temperature != 1.0:
        found.append(TemperatureLogitsWarper(float(settings.temperature)))
    if "top_h" in host:
        found.append(TopHLogitsWarper(host["top_h"]))
    if settings.top_k:
        found.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        found.append(TopPLogitsWarper(float(settings.top_p)))
    if "min_p" in host:
        found.append(MinPLogitsWarper(host["min_p"]))
    if host.get("typical_p", 1.0) < 1.0:
        found.append(TypicalLogitsWarper(host["typical_p"]))
    # Of 0 and 1 the host takes both for none.
    if 0.0 < host.get("epsilon_cutoff", 0.0) < 1.0:
        found.append(EpsilonLogitsWarper(host["epsilon_cutoff"]))
    if 0.0 < host.get("eta_cutoff", 0.0) < 1.0:
        found.append(EtaLogitsWarper(host["eta_cutoff"], device=str(device)))
    return found


def seeded(settings: GenerationSettings) -> GenerationSettings:
    """The settings with a seed, where something is drawn: one that PyTorch's process-wide generator gives."""
    if settings.seed is not None or not settings.do_sample:
        return settings
    return replace(settings, seed=int(torch.randint(1 << 32, ())))


def seed_of(settings: GenerationSettings, rows: Sequence[Prompt]) -> bytes:
    """Of these rows alone: what they are, and how often the same came before in the call."""
    return hashlib.sha256(repr((settings.seed, [(row.ids, row.copy) for row in rows])).encode()).digest()


def gumbel(seed: bytes, count: int, device: torch.device) -> Tensor:
    """As many independent numbers of the standard Gumbel distribution, `[count]`, float32.

    -log(E) of exponential E = -log(1 - u): so the numbers that decide, the large ones, come of a small u,
    which float32 has without gaps. They lie in -2.9 ... 43.7, so -inf stays so, and nothing 47 below wins.
    """
    first = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big", signed=True)
    mixed = torch.arange(1, count + 1, device=device).mul_(_STEP).add_(first)
    for shift, factor in _MIX:
        mixed ^= (mixed >> shift).bitwise_and_((1 << 64 - shift) - 1)
        mixed *= factor
    uniform = (mixed >> 1).bitwise_and_((1 << 63) - 1).float().mul_(2.0**-63)
    uniform.clamp_(min=2.0**-63, max=1 - 2.0**-24)
    return uniform.neg_().log1p_().neg_().log_().neg_()
