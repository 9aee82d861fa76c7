"""The model's own language-model head, applied to rows of any exits in one product."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dola.head import ContrastiveHead, Projection
from dola.models.parts import ModelParts

_HALF = (torch.float16, torch.bfloat16)


def head_of(parts: ModelParts, forward: Projection | None = None) -> ContrastiveHead:
    """The contrastive head of a model, on its own head as it is now; see `HeadProjection`."""
    project = projection_of(parts, forward)
    return ContrastiveHead(project, parts.vocab_size, project.is_affine)


def projection_of(parts: ModelParts, forward: Projection | None = None) -> "HeadProjection":
    """The head that a model has now, on rows. `forward`: see `HeadProjection`."""
    return HeadProjection(parts, parts.head, forward)


class HeadProjection:
    """The head on rows: hidden `[R, D]` -> logits `[R, V]`, float32, scaled and capped as the model does.

    It goes through the module, so quantised weights, adapters, offloaded weights and hooks work, and it looks
    at it anew each time, as what is on it may change.

    A plain linear head in half precision is multiplied in float32: un-normed exits have logits of thousands,
    which half precision rounds by whole nats. Any other head gives its logits in whatever type it computes
    them in, and they are float32 from there on.

    An object, not a closure, so that it is copied and pickled with its model.
    """

    def __init__(self, parts: ModelParts, head: nn.Module, forward: Projection | None = None) -> None:
        """`forward`: what the head would do by itself, where another function stands in the place of it."""
        self._parts = parts
        self._head = head
        self._forward = forward

    def __call__(self, rows: Tensor) -> Tensor:
        return self._parts.head_output(self._logits(rows))

    def is_affine(self) -> bool:
        """Whether the head of a weighted sum of states is the same sum of their logits."""
        return self._is_plain() and self._parts.softcap is None

    def _logits(self, rows: Tensor) -> Tensor:
        head: Any = self._head
        if not self._is_plain():
            return self._through_the_module(rows)
        weight: Tensor = head.weight
        if weight.dtype in _HALF:
            return _with_bias(_half_in_float32(rows, weight), head)
        if _blocks_pay(rows, weight):
            return _with_bias(_linear_in_blocks(rows, weight), head)
        logits: Tensor = linear(rows.to(weight.dtype), weight, head.bias)
        return logits

    def _through_the_module(self, rows: Tensor) -> Tensor:
        weight = getattr(self._head, "weight", None)
        if isinstance(weight, Tensor) and weight.is_floating_point():  # quantised ones are read in any type
            rows = rows.to(weight.dtype)
        if self._forward is not None:
            return self._forward(rows)
        # What hangs on it was written for the host's shape, [B, T, D].
        logits: Tensor = self._head(rows[None])[0]
        return logits

    def _is_plain(self) -> bool:
        """Whether it is a linear map by its own weight: a tensor, and nothing that stands in for one."""
        head = self._head
        return (
            type(head) is nn.Linear
            and type(head.weight) in (nn.Parameter, Tensor)
            and (self._forward is None or is_own_method(head, self._forward))
            and (self._forward is not None or not hangs_on(head))
        )


def hangs_on(module: nn.Module) -> bool:
    """Whether anything changes what a module does from outside: hooks, or a forward in place of its own."""
    hooked = module._forward_pre_hooks or module._forward_hooks
    own = vars(module).get("forward")
    return bool(hooked) or (own is not None and not is_own_method(module, own))


def is_own_method(module: nn.Module, forward: object) -> bool:
    """Whether a forward is no other than that of the module's class."""
    return getattr(forward, "__func__", None) is type(module).forward


def _with_bias(logits: Tensor, head: nn.Module) -> Tensor:
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
