"""A generator that needs no weights: completions out of a hash of what they depend on, the same everywhere.

As a program it is the command line with that generator in place of a model:

    python fake_completions.py eval gsm8k ...        DOLA_FAKE_SECONDS=0.2: so long for each completion
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from unittest import mock

from dola.hosts.transformers.generation import Generation
from dola.strategies import OWN, Strategy, resolve_strategy
from fake_scoring import DEPTH
from fake_scoring import FakeLanguageModel as FakeScorer


class FakeLanguageModel(FakeScorer):
    """Scores as the other fake. Some completions reason to a small number, some to yes or no, and some to
    nothing; a few run on after a stop string, as a model does whose token holds more than that."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], str, dict[str, object]]] = []

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        return f"<user>{messages[0]['content']}<assistant>"

    def iter_generate(
        self, prompts: Sequence[str], strategy: Strategy, *, batch_size: int | None, **settings: object
    ) -> Iterator[tuple[int, Generation]]:
        self.calls.append((list(prompts), str(strategy), {**settings, "batch_size": batch_size}))
        for index, prompt in reversed(list(enumerate(prompts))):
            time.sleep(float(os.environ.get("DOLA_FAKE_SECONDS", "0")))
            yield index, _generation(prompt, strategy, settings)


def _generation(prompt: str, strategy: Strategy, settings: Mapping[str, object]) -> Generation:
    drawn = [settings[name] for name in ("temperature", "top_p", "top_k", "seed")]
    parts = (prompt, str(strategy), settings["repetition_penalty"], drawn if settings["do_sample"] else ())
    digest = hashlib.sha256(repr(parts).encode()).digest()
    ending = (
        f"The answer is {digest[0] % 30}.",
        f"So the answer is {'yes' if digest[0] % 2 else 'no'}.",
        "Hm.",
    )
    text = f" It was number {digest[1]}. {ending[digest[2] % 3]}"
    stop = settings["stop"]
    stopped = bool(stop) and digest[3] % 4 > 0
    raw = f"{text}\n\n{_new_turn(stop[0])} more" if stopped else text
    tokens = min(len(raw.split()), settings["max_new_tokens"])
    candidates = resolve_strategy(strategy, {OWN: DEPTH}).candidates
    layers = (
        tuple(candidates[(digest[4] + at) % len(candidates)] for at in range(tokens)) if candidates else None
    )
    return Generation(
        prompt=prompt,
        text=f"{text}\n\n" if stopped else text,
        token_ids=tuple(range(tokens)),
        scores=(0.0,) * tokens,
        premature_layers=layers,
        finish_reason="stop" if stopped else "length",
        raw_text=raw,
        prompt_tokens=len(prompt.split()),
    )


def _new_turn(stop: str | re.Pattern[str]) -> str:
    """What a stop finds where a question begins."""
    if isinstance(stop, str):
        return stop
    return next(text for text in ("Q:", "### Human:") if stop.search(f"\n{text}"))


def fake_generator(lm: FakeLanguageModel | None = None) -> mock._patch:
    """The command line with the fake in place of a model, whatever its name."""
    made = lm or FakeLanguageModel()
    return mock.patch.multiple(
        "dola.runs.model.NamedModel",
        load=lambda model, strategies: made,
        depth=lambda model: DEPTH,
        dtype=lambda model: model.placement.dtype or "float32",
        identity=lambda model: f"name {model.name}",
    )


if __name__ == "__main__":
    from dola.cli.main import main

    with fake_generator():
        sys.exit(main())
