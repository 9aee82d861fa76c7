"""Generate what a plan still lacks, and keep each completion as it is made.

`Generating` is all that is known here of how prompts are gone on from: in this process, or by
workers elsewhere.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from dola.runs.completions import Completion, GenerationRecord
from dola.runs.generation_plan import Decoding, GenerationPlan
from dola.runs.keeping import Kept
from dola.runs.layer_counts import LayerCounts, added_layers
from dola.tasks.base import Stop

if TYPE_CHECKING:
    from dola.hosts.transformers.generation import Generation
    from dola.strategies import Strategy


@dataclass(frozen=True)
class Batch:
    """What is generated alike.

    Attributes:
        chat: the prompts are what a user says, to be put into the model's own chat template.
        strategy: its place among the executor's strategies.
        stop: texts and patterns that end a completion.
    """

    prompts: tuple[str, ...]
    chat: bool
    strategy: int
    repetition_penalty: float
    stop: tuple[Stop, ...]
    decoding: Decoding


class Generating(Protocol):
    """Generates; hands `(which prompt, its completion)` over as each is done, in any order."""

    def generate(self, batch: Batch) -> Iterator[tuple[int, Completion]]: ...


@dataclass(frozen=True)
class LocalGenerating:
    """Generates in this process, with a model that is loaded.

    Attributes:
        lm: a `dola.LanguageModel`, or whatever has its `iter_generate` and `chat_prompt`.
        batch_size: rows at a time; None: as many as memory takes.
    """

    lm: Any
    strategies: tuple[Strategy, ...]
    batch_size: int | None = None

    def generate(self, batch: Batch) -> Iterator[tuple[int, Completion]]:
        prompts = [self._prompt(text, chat=batch.chat) for text in batch.prompts]
        since = time.monotonic()
        for which, generation in self.lm.iter_generate(
            prompts,
            self.strategies[batch.strategy],
            batch_size=self.batch_size,
            repetition_penalty=batch.repetition_penalty,
            stop=batch.stop,
            **asdict(batch.decoding),
        ):
            yield which, _completion(generation, time.monotonic() - since)
            since = time.monotonic()  # what is done with it in between is not generation

    def _prompt(self, text: str, *, chat: bool) -> str:
        return self.lm.chat_prompt([{"role": "user", "content": text}]) if chat else text


def generate_missing(
    plan: GenerationPlan,
    executor: Generating,
    records: Kept[GenerationRecord],
    on_record: Callable[[GenerationRecord], None] | None = None,
) -> None:
    """Generate the completions of the plan that have no record yet, strategy by strategy; `on_record` is told
    of each that is on the disk."""
    for strategy in range(len(plan.config.strategies)):
        left = [
            at for at, example in enumerate(plan.examples) if (example.index, strategy) not in records.done
        ]
        for record in _generated(plan, executor, strategy, left):
            records.append(record)
            if on_record is not None:
                on_record(record)


def lacking(plan: GenerationPlan, records: Kept[GenerationRecord]) -> int:
    """How many completions have no record yet."""
    wanted = {
        (example.index, strategy)
        for example in plan.examples
        for strategy in range(len(plan.config.strategies))
    }
    return len(wanted - records.done.keys())


def _generated(
    plan: GenerationPlan, executor: Generating, strategy: int, left: Sequence[int]
) -> Iterator[GenerationRecord]:
    """The completions of these places in the plan, each once its last attempt is made."""
    layers: dict[int, LayerCounts | None] = {}
    left_out = Counter[int]()
    for attempt in range(plan.attempts):
        again = []
        for at, made in _attempted(plan, executor, strategy, left, attempt):
            layers[at] = added_layers([layers[at], made.layers]) if at in layers else made.layers
            left_out[at] += made.left_out
            example = plan.examples[at]
            if attempt + 1 < plan.attempts and plan.task.judge(example, made.raw, made.text).retry:
                again.append(at)
                continue
            made = replace(made, layers=layers[at], left_out=left_out[at])
            yield GenerationRecord.of(example.index, strategy, made, attempts=attempt + 1)
        left = sorted(again)


def _attempted(
    plan: GenerationPlan, executor: Generating, strategy: int, places: Sequence[int], attempt: int
) -> Iterator[tuple[int, Completion]]:
    """One completion for each of these places: all at once, but for prompts that are there several times."""
    for copy in sorted({plan.copies[at] for at in places}):
        alike = [at for at in places if plan.copies[at] == copy]
        for which, made in executor.generate(_batch(plan, strategy, alike, attempt, copy)):
            yield alike[which], made


def _batch(plan: GenerationPlan, strategy: int, places: Sequence[int], attempt: int, copy: int) -> Batch:
    examples = [plan.examples[at] for at in places]
    prompts = (
        [plan.task.prompt(example, attempt=attempt) for example in examples]
        if attempt
        else [plan.prompts[at] for at in places]
    )
    return Batch(
        prompts=tuple(prompts),
        chat=plan.task.chat,
        strategy=strategy,
        repetition_penalty=plan.config.penalties[strategy],
        stop=plan.task.stop,
        decoding=_decoding_of(plan.config.decoding, attempt, copy),
    )


def _decoding_of(decoding: Decoding, attempt: int, copy: int) -> Decoding:
    """The settings of an attempt at a copy of a prompt: with a seed of its own, for the first one's would
    draw the same text again."""
    if decoding.seed is None or attempt == copy == 0:
        return decoding
    drawn = hashlib.sha256(f"{decoding.seed}:{attempt}:{copy}".encode())
    return replace(decoding, seed=int.from_bytes(drawn.digest()[:4], "big"))


def _completion(generation: Generation, seconds: float) -> Completion:
    chosen = generation.premature_layers
    counts = None if chosen is None else Counter(chosen)
    return Completion(
        text=generation.text,
        raw=generation.raw_text,
        tokens=len(generation.token_ids),
        prompt_tokens=generation.prompt_tokens,
        finish_reason=generation.finish_reason,
        layers=None if counts is None else {str(layer): counts[layer] for layer in sorted(counts)},
        seconds=seconds,
        left_out=generation.left_out,
    )
