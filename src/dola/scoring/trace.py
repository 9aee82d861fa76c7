"""One text, token by token: which layer it was contrasted with, and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dola.contrast import are_finite
from dola.errors import DataError
from dola.head import ContrastiveHead, unusable
from dola.models.numerics import refuse, tally
from dola.models.parts import context_of, input_device, take_apart
from dola.models.projection import projection_of
from dola.models.trunk import hidden_states
from dola.models.turns import turn
from dola.models.vocabulary import check_tokens
from dola.strategies import Contrast, Strategy


@dataclass(frozen=True)
class TokenTrace:
    """One token, and what the model made of the place before it.

    Attributes:
        position: of the token in the text, from 0.
        token: its text.
        score: the strategy's score of it (a logit for vanilla); -inf where it was ruled out.
        rank: how many tokens of the vocabulary score higher.
        premature_layer: the layer it was contrasted with; None for vanilla.
        divergence: of each candidate layer from the mature layer, in nats; empty where none is computed. NaN
            for a layer that holds NaN or infinity and was left out of the choice.
        top: of each layer read, its most probable tokens and their probabilities, best first; none of a
            layer that was left out.
    """

    position: int
    token_id: int
    token: str
    score: float
    rank: int
    premature_layer: int | None
    divergence: dict[int, float]
    top: dict[int, tuple[tuple[str, float], ...]]


@dataclass(frozen=True)
class Trace:
    """Every token of a text but those left out at its start (the first has nothing before it)."""

    text: str
    strategy: str
    mature_layer: int
    tokens: tuple[TokenTrace, ...]


def trace_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    strategy: Strategy,
    *,
    top_k: int,
    prompt_length: int,
    continuation: Sequence[int] = (),
) -> Trace:
    """See `LanguageModel.trace`.

    Raises:
        DataError: no token is left to trace, or the text is longer than the model's context.
        LayerError: a layer that the model lacks.
        NumericsError: NaN or infinity where the text is read.
    """
    parts = take_apart(model)
    strategy = strategy.resolve(parts.depth)
    encoded = tokenizer(text)["input_ids"]
    check_tokens(model, [[*encoded, *continuation]])
    ids = torch.tensor([[*encoded, *continuation]], device=input_device(model))
    first = max(1, len(encoded) if continuation else prompt_length)
    if ids.shape[1] <= first:
        raise DataError(
            f"nothing to trace: the text has {ids.shape[1]} tokens, and the first {first} are left out"
        )
    context = context_of(model.config)
    if context is not None and ids.shape[1] > context:
        raise DataError(
            f"the text has {ids.shape[1]} tokens, and the model's context holds {context}: shorten it"
        )
    tokens: list[TokenTrace] = []
    with turn(model), torch.inference_mode():
        hidden = hidden_states(parts, ids, strategy.exits)[:, 0, first - 1 : -1]  # [E, R, D]
        targets = ids[0, first:].to(hidden.device)
        head = ContrastiveHead(projection_of(parts), parts.vocab_size)
        for rows, logits in head.chunks(hidden):
            contrast = strategy.contrast(logits)
            faults = unusable(contrast, logits[:-1], logits[-1])
            refuse(model, strategy.exits, tally(are_finite(hidden[:, rows]), faults))
            read = _Read(strategy, contrast, logits)
            tokens += _explain(tokenizer, read, targets[rows], first + rows.start, top_k)
    return Trace(text, str(strategy), strategy.exits[-1].layer, tuple(tokens))


class _Read(NamedTuple):
    """What a strategy made of the logits `[E, r, V]` of some places."""

    strategy: Strategy
    contrast: Contrast
    logits: Tensor


def _explain(
    tokenizer: PreTrainedTokenizerBase,
    read: _Read,
    targets: Tensor,
    first: int,
    top_k: int,
) -> list[TokenTrace]:
    """Traces of the tokens `targets` `[r]`, from what was read at the places before them."""
    strategy, contrast, logits = read
    scores = contrast.scores.gather(1, targets[:, None])  # [r, 1]
    ranks = (contrast.scores > scores).sum(1).tolist()
    best = torch.softmax(logits, -1).topk(min(top_k, logits.shape[-1]))
    layers = [exit.layer for exit in strategy.exits]
    premature: Sequence[int | None] = [None] * len(targets)
    if contrast.premature is not None:
        premature = [strategy.candidates[index] for index in contrast.premature.tolist()]
    traces = []
    for row, target in enumerate(targets.tolist()):
        divergence = (
            {}
            if contrast.divergence is None
            else dict(zip(strategy.candidates, contrast.divergence[:, row].tolist(), strict=True))
        )
        top = {
            layer: tuple(
                (str(tokenizer.decode([token])), probability)
                for token, probability in zip(
                    best.indices[exit, row].tolist(), best.values[exit, row].tolist(), strict=True
                )
                if not math.isnan(probability)
            )
            for exit, layer in enumerate(layers)
        }
        traces.append(
            TokenTrace(
                position=first + row,
                token_id=target,
                token=str(tokenizer.decode([target])),
                score=float(scores[row, 0]),
                rank=ranks[row],
                premature_layer=premature[row],
                divergence=divergence,
                top=top,
            )
        )
    return traces
