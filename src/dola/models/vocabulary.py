"""Whether a tokenizer's tokens are the model's: an embedding that is not there is an index error inside a
model on the CPU, and on CUDA a device that no longer answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import ModelError, StrategyError


def embedded_tokens(model: PreTrainedModel) -> int:
    """How many tokens the model has embeddings for."""
    embedding: nn.Module = model.get_input_embeddings()
    count: int = getattr(embedding, "num_embeddings", None) or next(embedding.parameters()).shape[0]
    return count


def check_tokens(model: PreTrainedModel, rows: Iterable[Sequence[int]]) -> None:
    """See that the model has an embedding for every token of the rows.

    Raises:
        ModelError: it has none for one of them.
    """
    known = embedded_tokens(model)
    for row in rows:
        for token in (min(row, default=0), max(row, default=0)):
            if not 0 <= token < known:
                raise ModelError(
                    f"the text has token {token}, and the model has embeddings for {known} tokens (0 to"
                    f" {known - 1}): the tokenizer is another model's, or tokens were added to it alone"
                )


def check_named_tokens(model: PreTrainedModel, settings: Mapping[str, Any]) -> None:
    """See that the model has the tokens that settings would have written, and one of those that end a text.

    Raises:
        StrategyError: it has not.
    """
    known = embedded_tokens(model)
    for name in ("pad_token_id", "forced_eos_token_id", "eos_token_id"):
        found = settings.get(name)
        tokens = () if found is None else (found,) if isinstance(found, int) else tuple(found)
        fits = [0 <= token < known for token in tokens]
        if tokens and not (any(fits) if name == "eos_token_id" else all(fits)):
            raise StrategyError(f"{name}={found!r}, and the model has {known} tokens (0 to {known - 1})")


def check_vocabulary(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """See that the tokenizer's vocabulary may be the model's: much larger or smaller, it is another's.

    Models have some more embeddings than tokens, so that their number divides well, and some have fewer than
    their tokenizer has tokens, which then are in no text.

    Raises:
        ModelError: one is half as large again as the other.
    """
    known, tokens = embedded_tokens(model), len(tokenizer)
    if not 2 * known <= 3 * tokens <= 4.5 * known:
        raise ModelError(
            f"the tokenizer has {tokens} tokens, and the model embeddings for {known}: expected the model's"
            " own tokenizer (AutoTokenizer.from_pretrained of the same name)"
        )


def pad_with_known(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Give the tokenizer a padding token that the model has; any will do: what is padded is masked.

    Raises:
        ModelError: the tokenizer has no token that the model has.
    """
    known = embedded_tokens(model)
    if tokenizer.pad_token is not None and _is_known(tokenizer.pad_token_id, known):
        return
    tried = (tokenizer.eos_token_id, *range(known))
    # A gap in the tokenizer has no text, whatever the host's types say.
    found = (str(tokenizer.convert_ids_to_tokens(token) or "") for token in tried if _is_known(token, known))
    token = next(filter(None, found), None)
    if token is None:
        raise ModelError(
            f"the tokenizer has none of the {known} tokens that the model has embeddings for: it is another's"
        )
    tokenizer.pad_token = token


def _is_known(token: int | None, known: int) -> bool:
    return token is not None and 0 <= token < known


def check_ends(model: PreTrainedModel, name: str) -> None:
    """See that a generated text can end: that one of the tokens that are to end it is the model's.

    Raises:
        ModelError: all of them lie behind the vocabulary.
    """
    settings = getattr(model, "generation_config", None)
    found = getattr(settings, "eos_token_id", None)
    ends = [found] if isinstance(found, int) else list(found or ())
    known = embedded_tokens(model)
    if ends and all(isinstance(end, int) and end >= known for end in ends):
        raise ModelError(
            f"eos_token_id of {name} is {found}, and the model has {known} tokens (0 to {known - 1}): no text"
            " would end; set it in generation_config.json (or config.json) to the token that ends one"
        )
