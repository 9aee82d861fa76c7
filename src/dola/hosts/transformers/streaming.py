"""Text as it is generated, handed to a callback, never past a stop string."""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase, TextStreamer

from dola.hosts.transformers.stopping import cut_at_stop


class CallbackStreamer(TextStreamer):
    """Gives finished stretches of text to `on_text`. The end that could begin a stop string is held back."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None], stop: Sequence[str]
    ) -> None:
        super().__init__(
            tokenizer, skip_prompt=True, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        self._on_text = on_text
        self._stop = tuple(stop)
        self._hold = max((len(word) for word in stop), default=1) - 1
        self._waiting = ""
        self._stopped = False

    def on_finalized_text(self, text: str, stream_end: bool = False) -> Any:  # noqa: FBT001, FBT002
        if self._stopped:
            return
        waiting, self._stopped = cut_at_stop(self._waiting + text, self._stop)
        ready = len(waiting) if stream_end or self._stopped else max(0, len(waiting) - self._hold)
        self._waiting = waiting[ready:]
        if ready:
            self._on_text(waiting[:ready])
