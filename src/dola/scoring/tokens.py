"""From text to token ids: which tokens of prompt + continuation are the continuation's."""

from __future__ import annotations  # array is generic to type checkers alone

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import DataError

Request = tuple[str, Sequence[str]]
"""A prompt and its continuations, each with its leading space."""

# Texts handed to the tokenizer at once.
_BATCH = 1024


@dataclass(frozen=True)
class TokenRequest:
    """One prompt with its continuations, as tokens.

    Attributes:
        sequences: prompt and continuation, tokenised together.
        start: index of the first scored token, the same in every sequence.
    """

    sequences: tuple[array[int], ...]
    start: int
    prompt_is_prefix: tuple[bool, ...]
    truncated: int


def tokenize_requests(
    tokenizer: Tokenizer, requests: Sequence[Request], *, context: int | None, truncate: bool
) -> list[TokenRequest]:
    """The tokens to score: the joint tokenisation's, after as many as the prompt alone has, as released.

    Args:
        context: tokens that the model can hold, or None where it has no limit.
        truncate: cut a text that is longer on the left, a beginning-of-sequence token kept, by as much as the
            longest of the prompt's continuations needs.

    Raises:
        DataError: an empty prompt or continuation, or a text that does not fit.
    """
    prompts = _encode(tokenizer, [prompt for prompt, _ in requests])
    texts = [prompt + continuation for prompt, continuations in requests for continuation in continuations]
    joint = iter(_encode(tokenizer, texts))
    made = []
    for number, ((_, continuations), prompt) in enumerate(zip(requests, prompts, strict=True), start=1):
        sequences = [next(joint) for _ in continuations]
        _check(number, prompt, sequences)
        kept = int(prompt[0] == tokenizer.bos_token_id)
        cut = _excess(number, len(prompt) - kept, sequences, context, truncate=truncate)
        made.append(
            TokenRequest(
                sequences=tuple(ids[:kept] + ids[kept + cut :] for ids in sequences),
                start=len(prompt) - cut,
                prompt_is_prefix=tuple(ids[: len(prompt)] == prompt for ids in sequences),
                truncated=cut,
            )
        )
    return made


def check_requests(requests: object) -> None:
    """See that these are prompts with lists of continuations: of a string each letter would be one.

    Raises:
        DataError: they are not.
    """
    expected = "expected (prompt, [continuation, ...]), both texts"
    if isinstance(requests, str | Mapping) or not isinstance(requests, Sequence):
        raise DataError(f"requests: expected a list of (prompt, [continuation, ...]), found {requests!r:.80}")
    for number, request in enumerate(requests, start=1):
        if not isinstance(request, list | tuple) or len(request) != 2 or not isinstance(request[0], str):
            raise DataError(f"request {number}: {expected}, found {request!r:.80}")
        continuations = request[1]
        if isinstance(continuations, str | Mapping) or not isinstance(continuations, Sequence):
            raise DataError(
                f"request {number}: its continuations are {continuations!r:.80}: {expected}; one alone is a"
                " list of one"
            )
        for place, each in enumerate(continuations, start=1):
            if not isinstance(each, str):
                raise DataError(f"request {number}, continuation {place}: {expected}, found {each!r:.80}")


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[array[int]]:
    """Token ids with the special tokens that the tokenizer adds by itself; four bytes a token."""
    return [
        array("i", ids)
        for start in range(0, len(texts), _BATCH)
        for ids in tokenizer(list(texts[start : start + _BATCH]))["input_ids"]
    ]


def _check(number: int, prompt: array[int], sequences: Sequence[array[int]]) -> None:
    if not prompt:
        raise DataError(f"request {number}: the prompt is empty: expected at least one token")
    for place, ids in enumerate(sequences, start=1):
        if len(ids) <= len(prompt):
            raise DataError(
                f"request {number}, continuation {place}: no token is left to score: prompt and continuation"
                f" together have {len(ids)} tokens, the prompt alone {len(prompt)}"
            )


def _excess(
    number: int, prompt: int, sequences: Sequence[array[int]], context: int | None, *, truncate: bool
) -> int:
    """How many of the `prompt` tokens that may go have to."""
    longest = max(map(len, sequences), default=0)
    if context is None or longest <= context:
        return 0
    if not truncate:
        raise DataError(
            f"request {number} has {longest} tokens, and the model's context holds {context}: shorten it, or"
            " have it cut on the left (truncate)"
        )
    cut = longest - context
    if cut >= prompt:
        raise DataError(
            f"request {number}: a continuation leaves no room for its prompt in the model's context of"
            f" {context} tokens, and a continuation is never cut"
        )
    return cut
