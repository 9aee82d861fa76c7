"""How to decode: the settings of a call, checked, and in the form that the host takes."""

import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import GenerationConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import StrategyError
from dola.hosts.transformers.stopping import Stop

# What the host makes of the ids of a row, or of its length, it would make of padding too.
_READ_ROWS = frozenset(
    {
        "max_length",
        "min_length",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "encoder_repetition_penalty",
        "bad_words_ids",
        "sequence_bias",
        "watermarking_config",
        "prefill_chunk_size",
    }
)
_OWN_CACHE = frozenset({"cache_implementation", "max_cache_len", "prefill_chunk_size"})

# What the host does to scores that it samples from, and after: for rows that we draw, `warpers` does.
_WARPING = frozenset(
    {
        "min_p",
        "top_h",
        "typical_p",
        "epsilon_cutoff",
        "eta_cutoff",
        "watermarking_config",
        "renormalize_logits",
    }
)


@dataclass(frozen=True)
class GenerationSettings:
    """How to decode, whatever the strategy: see `LanguageModel.generate`, which says what each one means.

    Attributes:
        host: what else is set, by the host's names (`HostSettings`); checked by `read_settings`.
    """

    max_new_tokens: int = 64
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    num_beams: int = 1
    repetition_penalty: float = 1.0
    stop: tuple[Stop, ...] = ()
    seed: int | None = None
    prompt_lookup_num_tokens: int | None = None
    num_return_sequences: int = 1
    host: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._check_types()
        ranges = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "temperature": (
                self.temperature > 0,
                "above 0 (for the most probable token, leave out do_sample)",
            ),
            "top_p": (0 < self.top_p <= 1, "in (0, 1]"),
            "top_k": (self.top_k >= 0, "at least 0 (0: no limit)"),
            "num_beams": (self.num_beams >= 1, "at least 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0 (1: none)"),
            "num_return_sequences": (
                self.num_return_sequences >= 1
                and (self.num_return_sequences == 1 or self.do_sample or self.num_beams > 1)
                and (self.num_beams == 1 or self.num_return_sequences <= self.num_beams),
                "1 where the most probable token is taken, with beams at most num_beams, and at least 1",
            ),
            "prompt_lookup_num_tokens": ((self.prompt_lookup_num_tokens or 1) >= 1, "at least 1"),
            "stop": (
                all(each if isinstance(each, str) else each.search("") is None for each in self.stop),
                "non-empty strings, or patterns that find something",
            ),
            "seed": (0 <= (self.seed or 0) < 2**32, "in 0..2**32 - 1"),
        }
        for name, (fine, expected) in ranges.items():
            if not fine:
                raise StrategyError(f"{name} must be {expected}, found {getattr(self, name)!r}")

    def _check_types(self) -> None:
        """Where no host has looked at them: a 4.5 is no number of tokens, and a word no number."""
        whole = ("max_new_tokens", "top_k", "num_beams", "seed", "prompt_lookup_num_tokens")
        for name in (*whole, "num_return_sequences"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
                raise StrategyError(f"{name} must be a whole number, found {value!r}")
        for name in ("temperature", "top_p", "repetition_penalty"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise StrategyError(f"{name} must be a number, found {value!r}")
        for each in self.stop:
            if not isinstance(each, str | re.Pattern):
                raise StrategyError(f"stop must be non-empty strings (or patterns), found {each!r}")

    @property
    def draws_rows(self) -> bool:
        """Whether each row is drawn for itself (`RowSampler`), and not by the host, which draws beams."""
        return self.do_sample and self.num_beams == 1

    @property
    def reads_rows(self) -> bool:
        """Whether something looks at a row's tokens or length, and would take padding for the row's own."""
        return bool(_READ_ROWS & self.host.keys())

    @property
    def starts_from_nothing(self) -> bool:
        """Whether the host must read a prompt from its beginning, and make the cache itself."""
        return self.host.get("use_cache") is False or bool(_OWN_CACHE & self.host.keys())

    def room(self, prompt_tokens: int) -> int:
        """How many tokens may follow a prompt of so many."""
        longest: int | None = self.host.get("max_length")
        return self.max_new_tokens if longest is None else longest - prompt_tokens

    def ends(self, model: PreTrainedModel, tokenizer: Tokenizer) -> frozenset[int]:
        """The tokens that end a text: as set, else the model's own, else the tokenizer's."""
        own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        tried = (self.host.get("eos_token_id"), own, tokenizer.eos_token_id)
        found = next((each for each in tried if each is not None), ())
        return frozenset([found] if isinstance(found, int) else found)

    def padding(self, tokenizer: Tokenizer) -> int:
        """The token that fills up rows; none reads it."""
        return int(self.host.get("pad_token_id", tokenizer.pad_token_id))

    def host_config(
        self, model: PreTrainedModel, tokenizer: Tokenizer, prompt_tokens: int
    ) -> GenerationConfig:
        """The settings as the host takes them: of the model's own defaults, only its end of sequence.

        The repetition penalty is not among them: the host's own would penalise padding (`RowPenalty`). Nor is
        sampling but with beams: the host would draw from one stream for all rows (`RowSampler`).

        Args:
            prompt_tokens: in the rows, with their padding; without it where `reads_rows`.
        """
        settings = dict(self.host)
        settings.pop("max_length", None)
        if self.draws_rows:
            settings = {name: value for name, value in settings.items() if name not in _WARPING}
        elif self.do_sample:
            settings |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        ends = sorted(self.ends(model, tokenizer))
        settings |= {
            "max_new_tokens": self.room(prompt_tokens),
            "do_sample": self.do_sample and not self.draws_rows,
            "num_beams": self.num_beams,
            "num_return_sequences": self.num_return_sequences if self.num_beams > 1 else 1,
            "prompt_lookup_num_tokens": self.prompt_lookup_num_tokens,
            "eos_token_id": ends or None,
            "pad_token_id": self.padding(tokenizer),
            # Some configurations say no, and every step then reads the whole text again.
            "use_cache": settings.get("use_cache", True),
            "return_dict_in_generate": True,
            "output_scores": self.num_beams > 1,
        }
        return GenerationConfig.from_dict(settings)
