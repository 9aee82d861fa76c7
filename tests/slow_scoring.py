"""Scores by the slow, obvious path: one full forward pass of the host a text, and the formulas in float64."""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedModel

import oracle
from dola.models.parts import take_apart
from dola.models.projection import projection_of
from dola.strategies import DoLa, Strategy, Vanilla

STRATEGIES: tuple[Strategy, ...] = (
    Vanilla(),
    DoLa((0, 2), alpha=0.0),
    DoLa((1, 3), alpha=0.1, filter_value=-50.0, post_softmax=True, early_exit_norm=True),
)


def expected(model: PreTrainedModel, ids: list[int], start: int) -> list[list[float]]:
    """By strategy, the scores of the tokens from `start` on: one forward pass of the host, then float64."""
    with torch.inference_mode():
        output = model(
            input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True, return_dict=True
        )
    parts = take_apart(model)
    project = projection_of(parts)
    states = output.hidden_states
    if "mamba" in model.config.model_type and len(states) == len(parts.blocks) + 1:
        # These list what their blocks give, without the embeddings, and the normed states once more.
        embedded = model.get_input_embeddings()(torch.tensor([ids])).detach()
        states = (embedded, *states[:-2], states[-1])

    def exit_logits(layer: int, *, norm: bool) -> np.ndarray:
        with torch.inference_mode():
            state = parts.head_input(states[layer][0], norm=norm)
            return project(state).double().numpy()

    mature = output.logits[0].double().numpy()
    raw = {layer: exit_logits(layer, norm=False) for layer in (0, 2)}
    normed = {layer: exit_logits(layer, norm=True) for layer in (1, 3)}
    rows: list[list[float]] = [[], [], []]
    for at in range(start - 1, len(ids) - 1):
        token = ids[at + 1]
        rows[0].append(oracle.log_softmax(mature[at])[token])
        for number, exits, settings in (
            (1, raw, {"alpha": 0.0, "filter_value": -np.inf}),
            (2, normed, {"alpha": 0.1, "filter_value": -50.0, "post_softmax": True}),
        ):
            premature = max(
                exits.values(), key=lambda exit: oracle.divergence("released", mature[at], exit[at])
            )
            rows[number].append(oracle.contrast(mature[at], premature[at], **settings)[token])
    return rows
