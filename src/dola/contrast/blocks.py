"""Early-exit logits a block at a time: what makes arithmetic on them fast on a CPU."""

from collections.abc import Callable

import torch
from torch import Tensor

# Elements of a temporary on the CPU: a handful of them fits the cache, and the allocator hands the same
# memory out again. Larger ones are returned to the system at each step and cleared anew at the next, which
# costs as much as the arithmetic.
_BLOCK_ELEMENTS = 1 << 19


def by_blocks(function: Callable[..., Tensor], exits: Tensor, *references: Tensor) -> Tensor:
    """`function(exits, *references)`, found for a few exits and positions at a time on a CPU.

    Args:
        function: from `[E, ..., V]` and what each position has in common for all exits `[..., X]` to
            `[E, ...]` or `[E, ..., K]`; every exit and position for itself.
        exits: logits `[E, ..., V]`.
        references: `[..., X]` each.

    Returns:
        What the function gives for the whole; the same numbers whatever the blocks.
    """
    if exits.device.type != "cpu" or torch.compiler.is_compiling():
        return function(exits, *references)
    count, *positions, vocabulary = exits.shape
    flat = exits.reshape(count, -1, vocabulary)
    common = [each.reshape(-1, each.shape[-1]) for each in references]
    vectors = max(1, _BLOCK_ELEMENTS // vocabulary)
    width = min(max(1, count), vectors)
    height = vectors // width
    by_exit = []
    for k in range(0, max(1, count), width):
        pieces = [
            function(flat[k : k + width, r : r + height], *(each[r : r + height] for each in common))
            for r in range(0, max(1, flat.shape[1]), height)
        ]
        by_exit.append(torch.cat(pieces, 1))
    result = torch.cat(by_exit)
    return result.view(count, *positions, *result.shape[2:])
