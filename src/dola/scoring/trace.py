"""One text, token by token: which layer it was contrasted with, and why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dola.contrast import are_finite
from dola.errors import DataError
from dola.head import unusable
from dola.models.capabilities import Capabilities
from dola.models.numerics import refuse, tally
from dola.models.parts import input_device, take_apart
from dola.models.projection import head_of
from dola.models.trunk import hidden_states
from dola.models.turns import turn
from dola.models.vocabulary import check_tokens
from dola.strategies import (
    OWN,
    Contrast,
    ExitLogits,
    Strategy,
    all_reads,
    exits_of,
    resolve_strategy,
)


@dataclass(frozen=True)
class TokenTrace:
    """One token, and what the model made of the place before it.

    Attributes:
        position: of the token in the text, from 0.
        token: its text.
        score: the strategy's score of it (a logit for vanilla); -inf where it was ruled out.
        rank: how many tokens of the vocabulary score higher.
        premature_layer: the layer it was contrasted with; None for vanilla.
        details: by name, what the score was made from: a number, or one for each candidate layer. DoLa's
            `divergence`, in nats, is NaN for a layer that holds NaN or infinity and was left out.
        top: of each layer read, its most probable tokens and their probabilities, best first; none of a
            layer that was left out.
    """

    position: int
    token_id: int
    token: str
    score: float
    rank: int
    premature_layer: int | None
    details: dict[str, float | dict[int, float]]
    top: dict[int, tuple[tuple[str, float], ...]]

    @property
    def divergence(self) -> dict[int, float]:
        """Of each candidate layer from the mature layer, in nats; empty where none is computed."""
        found = self.details.get("divergence", {})
        return found if isinstance(found, dict) else {}


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
    strategy: Strategy | str,
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
    resolved = resolve_strategy(strategy, {OWN: parts.depth})
    encoded = tokenizer(text)["input_ids"]
    check_tokens(model, [[*encoded, *continuation]])
    ids = torch.tensor([[*encoded, *continuation]], device=input_device(model))
    first = max(1, len(encoded) if continuation else prompt_length)
    if ids.shape[1] <= first:
        raise DataError(
            f"nothing to trace: the text has {ids.shape[1]} tokens, and the first {first} are left out"
        )
    capabilities = Capabilities(model, parts)
    context = capabilities.context
    if context is not None and ids.shape[1] > context:
        raise DataError(
            f"the text has {ids.shape[1]} tokens, and the model's context holds {context}: shorten it"
        )
    reads = all_reads([resolved.reads, () if resolved.explanation is None else resolved.explanation.reads])
    exits = exits_of(reads)
    tokens: list[TokenTrace] = []
    with turn(model), torch.inference_mode():
        capabilities.ensure_pictured()
        hidden = hidden_states(parts, ids, exits)[:, 0, first - 1 : -1]  # [E, R, D]
        targets = ids[0, first:].to(hidden.device)
        for rows, tile in head_of(parts).read(hidden, reads):
            contrast = resolved.contrast(tile)
            states = hidden[:, rows]
            faults = unusable(resolved, contrast, tile, states)
            refuse(model, exits, tally(are_finite(states), faults))
            details = dict(contrast.details)
            if resolved.explanation is not None:
                details |= resolved.explanation.details(tile)
            part = _Part(contrast, details, resolved.candidates, tile)
            tokens += _explain(tokenizer, part, targets[rows], first + rows.start, top_k)
    mature = max(exit.layer for exit in resolved.reads[-1].exits)
    return Trace(text, resolved.text, mature, tuple(tokens))


class _Part(NamedTuple):
    """What a strategy made of the logits of r places, and what it was made from."""

    contrast: Contrast
    details: Mapping[str, Tensor]
    candidates: tuple[int, ...]
    tile: ExitLogits


def _explain(
    tokenizer: PreTrainedTokenizerBase, part: _Part, targets: Tensor, first: int, top_k: int
) -> list[TokenTrace]:
    """Traces of the tokens `targets` `[r]`, from what was read at the places before them."""
    scores = part.contrast.scores.gather(1, targets[:, None])  # [r, 1]
    ranks = (part.contrast.scores > scores).sum(1).tolist()
    premature: Sequence[int | None] = [None] * len(targets)
    if part.contrast.premature is not None:
        premature = part.contrast.premature.tolist()
    details = {name: _by_place(detail, targets, part) for name, detail in part.details.items()}
    top = _most_probable(tokenizer, part.tile, top_k)
    return [
        TokenTrace(
            position=first + row,
            token_id=target,
            token=str(tokenizer.decode([target])),
            score=float(scores[row, 0]),
            rank=ranks[row],
            premature_layer=premature[row],
            details={name: values[row] for name, values in details.items()},
            top={layer: tokens[row] for layer, tokens in top.items()},
        )
        for row, target in enumerate(targets.tolist())
    ]


def _by_place(detail: Tensor, targets: Tensor, part: _Part) -> Sequence[float | dict[int, float]]:
    """A detail by place: `[r]`, `[K, r]` of the candidates, or `[r, V]`, of which the target's counts."""
    if detail.ndim == 1:
        return [float(value) for value in detail.tolist()]
    if detail.shape == part.contrast.scores.shape:
        return [float(value) for value in detail.gather(1, targets[:, None])[:, 0].tolist()]
    return [dict(zip(part.candidates, values, strict=True)) for values in detail.T.tolist()]


def _most_probable(
    tokenizer: PreTrainedTokenizerBase, tile: ExitLogits, count: int
) -> dict[int, list[tuple[tuple[str, float], ...]]]:
    """By layer that is read, place by place, the tokens that it finds most probable; none where it is NaN."""
    found = {}
    for read in tile.reads:
        if len(read.exits) > 1:
            continue
        probabilities = torch.softmax(tile.logits(read), -1)
        best = probabilities.topk(min(count, probabilities.shape[-1]))
        found[read.exits[0].layer] = [
            tuple(
                (str(tokenizer.decode([token])), probability)
                for token, probability in zip(tokens, values, strict=True)
                if not math.isnan(probability)
            )
            for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
    return found
