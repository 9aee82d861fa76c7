"""Prompts as tokens, and as the rows of a batch."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import DataError
from dola.hosts.transformers.prompt_forms import Given


@dataclass(frozen=True)
class Prompt:
    """One prompt of a call.

    Attributes:
        index: its place among the call's prompts.
        copy: how many prompts before it have the same tokens.
    """

    index: int
    copy: int
    text: str
    ids: tuple[int, ...]


def read_prompts(
    tokenizer: Tokenizer,
    given: Sequence[Given],
    *,
    context: int | None,
    room: Callable[[int], int],
    times: int = 1,
) -> list[Prompt]:
    """The prompts' tokens, without padding; the text of token ids is what they decode to.

    Args:
        context: how many tokens the model can hold; None for no limit.
        room: of a prompt of so many tokens, how many are to follow.
        times: how often each prompt is to be continued.

    Raises:
        DataError: an empty prompt, or one that leaves no room in the context.
    """
    prompts = []
    copies: Counter[tuple[int, ...]] = Counter()
    for index, (text, ids) in enumerate(_tokenised(tokenizer, given)):
        if not ids:
            raise DataError(f"prompt {index + 1} is empty: expected at least one token")
        following = room(len(ids))
        if following < 1:
            raise DataError(
                f"prompt {index + 1} has {len(ids)} tokens, and max_length {len(ids) + following} leaves no"
                " room for one more: raise it, or give max_new_tokens instead"
            )
        if context is not None and len(ids) + following > context:
            raise DataError(
                f"prompt {index + 1} has {len(ids)} tokens, and up to {following} more are to be generated:"
                f" the model's context holds {context}"
            )
        for _ in range(times):
            prompts.append(Prompt(index, copies[ids], text, ids))
            copies[ids] += 1
    return prompts


def _tokenised(tokenizer: Tokenizer, given: Sequence[Given]) -> Iterator[tuple[str, tuple[int, ...]]]:
    texts = [each for each in given if isinstance(each, str)]
    encoded = iter(tokenizer(texts)["input_ids"] if texts else ())
    for each in given:
        if isinstance(each, str):
            yield each, tuple(next(encoded))
        else:
            yield str(tokenizer.decode(list(each), clean_up_tokenization_spaces=False)), each


def common_prefix(prompts: Sequence[Prompt]) -> tuple[int, ...]:
    """The tokens that all prompts begin with."""
    # What the first and the last in dictionary order share, all between them share.
    first, last = min(prompt.ids for prompt in prompts), max(prompt.ids for prompt in prompts)
    length = next((at for at, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), None)
    return first[:length]


def of_one_length(prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """The prompts in groups of equally long ones, the longest first."""
    for _, group in groupby(sorted(prompts, key=_length, reverse=True), key=_length):
        yield list(group)


def _length(prompt: Prompt) -> int:
    return len(prompt.ids)


def left_padded(prompts: Sequence[Prompt], padding: int, device: torch.device) -> dict[str, Tensor]:
    """`input_ids` `[B, T]` with the token `padding` before shorter rows, and their `attention_mask`."""
    width = max(map(_length, prompts))
    fill = [width - len(prompt.ids) for prompt in prompts]
    ids = [[padding] * count + list(prompt.ids) for count, prompt in zip(fill, prompts, strict=True)]
    mask = [[0] * count + [1] * (width - count) for count in fill]
    return {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": torch.tensor(mask, device=device),
    }
