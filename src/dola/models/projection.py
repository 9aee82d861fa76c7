"""The model's own language-model head, applied to rows of any exits in one product."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dola.head import Projection
from dola.models.parts import ModelParts


def projection_of(parts: ModelParts) -> Projection:
    """The head on rows: hidden `[R, D]` -> logits `[R, V]`, float32, scaled and capped as the model does.

    It goes through the module that it finds, so quantised weights, adapters and offloaded weights work. The
    module's `forward` is taken as it is now: a later replacement of it does not change the projection.
    """
    head, forward = parts.head, parts.head.forward
    if type(head) is not nn.Linear or "forward" in vars(head):
        return lambda rows: parts.head_output(forward(rows))

    def project(rows: Tensor) -> Tensor:
        if _blocks_pay(rows, head.weight):
            logits = _linear_in_blocks(rows, head.weight)
            if isinstance(head.bias, Tensor):
                logits += head.bias
        else:
            logits = linear(rows.to(head.weight.dtype), head.weight, head.bias)
        return parts.head_output(logits)

    return project


# Rows of the weight a block: in float32 about 2 MiB at a width of 576, so the block stays in the cache while
# all exits pass over it.
_BLOCK = 1024


def _blocks_pay(rows: Tensor, weight: Tensor) -> bool:
    return rows.shape[0] > 1 and weight.device.type == "cpu" and rows.dtype == weight.dtype == torch.float32


def _linear_in_blocks(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows @ weight.T`, `[R, D]` by `[V, D]`, one batched product over blocks of the vocabulary.

    A CPU's matrix product is laid out for square shapes; with a handful of rows against a vocabulary it takes
    more than twice as long as this (`benchmarks/RESULTS.md`).
    """
    count, (vocabulary, width) = rows.shape[0], weight.shape
    blocks = vocabulary // _BLOCK
    whole = blocks * _BLOCK
    logits = rows.new_empty(count, vocabulary)
    if blocks:
        batched = weight[:whole].view(blocks, _BLOCK, width).transpose(1, 2)  # [n, D, B]
        product = torch.bmm(rows.expand(blocks, count, width), batched)  # [n, R, B]
        logits[:, :whole].view(count, blocks, _BLOCK).copy_(product.transpose(0, 1))
    if whole < vocabulary:
        logits[:, whole:] = linear(rows, weight[whole:])
    return logits
