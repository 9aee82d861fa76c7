"""The caller's own objects that take part in a call: what changes scores, hears tokens, guesses ahead."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from transformers import LogitsProcessor, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from dola.errors import StrategyError
from dola.hosts.transformers.prompts import Prompt
from dola.hosts.transformers.settings import GenerationSettings


@dataclass(frozen=True)
class Participants:
    """See `LanguageModel.generate`.

    Attributes:
        processors: called at each step with the batch as the host has it: ids `[B, T]` with the padding
            on the left, scores `[B, V]` as the strategy and the settings have made them, before temperature.
    """

    processors: Sequence[LogitsProcessor] = ()
    streamer: BaseStreamer | None = None
    on_text: Callable[[str], None] | None = None
    assistant: PreTrainedModel | None = None

    @classmethod
    def of(cls, logits_processor: Any, **others: Any) -> "Participants":
        """With one processor, a list of them, or None."""
        alone = logits_processor is not None and not isinstance(logits_processor, list | tuple)
        listed = [logits_processor] if alone else list(logits_processor or ())
        for each in listed:
            if not callable(each):
                raise StrategyError(
                    f"logits_processor must be a LogitsProcessor or a list of them, found {each!r}"
                )
        return cls(tuple(listed), **others)

    def check(self, model: PreTrainedModel, settings: GenerationSettings, rows: int) -> None:
        """See that one row is all there is, where one is all that can be streamed or guessed ahead.

        Raises:
            StrategyError: it is not.
        """
        alone = rows == 1 and settings.num_beams == 1
        if self.streamer is not None and self.on_text is not None:
            raise StrategyError("streamer and on_text both stream the text: give one")
        if self.streamer is not None and not hasattr(self.streamer, "put"):
            raise StrategyError(f"streamer must be a transformers streamer, found {self.streamer!r}")
        if (self.on_text is not None or self.streamer is not None) and not alone:
            raise StrategyError("text can be streamed for one prompt at a time, and without beams")
        if self.on_text is not None and not all(isinstance(each, str) for each in settings.stop):
            raise StrategyError("a text that is streamed can be stopped at strings, not at patterns")
        if settings.prompt_lookup_num_tokens is not None and not alone:
            raise StrategyError("prompt lookup takes one prompt at a time, and no beams")
        if self.assistant is not None:
            self._check_assistant(model, settings, alone=alone)

    def _check_assistant(self, model: PreTrainedModel, settings: GenerationSettings, *, alone: bool) -> None:
        if not isinstance(self.assistant, PreTrainedModel):
            raise StrategyError(
                f"assistant_model must be a transformers model, found {type(self.assistant).__name__}: of a"
                " LanguageModel give its .model"
            )
        if not alone:
            raise StrategyError(
                "an assistant_model takes one prompt at a time, no beams and one text of each"
            )
        if settings.prompt_lookup_num_tokens is not None:
            raise StrategyError("assistant_model and prompt_lookup_num_tokens both guess ahead: give one")
        if self.assistant is model:
            raise StrategyError(
                "assistant_model is the model itself, which cannot guess faster than it decodes"
            )
        counts = [each.config.get_text_config(decoder=True).vocab_size for each in (model, self.assistant)]
        if counts[0] != counts[1]:
            raise StrategyError(
                f"assistant_model has a vocabulary of {counts[1]} tokens, and the model one of {counts[0]}:"
                " expected a model of the same tokenizer"
            )

    def check_batch(self, rows: Sequence[Prompt], *, together: bool) -> None:
        """See that processors, which may hold what they have seen, see one batch.

        Raises:
            StrategyError: the rows cannot be one.
        """
        if self.processors and not together:
            shortest, *_, longest = sorted(len(row.ids) for row in rows)
            raise StrategyError(
                f"a logits_processor sees one batch, prompts of {shortest} to {longest} tokens cannot"
                " share one with this model or these settings: give prompts of one length, or one at a time"
            )

    @contextmanager
    def heard_out(self) -> Iterator[None]:
        """A reader of the streamer waits for its end: it comes, whatever fails."""
        try:
            yield
        except BaseException:
            if self.streamer is not None and hasattr(self.streamer, "end"):
                cast("Any", self.streamer).end()
            raise
