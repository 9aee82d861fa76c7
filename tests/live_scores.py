"""What a strategy's scores on a live model are: a float64 head on the model's own hidden states.

Written from the definitions, on a model that nothing is attached to; shares no code with `src`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import dola
import oracle

FILTER = -1000.0
_NEAR = 2e-3  # nats from the plausibility constraint: either side is right


@dataclass(frozen=True)
class Expected:
    """Right scores of a position: of each premature layer that may be chosen; `open` tokens may be either."""

    scores: list[oracle.Array]
    open: np.ndarray = field(repr=False)

    def distance(self, found: oracle.Array, more: oracle.Array) -> float:
        return min(float(np.abs(found - scores - more)[~self.open].max()) for scores in self.scores)


def plain_head(model: PreTrainedModel) -> bool:
    """Whether it is a linear map and no more, multiplied in float32 whatever its type."""
    head = model.get_output_embeddings()
    return type(head) is nn.Linear and not (
        head._forward_hooks or head._forward_pre_hooks or "forward" in vars(head)
    )


def exit_logits(
    model: PreTrainedModel, states: Sequence[Tensor], exits: Sequence[tuple[int, bool]]
) -> Tensor:
    """Of every exit (layer, normed) the logits `[E, B, T, V]` in float64, by the head as it is now.

    `states`: the host's own `hidden_states`, of the positions that are asked for.
    """
    head = copy.deepcopy(model.get_output_embeddings()).double()
    norm = getattr(model.model, "norm", None) or model.model.final_layernorm
    read = [norm(states[layer]) if normed else states[layer] for layer, normed in exits]
    logits = torch.stack([head(each.double()) for each in read])
    return _as_the_model_gives(model, logits)


def _as_the_model_gives(model: PreTrainedModel, logits: Tensor) -> Tensor:
    cap = getattr(model.config, "final_logit_softcapping", None)
    if model.config.model_type == "granite":
        logits = logits / model.config.logits_scaling
    if model.config.model_type == "cohere":
        logits = logits * model.logit_scale
    return logits if cap is None else cap * torch.tanh(logits / cap)


def exits_of(strategy: dola.Strategy, depth: int) -> list[tuple[int, bool]]:
    """The premature ones, and the mature one last."""
    if isinstance(strategy, dola.DoLa):
        early = list(strategy.candidate_premature_layers)
    else:
        early = [strategy.premature_layer] if isinstance(strategy, dola.DoLaStatic) else []
    normed = bool(getattr(strategy, "early_exit_norm", False))
    return [*((layer, normed) for layer in early), (depth, False)]


def expected(strategy: dola.Strategy, logits: oracle.Array, near: float) -> Expected:
    """Of one position, from the logits `[E, V]` of its exits, which rounding takes `near` apart at most."""
    *early, mature = logits
    if not early:
        return Expected([mature], np.zeros(len(mature), bool))
    kind = getattr(strategy, "divergence", "released")
    divergences = [oracle.divergence(kind, mature, each) for each in early]
    largest = max(divergences)
    chosen = [n for n, each in enumerate(divergences) if each >= largest - near * (1e-3 + largest)]
    log_p = oracle.log_softmax(mature)
    unsure = np.abs(log_p - (log_p.max() + math.log(strategy.alpha))) < max(_NEAR, 2 * near)
    return Expected(
        [oracle.contrast(mature, early[n], alpha=strategy.alpha, filter_value=FILTER) for n in chosen], unsure
    )


def far(
    found: Tensor,
    strategies: Sequence[Any],
    rows: Tensor,
    logits: Sequence[Tensor],
    more: Tensor,
    near: float,
) -> float:
    """How far the scores `[..., V]` are from right ones.

    Args:
        rows: `[...]`, of each position the row of the batch, which says whose it is.
        logits: of each strategy the logits `[E, ..., V]` of its exits.
        more: `[V]`, what strangers have added.
    """
    worst = 0.0
    flat, numbers = found.double().reshape(-1, found.shape[-1]).numpy(), rows.reshape(-1).tolist()
    of_each = [each.reshape(len(each), -1, each.shape[-1]).numpy() for each in logits]
    for place, row in enumerate(numbers):
        which = row % len(strategies)
        right = expected(strategies[which], of_each[which][:, place], near)
        worst = max(worst, right.distance(flat[place], more.double().numpy()))
    return worst
