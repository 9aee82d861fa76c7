"""What the released scripts do to texts alike: how they clean a completion, and keep the prompt of each."""

from __future__ import annotations

from collections.abc import Sequence

from dola.tasks.base import E, GenerationTask


def without_final_stop(raw: str, stop: Sequence[str]) -> str:
    """Each stop text is taken off the end, in this order, then the blanks around are."""
    for text in stop:
        raw = raw.removesuffix(text)
    return raw.strip()


def input_texts(task: GenerationTask[E], examples: Sequence[E], attempts: Sequence[int] | None) -> list[str]:
    """The prompt that each example's completion came of; `attempts`: how many it took, one if None."""
    taken = [1] * len(examples) if attempts is None else attempts
    return [task.prompt(example, attempt=count - 1) for example, count in zip(examples, taken, strict=True)]
