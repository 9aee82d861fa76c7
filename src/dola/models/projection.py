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
        if _weight_first_pays(rows, head.weight):
            # [V, D] @ [D, R]: with a handful of rows the CPU product is about twice as fast this way round,
            # the copy included, without which every later step would walk through memory in strides.
            logits = (head.weight @ rows.T).T.contiguous()
            if isinstance(head.bias, Tensor):
                logits = logits + head.bias
        else:
            logits = linear(rows.to(head.weight.dtype), head.weight, head.bias)
        return parts.head_output(logits)

    return project


def _weight_first_pays(rows: Tensor, weight: Tensor) -> bool:
    few = 1 < rows.shape[0] <= 128
    return few and weight.device.type == "cpu" and rows.dtype == weight.dtype == torch.float32
