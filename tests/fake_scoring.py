"""A scorer that needs no weights: scores out of a hash of the text, so the same on every run and machine.

As a program it is the command line with that scorer in place of a model:

    python fake_scoring.py eval tfqa-mc ...        DOLA_FAKE_SECONDS=0.2: so long for each example
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from unittest import mock

from dola.scoring.result import LogLikelihood, Scored
from dola.strategies import OWN, Depth, Strategy, resolve_strategy

DEPTH = Depth(num_layers=8, tied_embeddings=False)


class FakeLanguageModel:
    """Every word is a token; its score is between -5 and 0, its premature layer one of the strategy's."""

    def iter_loglikelihood(
        self,
        requests: Sequence[tuple[str, Sequence[str]]],
        strategies: Sequence[Strategy],
        *,
        truncate: bool,
        batch_tokens: int | None,
    ) -> Iterator[tuple[int, Scored]]:
        for index, (prompt, continuations) in reversed(list(enumerate(requests))):
            time.sleep(float(os.environ.get("DOLA_FAKE_SECONDS", "0")))
            by_strategy = tuple(
                tuple(_likelihood(prompt, text, strategy) for text in continuations)
                for strategy in strategies
            )
            yield index, Scored(tuple(True for _ in continuations), 0, by_strategy)


def _likelihood(prompt: str, text: str, strategy: Strategy) -> LogLikelihood:
    numbers = [
        int.from_bytes(hashlib.sha256(f"{prompt}|{text}|{at}|{strategy}".encode()).digest()[:4])
        for at, _ in enumerate(text.split())
    ]
    scores = tuple(-5.0 * number / 2**32 for number in numbers)
    candidates = resolve_strategy(strategy, {OWN: DEPTH}).candidates
    layers = tuple(candidates[number % len(candidates)] for number in numbers) if candidates else None
    return LogLikelihood(sum(scores), scores, layers)


def fake_model() -> mock._patch:
    """The command line with the fake in place of a model, whatever its name."""
    return mock.patch.multiple(
        "dola.runs.model.NamedModel",
        load=lambda model, strategies: FakeLanguageModel(),
        depth=lambda model: DEPTH,
        dtype=lambda model: model.placement.dtype or "float32",
        identity=lambda model: f"name {model.name}",
    )


if __name__ == "__main__":
    from dola.cli.main import main

    with fake_model():
        sys.exit(main())
