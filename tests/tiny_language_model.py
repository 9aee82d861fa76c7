"""A language model of random weights whose every byte is a token: any text at all, in any split."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dola import LanguageModel
from tiny_models import tiny_model


def byte_tokenizer(vocab_size: int = 259) -> PreTrainedTokenizerFast:
    """Bytes as tokens, then padding, end and beginning of sequence (added to no text by itself)."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*alphabet, "<pad>", "</s>", "<s>"]
    plain = Tokenizer(models.BPE(vocab={name: at for at, name in enumerate(names)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        model_max_length=vocab_size,
    )


def tiny_language_model(model_type: str = "llama", **changes: Any) -> LanguageModel:
    """Random, so it babbles; its end of sequence is the tokenizer's."""
    tokenizer = byte_tokenizer()
    model = tiny_model(model_type, vocab_size=len(tokenizer), **changes)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return LanguageModel(model, tokenizer, f"tiny {model_type}")
