"""A backend of a third party: a model without layers worth the name, which knows how long words are.

dola.evaluate("tfqa-mc", model=WordLengths())
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dola
from dola.scoring.result import LogLikelihood, Scored


@dataclass(frozen=True)
class WordLengths:
    """Every word is a token, and the less likely the longer it is, whatever the strategy."""

    name: str = "word-lengths"

    # What is known before it is loaded.

    def depth(self) -> dola.Depth:
        return dola.Depth(num_layers=4, tied_embeddings=False)

    def dtype(self) -> str:
        return "float64"

    def identity(self) -> str:
        return "word lengths, version 1"

    def load(self, strategies: Sequence[dola.Strategy]) -> "WordLengths":
        return self

    # What it does once it is.

    def iter_loglikelihood(
        self, requests: Sequence[tuple[str, Sequence[str]]], strategies: Sequence[dola.Strategy], **_: Any
    ) -> Iterator[tuple[int, Scored]]:
        for index, (_prompt, continuations) in enumerate(requests):
            likelihoods = tuple(_likelihood(text) for text in continuations)
            yield index, Scored((True,) * len(continuations), 0, (likelihoods,) * len(strategies))

    def iter_generate(
        self, prompts: Sequence[str], strategy: dola.Strategy, **settings: Any
    ) -> Iterator[tuple[int, dola.Generation]]:
        for index, prompt in enumerate(prompts):
            word = max(prompt.split(), key=len)
            yield index, dola.Generation(prompt, f" {word}", (0,), (0.0,), None, "stop", f" {word}", 1)

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        return messages[-1]["content"]


def _likelihood(text: str) -> LogLikelihood:
    scores = tuple(-float(len(word)) for word in text.split())
    return LogLikelihood(sum(scores), scores, None)
