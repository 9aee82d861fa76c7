"""The figures of the paper's main table, and the models and layers that they were made with.

Source: Chuang et al., DoLa, arXiv 2309.03883. Every figure in `paper.csv` was read in Table 1 of its full
text, in the form published at ICLR. Layers and model names are those of the released code's README.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

VANILLA, DOLA = "vanilla", "DoLa"


@dataclass(frozen=True)
class PaperModel:
    """A model of the paper.

    Attributes:
        hub: its id on the Hugging Face hub. (Its 33B model is called 30b there.)
        depth: its number of layers.
        gpus: how many GPUs the released README takes for it, of the size of 2023.
    """

    name: str
    hub: str
    depth: int
    gpus: int

    def layers(self, task: str) -> tuple[int, ...]:
        """The candidate premature layers, then the mature one, that the README gives for a task: the highest
        bucket for TruthfulQA, the lowest for all others; even layers."""
        bucket = 16 if self.depth == 32 else 20
        start = self.depth - bucket if task.startswith("tfqa") else 0
        return (*range(start, start + bucket, 2), self.depth)


MODELS = {
    "llama-7b": PaperModel("LLaMA-7B", "huggyllama/llama-7b", 32, 1),
    "llama-13b": PaperModel("LLaMA-13B", "huggyllama/llama-13b", 40, 2),
    "llama-33b": PaperModel("LLaMA-33B", "huggyllama/llama-30b", 60, 4),
    "llama-65b": PaperModel("LLaMA-65B", "huggyllama/llama-65b", 80, 8),
}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of the table, and the number of its examples."""

    title: str
    examples: int


BENCHMARKS = {
    "tfqa-mc": Benchmark("TruthfulQA multiple choice", 817),
    "factor-news": Benchmark("FACTOR news", 1036),
    "factor-wiki": Benchmark("FACTOR wiki", 2994),
    "tfqa": Benchmark("TruthfulQA open-ended", 817),
    "strqa": Benchmark("StrategyQA", 2290),
    "gsm8k": Benchmark("GSM8K", 1319),
}


@dataclass(frozen=True)
class Figure:
    """One number of the table, in percent with one decimal.

    Attributes:
        task: a key of `BENCHMARKS`.
        model: a key of `MODELS`.
        decoding: `vanilla` or `DoLa`, or, as context, `ITI` or `contrastive decoding`.
    """

    task: str
    model: str
    decoding: str
    metric: str
    percent: float


@functools.cache
def all_figures() -> tuple[Figure, ...]:
    """Every figure, in the order of the file."""
    text = files("dola.reports").joinpath("paper.csv").read_text(encoding="utf-8")
    return tuple(
        Figure(row["task"], row["model"], row["decoding"], row["metric"], float(row["percent"]))
        for row in csv.DictReader(text.splitlines())
    )


def figures(task: str, model: str) -> tuple[Figure, ...]:
    """A benchmark's figures of one model."""
    return tuple(each for each in all_figures() if (each.task, each.model) == (task, model))


def decodings(found: Sequence[Figure]) -> tuple[str, ...]:
    """The kinds of decoding among the figures, those that a run can have first."""
    named = dict.fromkeys((VANILLA, DOLA))
    present = named | dict.fromkeys(each.decoding for each in found)
    return tuple(name for name in present if any(each.decoding == name for each in found))


def model_named(name: str) -> str | None:
    """The paper's model that a name or path says it is, a key of `MODELS`; None for any other model."""
    last = name.rstrip("/").rpartition("/")[2].lower()
    match = re.fullmatch(r"llama-?(7|13|30|33|65)b(-hf)?", last)
    return match and f"llama-{match[1].replace('30', '33')}b"
