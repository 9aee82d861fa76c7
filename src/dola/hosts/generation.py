"""Prompts in, continuations out: one call of the host's own `generate`, with what it does recorded."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, set_seed
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import DataError, ModelError, StrategyError
from dola.hosts.recording import ChosenTokens, StepRecord, StepScores
from dola.hosts.stopping import StopStrings, cut_at_stop
from dola.hosts.streaming import CallbackStreamer
from dola.hosts.transformers import Attachment, attach, attached
from dola.models.parts import context_of
from dola.strategies import Strategy, Vanilla


@dataclass(frozen=True)
class Generation:
    """One continuation of one prompt.

    Attributes:
        text: the continuation, without special tokens, cut before the first stop string.
        token_ids: every token that was generated, an end-of-sequence token or a stop string's included.
        scores: of each token, what it was chosen by: the strategy's score (a logit for vanilla) after
            repetition penalty and other processors, before temperature, top-k and top-p. Under beam search
            the host's log-probability of that score.
        premature_layers: the layer that each token was contrasted with; None for vanilla.
        finish_reason: `stop` (end of sequence or a stop string) or `length`.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    scores: tuple[float, ...]
    premature_layers: tuple[int, ...] | None
    finish_reason: Literal["stop", "length"]


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
    stop: tuple[str, ...] = ()
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
            "stop": (all(self.stop), "non-empty strings"),
            "seed": (0 <= (self.seed or 0) < 2**32, "in 0..2**32 - 1"),
        }
        for name, (fine, expected) in ranges.items():
            if not fine:
                raise StrategyError(f"{name} must be {expected}, found {getattr(self, name)!r}")

    def host_config(self, model: PreTrainedModel, tokenizer: Tokenizer) -> GenerationConfig:
        """The settings as the host takes them: of the model's own defaults, only its end of sequence."""
        own: GenerationConfig | None = getattr(model, "generation_config", None)
        ends = None if own is None else own.eos_token_id
        sampling: dict[str, Any] = {}
        if self.do_sample:
            sampling = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        arguments: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": self.do_sample,
            "num_beams": self.num_beams,
            "repetition_penalty": self.repetition_penalty,
            "prompt_lookup_num_tokens": self.prompt_lookup_num_tokens,
            "eos_token_id": tokenizer.eos_token_id if ends is None else ends,
            "pad_token_id": tokenizer.pad_token_id,
            "return_dict_in_generate": True,
            "output_scores": self.num_beams > 1,
            **sampling,
        }
        return GenerationConfig.from_dict(arguments)


def generate(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    strategy: Strategy,
    settings: GenerationSettings,
    on_text: Callable[[str], None] | None = None,
) -> list[Generation]:
    """Continue each prompt; see `LanguageModel.generate`. The strategy is resolved for the model.

    Raises:
        DataError: an empty prompt, or one that leaves no room in the model's context.
        ModelError: a strategy is attached to the model already.
        StrategyError: settings that do not go together.
    """
    if not prompts:
        return []
    alone = len(prompts) == 1 and settings.num_beams == 1
    if on_text is not None and not alone:
        raise StrategyError("text can be streamed for one prompt at a time, and without beams")
    if settings.prompt_lookup_num_tokens is not None and not alone:
        raise StrategyError("prompt lookup takes one prompt at a time, and no beams")
    if attached(model) is not None:  # vanilla would be contrasted, and not say so
        raise ModelError(f"{type(model).__name__} has a strategy attached already: detach that one first")
    inputs = _encode(model, tokenizer, prompts, settings.max_new_tokens)
    if settings.seed is not None:
        set_seed(settings.seed)
    streamer = None if on_text is None else CallbackStreamer(tokenizer, on_text, settings.stop)
    with nullcontext() if isinstance(strategy, Vanilla) else attach(model, strategy) as attachment:
        output, record = _run_host(model, tokenizer, inputs, settings, streamer, attachment)
    start = inputs["input_ids"].shape[1]
    scores, premature = _per_token(output, record, start)
    candidates = strategy.candidates
    ends = settings.host_config(model, tokenizer).eos_token_id
    end_ids = frozenset(ends if isinstance(ends, list) else [ends])
    generations = []
    for row, prompt in enumerate(prompts):
        ids = output.sequences[row, start:].tolist()
        length, text, finished = _end(tokenizer, ids, end_ids, settings.stop)
        layers = None
        if premature is not None:
            layers = tuple(candidates[index] for index in premature[row, :length].tolist())
        generations.append(
            Generation(
                prompt=prompt,
                text=text,
                token_ids=tuple(ids[:length]),
                scores=tuple(scores[row, :length].tolist()),
                premature_layers=layers,
                finish_reason="stop" if finished else "length",
            )
        )
    return generations


def _encode(
    model: PreTrainedModel, tokenizer: Tokenizer, prompts: Sequence[str], max_new_tokens: int
) -> dict[str, Tensor]:
    """Prompts as left-padded ids `[B, T]` and their mask, on the model's device."""
    encoded = tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
    lengths = encoded["attention_mask"].sum(1).tolist()
    context = context_of(model.config)
    for number, length in enumerate(lengths, start=1):
        if length == 0:
            raise DataError(f"prompt {number} is empty: expected at least one token")
        if context is not None and length + max_new_tokens > context:
            raise DataError(
                f"prompt {number} has {length} tokens, and up to {max_new_tokens} more are to be generated:"
                f" the model's context holds {context}"
            )
    return {key: encoded[key].to(model.device) for key in ("input_ids", "attention_mask")}


def _run_host(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    inputs: dict[str, Tensor],
    settings: GenerationSettings,
    streamer: CallbackStreamer | None,
    attachment: Attachment | None,
) -> tuple[Any, StepRecord]:
    """The host's own output, and what was recorded of its steps."""
    record = StepRecord()
    steps = StepScores(record, attachment)
    criteria: list[StoppingCriteria] = [ChosenTokens(record, steps)]
    if settings.stop:
        criteria.append(StopStrings(tokenizer, settings.stop, inputs["input_ids"].shape[1]))
    config = settings.host_config(model, tokenizer)
    with _without_defaults(model):
        output = cast("Any", model).generate(
            **inputs,
            generation_config=config,
            logits_processor=[steps],
            stopping_criteria=criteria,
            streamer=streamer,
        )
    return output, record


@contextmanager
def _without_defaults(model: PreTrainedModel) -> Iterator[None]:
    """The host fills whatever a call leaves open from the model's own generation defaults: there are none."""
    own: Any = getattr(model, "generation_config", None)
    model.generation_config = GenerationConfig.from_dict({})
    try:
        yield
    finally:
        model.generation_config = own


def _end(
    tokenizer: Tokenizer, ids: list[int], end_ids: frozenset[int], stop: Sequence[str]
) -> tuple[int, str, bool]:
    """How many of a row's tokens are its own, their text up to a stop string, and whether it finished."""

    def text_of(count: int) -> str:
        return str(
            tokenizer.decode(ids[:count], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    length = next((at + 1 for at, token in enumerate(ids) if token in end_ids), len(ids))
    ended = length > 0 and ids[length - 1] in end_ids
    text, stopped = cut_at_stop(text_of(length), stop)
    if stopped:
        # The text only grows with the tokens, so the one that completed a stop string is found by halving.
        low, high = 1, length
        while low < high:
            middle = (low + high) // 2
            found = cut_at_stop(text_of(middle), stop)[1]
            low, high = (low, middle) if found else (middle + 1, high)
        length = low
    return length, text, ended or stopped


def _per_token(output: Any, record: StepRecord, start: int) -> tuple[Tensor, Tensor | None]:
    """Scores `[B, n]` and chosen candidates `[B, n]` of the generated tokens."""
    lengths = range(start, output.sequences.shape[1])
    beams = getattr(output, "beam_indices", None)
    if beams is None:
        premature = torch.stack([record.premature[n] for n in lengths], 1) if record.premature else None
        return torch.stack([record.scores[n] for n in lengths], 1), premature
    # Which running beam each token of a finished sequence came from; -1 past its end.
    source = beams[:, : len(lengths)].clamp(min=0)
    tokens = output.sequences[:, start:]
    scores = torch.stack(
        [step[source[:, at], tokens[:, at]] for at, step in enumerate(output.scores[: len(lengths)])], 1
    )
    if not record.premature:
        return scores, None
    return scores, torch.stack([record.premature[n][source[:, at]] for at, n in enumerate(lengths)], 1)
