"""What the released scripts do to texts alike: how they clean a completion, and keep the prompt of each."""

from __future__ import annotations

from collections.abc import Sequence

from dola.tasks.base import E, GenerationTask
from dola.tasks.presets import PRESETS
from dola.tasks.stops import released_raw


def without_stop_words(task: str, raw: str, text: str) -> str:
    """What the script decodes (`released_raw`): each stop word is taken off its end, in order, then the
    blanks around are."""
    raw = released_raw(task, raw, text)
    for word in PRESETS[task].stop_words:
        raw = raw.removesuffix(word)
    return raw.strip()


def input_texts(task: GenerationTask[E], examples: Sequence[E], attempts: Sequence[int] | None) -> list[str]:
    """The prompt that each example's completion came of; `attempts`: how many it took, one if None."""
    taken = [1] * len(examples) if attempts is None else attempts
    return [task.prompt(example, attempt=count - 1) for example, count in zip(examples, taken, strict=True)]
