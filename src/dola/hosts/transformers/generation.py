"""Prompts in, continuations out: one call of the host's own `generate`, with what it does recorded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, StoppingCriteria
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import ModelError, StrategyError
from dola.hosts.transformers.attach import Attachment, attached
from dola.hosts.transformers.penalty import RowPenalty
from dola.hosts.transformers.prompts import Prompt, left_padded, of_one_length, read_prompts
from dola.hosts.transformers.recording import ChosenTokens, StepRecord, StepScores
from dola.hosts.transformers.sampling import RowSampler, seed_of, seeded
from dola.hosts.transformers.settings import GenerationSettings
from dola.hosts.transformers.stopping import Stop, StopStrings, cut_at_stop
from dola.hosts.transformers.streaming import CallbackStreamer
from dola.hosts.transformers.watch import watched_host
from dola.models.capabilities import Capabilities
from dola.models.parts import input_device
from dola.models.prefix import Prefix
from dola.models.randomness import generators_seeded
from dola.models.turns import turn
from dola.models.vocabulary import check_tokens
from dola.strategies import ResolvedStrategy


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
        raw_text: the text of `token_ids` without special tokens, a stop string and what came with it left in.
        prompt_tokens: how many tokens the prompt has.
        left_out: how many candidates, of all tokens together, held NaN or infinity and were left out of the
            choice of the premature layer.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    scores: tuple[float, ...]
    premature_layers: tuple[int, ...] | None
    finish_reason: Literal["stop", "length"]
    raw_text: str
    prompt_tokens: int
    left_out: int = 0


def generate(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    strategy: ResolvedStrategy,
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
    if on_text is not None and not all(isinstance(each, str) for each in settings.stop):
        raise StrategyError("a text that is streamed can be stopped at strings, not at patterns")
    if settings.prompt_lookup_num_tokens is not None and not alone:
        raise StrategyError("prompt lookup takes one prompt at a time, and no beams")
    capabilities = Capabilities.of(model)
    with turn(model):
        refuse_attached(model)
        rows = read_prompts(tokenizer, prompts, context=capabilities.context, room=settings.max_new_tokens)
    check_tokens(model, [row.ids for row in rows])
    settings = seeded(settings)
    together = len({len(row.ids) for row in rows}) == 1 or capabilities.pads
    done: dict[int, Generation] = {}
    for batch in [rows] if together else of_one_length(rows):
        found = generate_batch(model, tokenizer, batch, strategy, settings, on_text=on_text)
        done.update((row.index, each) for row, each in zip(batch, found, strict=True))
    return [done[row.index] for row in rows]


def refuse_attached(model: PreTrainedModel) -> None:
    """Vanilla would be contrasted, and not say so."""
    if attached(model) is not None:
        raise ModelError(f"{type(model).__name__} has a strategy attached already: detach that one first")


def generate_batch(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    rows: Sequence[Prompt],
    strategy: ResolvedStrategy,
    settings: GenerationSettings,
    *,
    prefix: Prefix | None = None,
    on_text: Callable[[str], None] | None = None,
) -> list[Generation]:
    """Continue the rows of one batch, in their order, while no other thread uses the model.

    Args:
        strategy: resolved for the model.
        settings: with a seed where something is drawn (`seeded`).
        prefix: what all rows begin with, read already; at least one token of each row must come after it.

    Raises:
        ModelError: a strategy is attached to the model already, or this is called from within a batch of it.
    """
    with turn(model):
        refuse_attached(model)
        return _generate_batch(model, tokenizer, rows, strategy, settings, prefix, on_text)


def _generate_batch(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    rows: Sequence[Prompt],
    strategy: ResolvedStrategy,
    settings: GenerationSettings,
    prefix: Prefix | None,
    on_text: Callable[[str], None] | None,
) -> list[Generation]:
    inputs: dict[str, Any] = dict(left_padded(rows, int(tokenizer.pad_token_id), input_device(model)))
    start = inputs["input_ids"].shape[1]
    if prefix is not None:
        padding = [start - len(row.ids) for row in rows for _ in range(settings.num_beams)]
        inputs["past_key_values"] = prefix.under_padding(model, padding)
    words = [each for each in settings.stop if isinstance(each, str)]
    streamer = None if on_text is None else CallbackStreamer(tokenizer, on_text, words)
    with nullcontext() if strategy.plain else Attachment(model, [strategy.strategy]) as attachment:
        output, record = _run_host(model, tokenizer, rows, inputs, settings, streamer, attachment)
    del inputs  # with the cache, which is as large as what is left of the memory
    scores = _scores_per_token(output, record, start)
    premature = _per_token(output, record.premature, start)
    left_out = _per_token(output, record.left_out, start)
    ends = settings.host_config(model, tokenizer).eos_token_id
    end_ids = frozenset(ends if isinstance(ends, list) else [ends])
    generations = []
    for at, row in enumerate(rows):
        ids = output.sequences[at, start:].tolist()
        length, text, finished = _end(tokenizer, ids, end_ids, settings.stop)
        layers = None
        if premature is not None:
            layers = tuple(premature[at, :length].tolist())
        generations.append(
            Generation(
                prompt=row.text,
                text=text,
                token_ids=tuple(ids[:length]),
                scores=tuple(scores[at, :length].tolist()),
                premature_layers=layers,
                finish_reason="stop" if finished else "length",
                raw_text=_text(tokenizer, ids[:length]),
                prompt_tokens=len(row.ids),
                left_out=0 if left_out is None else int(left_out[at, :length].sum()),
            )
        )
    return generations


def _run_host(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    rows: Sequence[Prompt],
    inputs: dict[str, Any],
    settings: GenerationSettings,
    streamer: CallbackStreamer | None,
    attachment: Attachment | None,
) -> tuple[Any, StepRecord]:
    """The host's own output, and what was recorded of its steps."""
    record = StepRecord()
    assisted = settings.prompt_lookup_num_tokens is not None
    steps = StepScores(record, attachment, overwritten=assisted)
    processors: list[LogitsProcessor] = [steps]
    if settings.repetition_penalty != 1.0:
        processors.insert(0, RowPenalty(settings.repetition_penalty, inputs["attention_mask"]))
    draws: AbstractContextManager[None] = nullcontext()
    if settings.do_sample and settings.num_beams == 1:
        processors.append(RowSampler(settings, rows, inputs["input_ids"].shape[1]))
    elif settings.do_sample:
        draws = generators_seeded(int.from_bytes(seed_of(settings, rows)[:4], "big"))
    criteria: list[StoppingCriteria] = [ChosenTokens(record, steps)]
    if settings.stop:
        criteria.append(StopStrings(tokenizer, settings.stop, inputs["input_ids"].shape[1]))
    config = settings.host_config(model, tokenizer)
    watched = watched_host(model, guessed=config.prompt_lookup_num_tokens is not None)
    host_watched = watched if attachment is None else nullcontext()
    with _without_defaults(model), draws, host_watched as host_scores:
        if host_scores is not None:
            processors.insert(0, host_scores)
        output = cast("Any", model).generate(
            **inputs,
            generation_config=config,
            logits_processor=processors,
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


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _end(
    tokenizer: Tokenizer, ids: list[int], end_ids: frozenset[int], stop: Sequence[Stop]
) -> tuple[int, str, bool]:
    """How many of a row's tokens are its own, their text up to a stop string, and whether it finished."""
    length = next((at + 1 for at, token in enumerate(ids) if token in end_ids), len(ids))
    ended = length > 0 and ids[length - 1] in end_ids
    text, stopped = cut_at_stop(_text(tokenizer, ids[:length]), stop)
    if stopped:
        # The text only grows with the tokens, so the one that completed a stop string is found by halving.
        low, high = 1, length
        while low < high:
            middle = (low + high) // 2
            found = cut_at_stop(_text(tokenizer, ids[:middle]), stop)[1]
            low, high = (low, middle) if found else (middle + 1, high)
        length = low
    return length, text, ended or stopped


def _scores_per_token(output: Any, record: StepRecord, start: int) -> Tensor:
    """Scores `[B, n]` of the generated tokens."""
    lengths = range(start, output.sequences.shape[1])
    source = _source_beams(output, len(lengths))
    if source is None:
        return torch.stack([record.scores[n] for n in lengths], 1)
    tokens = output.sequences[:, start:]
    return torch.stack(
        [step[source[:, at], tokens[:, at]] for at, step in enumerate(output.scores[: len(lengths)])], 1
    )


def _per_token(output: Any, recorded: Mapping[int, Tensor], start: int) -> Tensor | None:
    """What was recorded of each step, as `[B, n]` of the generated tokens; None where nothing was."""
    if not recorded:
        return None
    lengths = range(start, output.sequences.shape[1])
    source = _source_beams(output, len(lengths))
    if source is None:
        return torch.stack([recorded[n] for n in lengths], 1)
    return torch.stack([recorded[n][source[:, at]] for at, n in enumerate(lengths)], 1)


def _source_beams(output: Any, count: int) -> Tensor | None:
    """Which running beam each token of a finished sequence came from `[B, n]`; None without beams."""
    beams: Tensor | None = getattr(output, "beam_indices", None)
    return None if beams is None else beams[:, :count].clamp(min=0)  # -1 past its end
