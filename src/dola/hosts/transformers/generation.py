"""Prompts in, continuations out: one call of the host's own `generate`, with what it does recorded."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, StoppingCriteria
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.generation.streamers import BaseStreamer

from dola.errors import ModelError, StrategyError, in_one_line
from dola.hosts.transformers.attach import Attachment, attached
from dola.hosts.transformers.participants import Participants
from dola.hosts.transformers.penalty import RowPenalty
from dola.hosts.transformers.prompt_forms import Given
from dola.hosts.transformers.prompts import Prompt, left_padded, of_one_length, read_prompts
from dola.hosts.transformers.recording import (
    Begun,
    ChosenTokens,
    StepRecord,
    StepScores,
    per_token,
    scores_per_token,
)
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
from dola.models.vocabulary import check_named_tokens, check_tokens
from dola.strategies import ResolvedStrategy


@dataclass(frozen=True)
class Generation:
    """One continuation of one prompt.

    Attributes:
        text: the continuation, without special tokens, cut before the first stop string.
        token_ids: every token that was generated, an end-of-sequence token or a stop string's included.
        scores: of each token, what it was chosen by: the strategy's score (a logit for vanilla) after
            repetition penalty and other processors, before temperature, top-k, top-p, their like, and a
            watermark. Under beam search the host's log-probability of that score.
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
    prompts: Sequence[Given],
    strategy: ResolvedStrategy,
    settings: GenerationSettings,
    others: Participants = Participants(),  # noqa: B008
) -> list[Generation]:
    """Continue each prompt; see `LanguageModel.generate`. The strategy is resolved for the model.

    Raises:
        DataError: an empty prompt, or one that leaves no room in the model's context.
        ModelError: a strategy is attached to the model already.
        StrategyError: settings that do not go together.
    """
    if not prompts:
        return []
    others.check(model, settings, len(prompts) * settings.num_return_sequences)
    capabilities = Capabilities.of(model)
    with turn(model):
        refuse_attached(model)
        rows = read_rows(capabilities, tokenizer, prompts, settings)
    settings = seeded(settings)
    together = len({len(row.ids) for row in rows}) == 1 or share_batches(capabilities, settings)
    others.check_batch(rows, together=together)
    done: list[tuple[int, Generation]] = []
    for batch in [rows] if together else of_one_length(rows):
        done += generate_batch(model, tokenizer, batch, strategy, settings, others=others)
    return [generation for _, generation in sorted(done, key=lambda each: each[0])]


def read_rows(
    capabilities: Capabilities, tokenizer: Tokenizer, prompts: Sequence[Given], settings: GenerationSettings
) -> list[Prompt]:
    """The rows of a call: each prompt as often as it is drawn for itself (beams share one).

    Raises:
        DataError: an empty prompt, or one that leaves no room in the model's context.
        ModelError: a token that the model lacks.
        StrategyError: a setting names such a token, where one is to be written.
    """
    times = 1 if settings.num_beams > 1 else settings.num_return_sequences
    context = capabilities.context
    check_named_tokens(capabilities.model, settings.host)
    rows = read_prompts(tokenizer, prompts, context=context, room=settings.room, times=times)
    check_tokens(capabilities.model, [row.ids for row in rows])
    return rows


def share_batches(capabilities: Capabilities, settings: GenerationSettings) -> bool:
    """Whether rows of different lengths are in one batch what they are alone."""
    return capabilities.pads and not settings.reads_rows


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
    others: Participants = Participants(),  # noqa: B008
) -> list[tuple[int, Generation]]:
    """Continue the rows of one batch, in their order, while no other thread uses the model.

    Args:
        strategy: resolved for the model.
        settings: with a seed where something is drawn (`seeded`).
        prefix: what all rows begin with, read already; at least one token of each row must come after it.

    Returns:
        Each row's index and continuation; of beams each row's best first.

    Raises:
        ModelError: a strategy is attached to the model already, or this is called from within a batch of it.
        StrategyError: the host refuses the settings.
    """
    with turn(model):
        refuse_attached(model)
        return _generate_batch(_Batch(model, tokenizer, rows, settings, others), strategy, prefix)


@dataclass(frozen=True)
class _Batch:
    """What a batch is, and who takes part in it."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    rows: Sequence[Prompt]
    settings: GenerationSettings
    others: Participants

    def streamer(self) -> BaseStreamer | None:
        if self.others.on_text is None:
            return self.others.streamer
        words = [each for each in self.settings.stop if isinstance(each, str)]
        return CallbackStreamer(self.tokenizer, self.others.on_text, words)


def _generate_batch(
    batch: _Batch, strategy: ResolvedStrategy, prefix: Prefix | None
) -> list[tuple[int, Generation]]:
    model, tokenizer, rows, settings = batch.model, batch.tokenizer, batch.rows, batch.settings
    inputs: dict[str, Any] = dict(left_padded(rows, settings.padding(tokenizer), input_device(model)))
    start = inputs["input_ids"].shape[1]
    if prefix is not None:
        padding = [start - len(row.ids) for row in rows for _ in range(settings.num_beams)]
        inputs["past_key_values"] = prefix.under_padding(model, padding)
    with nullcontext() if strategy.plain else Attachment(model, [strategy.strategy]) as attachment:
        output, record = _run_host(batch, inputs, attachment)
    del inputs  # with the cache, which is as large as what is left of the memory
    scores = scores_per_token(output, record, start)
    premature = per_token(output, record.premature, start)
    left_out = per_token(output, record.left_out, start)
    end_ids = settings.ends(model, tokenizer)
    of_each = len(output.sequences) // len(rows)
    generations = []
    for at, ids in enumerate(output.sequences[:, start:].tolist()):
        row = rows[at // of_each]
        length, text, finished = _end(tokenizer, ids, end_ids, settings.stop)
        layers = None
        if premature is not None:
            layers = tuple(premature[at, :length].tolist())
        made = Generation(
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
        generations.append((row.index, made))
    return generations


def _run_host(batch: _Batch, inputs: dict[str, Any], attachment: Attachment | None) -> tuple[Any, StepRecord]:
    """The host's own output, and what was recorded of its steps."""
    model, settings, others = batch.model, batch.settings, batch.others
    start = inputs["input_ids"].shape[1]
    config = settings.host_config(model, batch.tokenizer, start)
    guessed = config.prompt_lookup_num_tokens is not None or others.assistant is not None
    record = StepRecord()
    steps = StepScores(record, attachment, overwritten=guessed)
    criteria: list[StoppingCriteria] = [ChosenTokens(record, steps)]
    if settings.stop:
        criteria.append(StopStrings(batch.tokenizer, settings.stop, start))
    draws: AbstractContextManager[None] = nullcontext()
    if settings.do_sample and not settings.draws_rows:
        draws = generators_seeded(int.from_bytes(seed_of(settings, batch.rows)[:4], "big"))
    watched = watched_host(model, guessed=guessed)
    host_watched = watched if attachment is None else nullcontext()
    with _without_defaults(model), draws, host_watched as host_scores, _refused() as begun:
        first = [begun] if host_scores is None else [begun, host_scores]
        output = cast("Any", model).generate(
            **inputs,
            generation_config=config,
            logits_processor=[*first, *_processors(batch, inputs["attention_mask"], steps)],
            stopping_criteria=criteria,
            streamer=batch.streamer(),
            assistant_model=others.assistant,
        )
    return output, record


def _processors(batch: _Batch, attention_mask: Tensor, steps: StepScores) -> list[LogitsProcessor]:
    """What comes after the host's own: the penalty, the caller's, what is recorded, the row's draw."""
    settings, (_, start) = batch.settings, attention_mask.shape
    processors: list[LogitsProcessor] = []
    if settings.repetition_penalty != 1.0:
        processors.append(RowPenalty(settings.repetition_penalty, attention_mask))
    processors += [*batch.others.processors, steps]
    if settings.draws_rows:
        marking = settings.host.get("watermarking_config")
        vocabulary = batch.model.config.get_text_config().vocab_size
        device = attention_mask.device
        watermark = None if marking is None else marking.construct_processor(vocabulary, device)
        processors.append(RowSampler(settings, batch.rows, start, device=device, watermark=watermark))
    return processors


@contextmanager
def _refused() -> Iterator[Begun]:
    """What the host refuses before it has decoded anything is a matter of the settings."""
    begun = Begun()
    try:
        yield begun
    except (TypeError, ValueError, AssertionError) as error:
        if begun.yes:
            raise
        raise StrategyError(f"transformers refuses these settings: {in_one_line(error)}") from error


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
