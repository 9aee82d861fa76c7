"""Stops: strings and patterns, found in the text however the tokenizer splits it, and cut off exactly.

The host has stop strings too, but works out first how every token of the vocabulary could overlap each of
them, in Python: tens of seconds for a vocabulary of 49,152. Decoding the last few tokens costs nothing.
"""

import re
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, StoppingCriteria

# A string wherever it stands, or what a pattern finds.
Stop = str | re.Pattern[str]


def cut_at_stop(text: str, stop: Sequence[Stop]) -> tuple[str, bool]:
    """`text` up to the first stop in it, and whether there was one."""
    found = [at for at in (_found(text, each) for each in stop) if at >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _found(text: str, stop: Stop) -> int:
    if isinstance(stop, str):
        return text.find(stop)
    match = stop.search(text)
    return match.start() if match else -1


class StopStrings(StoppingCriteria):
    """Ends a row whose generated text contains a stop."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[Stop], start: int) -> None:
        """`start`: the length of the (padded) prompt; a stop in the prompt ends nothing."""
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._start = start
        self._seen = start
        # A token holds at least one byte of text, but for special tokens and a few that only split words.
        # What stands before a pattern's place decides, too: for one the whole text is looked at.
        words = [word for word in stop if isinstance(word, str)]
        self._tail = 2 * max(len(word.encode()) for word in words) + 4 if len(words) == len(stop) else None

    def __call__(self, input_ids: Tensor, scores: object) -> torch.BoolTensor:  # noqa: ARG002
        first = self._start
        if self._tail is not None:
            first = max(first, min(self._seen, input_ids.shape[1]) - self._tail)
        self._seen = input_ids.shape[1]
        texts = self._tokenizer.batch_decode(
            input_ids[:, first:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        done = [cut_at_stop(text, self._stop)[1] for text in texts]
        return cast("torch.BoolTensor", torch.tensor(done, device=input_ids.device))
