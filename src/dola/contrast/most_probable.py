"""The k most probable tokens, the same ones whatever the device or the batch."""

import torch
from torch import Tensor


def most_probable(logits: Tensor, count: int) -> Tensor:
    """The `count` most probable tokens, most probable first; among equals the lower id comes first.

    `torch.topk` says nothing about equals, and in half precision they are common. Sorting the vocabulary
    would cost more than the rest of the contrast: a block whose largest is not among the `count` largest of
    the blocks holds none of the tokens, so most of it is never sorted.

    Args:
        logits: `[..., V]`.
        count: at least 1; all tokens where the vocabulary has no more.

    Returns:
        Token ids, int64 `[..., min(count, V)]`.
    """
    vocabulary = logits.shape[-1]
    count = min(count, vocabulary)
    size = max(1, int((vocabulary // count) ** 0.5))
    whole = vocabulary // size * size
    by_block = logits.unfold(-1, size, size)
    chosen = _largest(by_block.amax(-1), min(count, by_block.shape[-2])).sort(-1).values
    ids = (chosen.unsqueeze(-1) * size + torch.arange(size, device=logits.device)).flatten(-2)
    rest = torch.arange(whole, vocabulary, device=logits.device).expand(*logits.shape[:-1], -1)
    ids = torch.cat([ids, rest], -1)
    return ids.gather(-1, _largest(logits.gather(-1, ids), count))


def _largest(values: Tensor, count: int) -> Tensor:
    return values.sort(dim=-1, descending=True, stable=True).indices[..., :count]
