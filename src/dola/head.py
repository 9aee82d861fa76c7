"""The contrastive head: hidden states of the chosen layers in, a score per token of the vocabulary out."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

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
            The positions, and their logits `[E, r, V]` in float32.
        """
        exits, rows, width = hidden.shape
        held = _CHUNK_BYTES.get(hidden.device.type, 512 << 20) // (exits * self.vocab_size * 4)
        step = max(held, math.ceil(_FEWEST_ROWS / exits))
        for start in range(0, max(rows, 1), step):
            part = hidden[:, start : start + step]
            count = part.shape[1]
            # One product for all exits, kept by nobody here: the caller may let go of it before the next.
            yield (
                slice(start, start + count),
                torch.unflatten(self.project(part.reshape(-1, width)), 0, (exits, count)),
            )

    def __call__(self, hidden: Tensor, strategy: Strategy) -> Contrast:
        """Scores of every position.

        Args:
            hidden: `[E, ..., D]`, one state an exit, in the order of `strategy.exits`.
            strategy: resolved for the model.

        Returns:
            Scores `[..., V]` in float32; the chosen candidate `[...]` and the divergences `[K, ...]`.
        """
        exits, *positions, width = hidden.shape
        parts = [strategy.contrast(logits) for _, logits in self.chunks(hidden.reshape(exits, -1, width))]
        whole = parts[0] if len(parts) == 1 else _join(parts)
        return Contrast(
            whole.scores.reshape(*positions, whole.scores.shape[-1]),
            None if whole.premature is None else whole.premature.reshape(positions),
            None if whole.divergence is None else whole.divergence.reshape(len(whole.divergence), *positions),
        )


def _join(parts: list[Contrast]) -> Contrast:
    """Contrasts of consecutive positions as one."""
    premature = [part.premature for part in parts if part.premature is not None]
    divergence = [part.divergence for part in parts if part.divergence is not None]
    return Contrast(
        torch.cat([part.scores for part in parts]),
        torch.cat(premature) if premature else None,
        torch.cat(divergence, dim=1) if divergence else None,
    )
