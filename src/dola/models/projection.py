"""The model's own language-model head, applied to rows of any exits in one product."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dola.head import ContrastiveHead, Projection
from dola.models.parts import ModelParts

_HALF = (torch.float16, torch.bfloat16)


def head_of(parts: ModelParts) -> ContrastiveHead:
    """The contrastive head of a model, on its own head as it is now; see `projection_of`."""

    head = parts.head
    alone = "forward" not in vars(head) and parts.softcap is None

    def affine() -> bool:  # hooks may come later
        return alone and type(head) is nn.Linear and _is_plain(head)

    return ContrastiveHead(projection_of(parts), parts.vocab_size, affine)


def projection_of(parts: ModelParts) -> Projection:
    """The head on rows: hidden `[R, D]` -> logits `[R, V]`, float32, scaled and capped as the model does.

    It goes through the module that it finds, so quantised weights, adapters and offloaded weights work. The
    module's `forward` is taken as it is now: a later replacement of it does not change the projection.

    A plain linear head in half precision is multiplied in float32: un-normed exits have logits of thousands,
    which half precision rounds by whole nats. Any other head gives its logits in whatever type it computes
    them in, and they are float32 from there on.
    """
    head, forward = parts.head, parts.head.forward
    if type(head) is not nn.Linear or "forward" in vars(head):
        return lambda rows: parts.head_output(forward(rows))

    def project(rows: Tensor) -> Tensor:
        if not _is_plain(head):
            logits = linear(rows.to(head.weight.dtype), head.weight, head.bias)
        elif head.weight.dtype in _HALF:
            logits = _with_bias(_half_in_float32(rows, head.weight), head)
        elif _blocks_pay(rows, head.weight):
            logits = _with_bias(_linear_in_blocks(rows, head.weight), head)
        else:
            logits = linear(rows.to(head.weight.dtype), head.weight, head.bias)
        return parts.head_output(logits)

    return project


def _is_plain(head: nn.Linear) -> bool:
    """Whether the weight is what it seems: a tensor, and nothing that a hook makes or stands in for."""
    hooked = head._forward_pre_hooks or head._forward_hooks
    return type(head.weight) in (nn.Parameter, Tensor) and not hooked


def _with_bias(logits: Tensor, head: nn.Linear) -> Tensor:
    if isinstance(head.bias, Tensor):
        logits += head.bias
    return logits


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


def _half_in_float32(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows @ weight.T` in float32, `[R, D]` by `[V, D]` in half precision, with no copy of the weight kept.

    Half precision's own product is accumulated in float32 too, and then rounded. Where it can be had without
    the rounding, that is asked for; elsewhere a block of the weight at a time is made float32.
    """
    if _gives_float32(weight):
        return _half_products(rows, weight)
    rows = rows.float()
    logits = rows.new_empty(rows.shape[0], weight.shape[0])
    for start in range(0, weight.shape[0], _BLOCK):
        block = weight[start : start + _BLOCK]
        logits[:, start : start + len(block)] = rows @ block.float().T
    return logits


def _half_products(rows: Tensor, weight: Tensor) -> Tensor:
    """Products of half precision that are returned in float32. Rows in float32, weighted sums of states, are
    multiplied as two: what half precision holds of them, and what it leaves."""
    high = rows.to(weight.dtype)
    logits = torch.mm(high, weight.T, out_dtype=torch.float32)
    if rows.dtype != weight.dtype:
        low = (rows.float() - high.float()).to(weight.dtype)
        logits += torch.mm(low, weight.T, out_dtype=torch.float32)
    return logits


def _gives_float32(weight: Tensor) -> bool:
    """Whether a product can be told its output's type: on CUDA, from torch 2.8 on."""
    return (
        weight.device.type == "cuda"
        and torch.version.cuda is not None
        and hasattr(torch.ops.aten.mm, "dtype")
    )
