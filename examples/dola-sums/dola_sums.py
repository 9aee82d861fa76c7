"""A benchmark of a third party: sums of small numbers, the right answer among two wrong ones."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.tasks.base import Dataset, Request
from dola.tasks.benchmark import Benchmark
from dola.tasks.presets import Preset


@dataclass(frozen=True)
class Sum:
    index: int
    a: int
    b: int

    @property
    def answers(self) -> tuple[str, ...]:
        """As they follow the prompt; the first one is right."""
        return tuple(f" {self.a + self.b + off}" for off in (0, 1, -1))


class Sums:
    """Is the right sum the likeliest of three?"""

    name = "sums"
    metrics = ("accuracy",)
    binary_metrics = frozenset(metrics)
    version = 1  # counted up when the same data comes to ask or to measure something else

    def load(self, data_path: Path | None = None, *, version: str | None = None) -> Dataset[Sum]:
        examples = tuple(Sum(at, at // 9 + 1, at % 9 + 1) for at in range(81))
        sha256 = hashlib.sha256(repr(examples).encode()).hexdigest()
        return Dataset(examples, sha256, "all sums of 1 to 9", Path(__file__))

    def request(self, example: Sum) -> Request:
        return Request(f"{example.a} + {example.b} =", example.answers)

    def measure(self, example: Sum, scores: Sequence[float]) -> dict[str, float]:
        return {"accuracy": float(scores[0] > max(scores[1:]))}

    def describe(self, example: Sum) -> dict[str, Any]:
        labels = ("best", "false", "false")
        answers = [
            {"text": text, "label": label} for text, label in zip(example.answers, labels, strict=True)
        ]
        return {"question": f"{example.a} + {example.b}", "group": None, "answers": answers}

    def released_json(self, examples: Sequence[Sum], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
        return {"scores": [list(ones) for ones in scores]}


BENCHMARK = Benchmark(
    name="sums",
    title="Sums of small numbers",
    summary="Sums of small numbers: is the right one the likeliest of three?",
    preset=Preset(output_path="sums.json"),
    generates=False,
    make=lambda asked: Sums(),
)
