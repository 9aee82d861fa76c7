"""The contrastive head: hidden states of the chosen layers in, a score per token of the vocabulary out."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dola.contrast import are_distributions, are_finite
from dola.strategies import Contrast, Strategy

Projection = Callable[[Tensor], Tensor]
"""The language-model head on rows: hidden `[R, D]` -> logits `[R, V]`, float32, as the model defines them."""

# glibc gives every freed block at the end of its heap back to the system, page by page, until the program
# has freed one large block: then it keeps up to twice that size. The contrast's temporaries would be unmapped
# and cleared anew at every token, at twice the cost of its arithmetic. 32 MiB is the largest that counts.
_LARGEST_KEPT_BLOCK = 30 << 20

# Early-exit logits held at once. The product makes them twice, and a contrast some six tensors of the size of
# one position's: on a CPU all of it together stays below what is handed out again.
_CHUNK_BYTES = {"cpu": 20 << 20, "cuda": 512 << 20}
# But a product of fewer rows is slow: with a vocabulary of 262,144 it reads gigabytes of weights for each.
_FEWEST_ROWS = 96


class Reading(NamedTuple):
    """What the head read at some positions `[...]`, and what of it is no number."""

    contrast: Contrast
    unusable: Tensor  # [E, ...] bool: see `unusable`


def unusable(contrast: Contrast, candidates: Tensor, mature: Tensor) -> Tensor:
    """Where there is nothing to score by, and which exits are to blame for it.

    The mature layer's logits must be a distribution. So must the candidates', unless the strategy leaves
    those out that are none: then one of them must be left.

    Args:
        contrast: what the strategy made of the logits of the candidates `[K, ..., V]` and of the mature layer
            `[..., V]`.

    Returns:
        `[K + 1, ...]` bool; all False at every position that is as it should be.
    """
    broken = ~are_distributions(mature)
    if contrast.left_out is None:
        early = ~are_distributions(candidates)
    else:
        none_left = (contrast.left_out == len(candidates)) & ~broken
        early = none_left.expand(len(candidates), *none_left.shape)
    return torch.cat([early, broken[None]])


@dataclass(frozen=True)
class ContrastiveHead:
    """Projects the hidden states of all exits in one product and lets a strategy make scores of them.

    Works on chunks of positions, so its memory depends on the vocabulary and the number of exits, never on
    the length of the text.
    """

    project: Projection
    vocab_size: int

    def __post_init__(self) -> None:
        torch.empty(_LARGEST_KEPT_BLOCK, dtype=torch.uint8, device="cpu")  # never touched, freed at once

    def chunks(self, hidden: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The early-exit logits, a bounded number of positions at a time.

        Args:
            hidden: `[E, R, D]`, E exits of R positions.

        Yields:
            The positions, and their logits `[E, r, V]` in float32. Where a state is not finite its logits are
            no distribution, whatever the head and the model's cap make of it.
        """
        exits, rows, _ = hidden.shape
        held = _CHUNK_BYTES.get(hidden.device.type, 512 << 20) // (exits * self.vocab_size * 4)
        step = max(held, math.ceil(_FEWEST_ROWS / exits))
        for start in range(0, max(rows, 1), step):
            part = hidden[:, start : start + step]
            count = part.shape[1]
            # One product for all exits, kept by nobody here: the caller may let go of it before the next.
            yield slice(start, start + count), self._logits(part)

    def _logits(self, hidden: Tensor) -> Tensor:
        """The logits `[E, r, V]` of the states `[E, r, D]`."""
        exits, count, width = hidden.shape
        logits = torch.unflatten(self.project(hidden.reshape(-1, width)), 0, (exits, count))
        logits[..., 0].masked_fill_(~are_finite(hidden).to(logits.device), math.nan)  # one marks the row
        return logits

    def __call__(self, hidden: Tensor, strategy: Strategy) -> Contrast:
        """Scores of every position, whatever `read` says of them."""
        return self.read(hidden, strategy).contrast

    def read(self, hidden: Tensor, strategy: Strategy) -> Reading:
        """Scores of every position, and where they are of no meaning.

        Args:
            hidden: `[E, ..., D]`, one state an exit, in the order of `strategy.exits`.
            strategy: resolved for the model.

        Returns:
            Scores `[..., V]` in float32; the chosen candidate `[...]` and the divergences `[K, ...]`.
        """
        exits, *positions, width = hidden.shape
        parts = []
        for _, logits in self.chunks(hidden.reshape(exits, -1, width)):
            contrast = strategy.contrast(logits)
            parts.append(Reading(contrast, unusable(contrast, logits[:-1], logits[-1])))
            del logits  # before the next are made
        whole = parts[0] if len(parts) == 1 else _join(parts)
        return _shaped(whole, positions)


def _shaped(reading: Reading, positions: list[int]) -> Reading:
    """Of positions `[R]` as of positions `[...]`."""
    scores, premature, divergence, left_out = reading.contrast
    contrast = Contrast(
        scores.reshape(*positions, scores.shape[-1]),
        None if premature is None else premature.reshape(positions),
        None if divergence is None else divergence.reshape(len(divergence), *positions),
        None if left_out is None else left_out.reshape(positions),
    )
    return Reading(contrast, reading.unusable.reshape(len(reading.unusable), *positions))


def _join(parts: list[Reading]) -> Reading:
    """Readings of consecutive positions as one."""
    scores, premature, divergence, left_out = zip(*(part.contrast for part in parts), strict=True)
    contrast = Contrast(
        torch.cat(scores),
        _together(premature, dim=0),
        _together(divergence, dim=1),
        _together(left_out, dim=0),
    )
    return Reading(contrast, torch.cat([part.unusable for part in parts], dim=1))


def _together(parts: tuple[Tensor | None, ...], *, dim: int) -> Tensor | None:
    """What every part has, as one; None where they have it not."""
    present = [part for part in parts if part is not None]
    return torch.cat(present, dim=dim) if present else None
