"""How to decode: the settings of a call, checked, and in the form that the host takes."""

from dataclasses import dataclass
from typing import Any

from transformers import GenerationConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import StrategyError
from dola.hosts.transformers.stopping import Stop


@dataclass(frozen=True)
class GenerationSettings:
    """How to decode, whatever the strategy: see `LanguageModel.generate`, which says what each one means."""

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

    def __post_init__(self) -> None:
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

    def host_config(self, model: PreTrainedModel, tokenizer: Tokenizer) -> GenerationConfig:
        """The settings as the host takes them: of the model's own defaults, only its end of sequence.

        The repetition penalty is not among them: the host's own would penalise padding (`RowPenalty`). Nor is
        sampling but with beams: the host would draw from one stream for all rows (`RowSampler`).
        """
        own: GenerationConfig | None = getattr(model, "generation_config", None)
        ends = None if own is None else own.eos_token_id
        sampling: dict[str, Any] = {}
        host_samples = self.do_sample and self.num_beams > 1
        if host_samples:
            sampling = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        arguments: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": host_samples,
            "num_beams": self.num_beams,
            "prompt_lookup_num_tokens": self.prompt_lookup_num_tokens,
            "eos_token_id": tokenizer.eos_token_id if ends is None else ends,
            "pad_token_id": tokenizer.pad_token_id,
            "use_cache": True,  # some configurations say no, and every step then reads the whole text again
            "return_dict_in_generate": True,
            "output_scores": self.num_beams > 1,
            **sampling,
        }
        return GenerationConfig.from_dict(arguments)
