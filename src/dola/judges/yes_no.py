"""What a causal language model gives " yes" and " no" after a prompt: the last position's distribution."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dola.errors import ModelError
from dola.judges.card import NO, YES

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer


@dataclass(frozen=True)
class AnswerTokens:
    """The token that each answer begins with."""

    yes: int
    no: int


def answer_tokens(tokenizer: Tokenizer, prompt: str) -> AnswerTokens:
    """The tokens of " yes" and " no" as they follow a prompt.

    Raises:
        ModelError: the tokenizer lets the prompt's end and the answer flow into one token, or begins both
            answers with the same token.
    """
    before = encode(tokenizer, prompt)
    found = []
    for answer in (YES, NO):
        tokens = encode(tokenizer, prompt + answer)
        if tokens[: len(before)] != before or len(tokens) == len(before):
            raise ModelError(
                f"this tokenizer has no token of its own for {answer!r} after {prompt[-8:]!r}: expected one,"
                " so this model cannot be a judge; take another"
            )
        found.append(tokens[len(before)])
    if found[0] == found[1]:
        raise ModelError(
            "this tokenizer begins ' yes' and ' no' with the same token: this model cannot be a judge"
        )
    return AnswerTokens(*found)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids as the tokenizer makes them by default; an end-of-sequence token at the end is dropped."""
    tokens: list[int] = tokenizer(text)["input_ids"]
    return tokens[:-1] if tokens and tokens[-1] == tokenizer.eos_token_id else tokens


def padding_of(tokenizer: Tokenizer) -> int:
    """The token to pad with: any will do, since nothing attends to it."""
    pad: int | None = tokenizer.pad_token_id
    return 0 if pad is None else pad


def padded(rows: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, both `[B, T]`, padded on the right.

    On the right, since padding that comes after a position changes nothing in it, in any causal model and
    without position ids, which not every model takes.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def last_logits(model: torch.nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The logits after each row's last token, `[B, V]`, in float32.

    The head is run on the positions where some row ends and on no others, where the model allows that.
    """
    ends: Any = attention_mask.sum(-1) - 1  # [B]
    kept, place = ends.unique(return_inverse=True)
    if _keeps_some(model):
        logits = model(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=kept).logits
    else:
        logits = model(input_ids=input_ids, attention_mask=attention_mask).logits
        place = ends
    rows = torch.arange(len(ends), device=logits.device)
    last: Tensor = logits[rows, place.to(logits.device)].float()
    return last


def probabilities_of_yes(
    model: PreTrainedModel | PeftModel,
    rows: Sequence[Sequence[int]],
    tokens: AnswerTokens,
    *,
    pad: int,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
) -> list[float]:
    """P(" yes") of the whole vocabulary after each row of token ids; `advance` hears how many are done."""
    found = [0.0] * len(rows)
    done = 0
    for batch in _by_length(rows, batch_size):
        inputs = {name: t.to(model.device) for name, t in padded([rows[at] for at in batch], pad).items()}
        with torch.inference_mode():
            probabilities = last_logits(model, **inputs).softmax(-1)[:, tokens.yes]
        for at, probability in zip(batch, probabilities.tolist(), strict=True):
            found[at] = probability
        done += len(batch)
        if advance is not None:
            advance(done)
    return found


def _by_length(rows: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Places of rows, those of like length together, the longest first: memory runs out at once or never."""
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]), reverse=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _keeps_some(model: Any) -> bool:
    """Whether the model can run its head on chosen positions alone."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(plain.forward).parameters
