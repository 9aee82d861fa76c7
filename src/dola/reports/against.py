"""A run beside the paper's figures: vanilla beside vanilla, DoLa beside DoLa, and what differs besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dola.errors import DataError
from dola.reports.paper import (
    BENCHMARKS,
    DOLA,
    MODELS,
    VANILLA,
    Figure,
    decodings,
    figures,
    model_named,
)
from dola.reports.reading import is_generation, place_of, strategy_rows
from dola.reports.view import between, percent
from dola.result import Result, Row
from dola.statistics import Interval
from dola.tasks.presets import PRESETS
from dola.tasks.sources import FACTOR, GSM8K, TRUTHFULQA

# With the released rule the published figures were made, so it is that figure which stands beside them.
_AS_RELEASED = {"accuracy": "accuracy_released"}
# The paper's figures have one decimal.
_ROUNDING = 0.0005


@dataclass(frozen=True)
class PaperCell:
    """A figure of the paper and the run's own, in percent; what one of them lacks is empty.

    Attributes:
        measured: the run's metric that stands beside the paper's.
        verdict: where the paper's figure lies: in the run's 95% interval, above it or below it.
    """

    metric: str
    measured: str
    paper: str
    value: str = ""
    interval: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class PaperRow:
    """One kind of decoding; `row` is the run's row beside it, empty for context that the run has not."""

    decoding: str
    row: str
    cells: tuple[PaperCell, ...]


@dataclass(frozen=True)
class PaperView:
    """The comparison with one model of the paper, and what there is to know before reading it."""

    model: str
    benchmark: str
    metrics: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]


def against_paper(result: Result, *, model: str | None = None) -> PaperView:
    """Put a result beside the paper's figures for its task.

    Args:
        model: a key of `paper.MODELS`; None: the one that the run's model is, or else LLaMA-7B, which is then
            said to be another model.

    Raises:
        DataError: the paper's Table 1 has no figures for the task or its data.
    """
    task = _benchmark(result)
    chosen = model or model_named(result.settings.model) or next(iter(MODELS))
    found = figures(task, chosen)
    metrics = tuple(dict.fromkeys(each.metric for each in found))
    rows = tuple(row for decoding in decodings(found) for row in _beside(result, decoding, found, metrics))
    notes = tuple(_notes(result, task, chosen))
    return PaperView(MODELS[chosen].name, BENCHMARKS[task].title, metrics, rows, notes)


def _benchmark(result: Result) -> str:
    task, source = result.task, result.settings.data_source
    if task in BENCHMARKS:
        return task
    if task != "factor":
        raise DataError(f"the paper's Table 1 has no figures for {task}: it has {', '.join(BENCHMARKS)}")
    kinds = [kind for kind in ("news", "wiki") if kind in source.partition(",")[0].lower()]
    if len(kinds) != 1:
        raise DataError(
            f"the paper's Table 1 has FACTOR news and FACTOR wiki; this run's data is neither ({source})"
        )
    return f"factor-{kinds[0]}"


def _beside(
    result: Result, decoding: str, found: Sequence[Figure], metrics: Sequence[str]
) -> Iterator[PaperRow]:
    """The run's rows of this decoding, each beside the figures; one row without any where it has none."""
    published = {each.metric: each for each in found if each.decoding == decoding}
    rows: list[Row | None] = [row for row in strategy_rows(result) if _decoding(result, row) == decoding]
    for row in rows or [None]:
        cells = tuple(_cell(metric, published.get(metric), row) for metric in metrics)
        yield PaperRow(decoding, row.label if row else "", cells)


def _cell(metric: str, figure: Figure | None, row: Row | None) -> PaperCell:
    paper = f"{figure.percent:.1f}" if figure else ""
    measures = row.measures if row else {}
    released = _AS_RELEASED.get(metric, metric)
    measured = released if released in measures else metric
    if measured not in measures:
        return PaperCell(metric, measured, paper)
    measure = measures[measured]
    verdict = _verdict(figure.percent / 100, measure) if figure else ""
    return PaperCell(metric, measured, paper, percent(measure.mean), between(measure), verdict)


def _verdict(published: float, measure: Interval) -> str:
    if (
        measure.low is None or measure.high is None or measure.low == measure.high
    ):  # all examples alike: it says nothing
        return "no interval"
    if published + _ROUNDING < measure.low:
        return "below the interval"
    return "above the interval" if published - _ROUNDING > measure.high else "in the interval"


def _decoding(result: Result, row: Row) -> str:
    """What the paper would call a row's strategy; empty where it has no such."""
    kind, layers = _layers(result, row)
    if not layers:
        return ""
    if len(layers) == 1:
        return VANILLA
    return "DoLa-static" if len(layers) == 2 and kind != "dola" else DOLA


def _layers(result: Result, row: Row) -> tuple[str, tuple[int, ...]]:
    """The layers of a resolved strategy as it is written, the mature one last."""
    head, _, rest = result.strategies[place_of(row)].spec.partition(":")
    numbers = rest.partition(":")[0] if head == "dola" else head
    parts = numbers.split(",")
    return head, tuple(map(int, parts)) if all(part.lstrip("-").isdigit() for part in parts) else ()


def _notes(result: Result, task: str, model: str) -> Iterator[str]:
    settings, paper = result.settings, MODELS[model]
    if model_named(settings.model) != model:
        yield (
            f"Another model: the run is of {settings.model}, the paper's figures are of {paper.name}."
            " Neither confirms nor refutes the other."
        )
    yield from _of_data(result, task)
    for row in strategy_rows(result):
        layers = _layers(result, row)[1]
        if _decoding(result, row) == DOLA and layers != paper.layers(task):
            expected = ",".join(map(str, paper.layers(task)))
            yield f"{row.label}: other layers than the {expected} that the paper takes for {paper.name}."
        if _decoding(result, row) not in (VANILLA, DOLA):
            yield f"{row.label}: the paper's Table 1 has no such row."
    if settings.preset != "released":
        yield f"The run has the preset {settings.preset}; the paper's figures are of the released one."
    yield from _of_decoding(result)
    yield from _of_measure(result, task)


def _of_data(result: Result, task: str) -> Iterator[str]:
    count, benchmark = result.counts["examples"], BENCHMARKS[task]
    if not _same_data(result, task):
        yield (
            f"Other data: the run's is {result.settings.data_source}; the paper's figures are on"
            f" {benchmark.title}, {benchmark.examples} examples."
        )
    if count < benchmark.examples:
        yield f"Few examples: {count}, where the paper has {benchmark.examples}."


def _same_data(result: Result, task: str) -> bool:
    pinned = {"tfqa-mc": TRUTHFULQA["paper"], "tfqa": TRUTHFULQA["paper"], "gsm8k": GSM8K["test"]}
    if task in pinned:
        return bool(result.manifest["data_sha256"] == pinned[task].sha256)
    if result.task == "factor":
        return result.settings.data_source.startswith(FACTOR[task.removeprefix("factor-")].title)
    return bool(result.settings.data_rows == BENCHMARKS[task].examples)


def _of_decoding(result: Result) -> Iterator[str]:
    """Where the run generates otherwise than the released script does unless told."""
    if not is_generation(result):
        return
    manifest, released = result.manifest, PRESETS[result.task]
    for row in strategy_rows(result):
        kind = _decoding(result, row)
        usual = (
            released.repetition_penalty_vanilla if kind == VANILLA else released.repetition_penalty_contrast
        )
        penalty = manifest["repetition_penalty"][place_of(row)]
        if kind and penalty != usual:
            yield f"{row.label}: repetition penalty {penalty:g}, in the released script {usual:g}."
    if manifest["do_sample"] != released.do_sample:
        yield "The run samples its tokens; the released script takes the best."
    if manifest["max_new_tokens"] != released.max_new_tokens:
        yield (
            f"At most {manifest['max_new_tokens']} new tokens, in the released script"
            f" {released.max_new_tokens}."
        )


def _of_measure(result: Result, task: str) -> Iterator[str]:
    if "accuracy_released" in result.metrics:
        yield (
            "The paper's figures were made with the released rule for reading answers, so what stands beside"
            " them is the run's accuracy by that rule."
        )
    if task == "tfqa":
        rated = any("truth" in row.measures for row in strategy_rows(result))
        yield (
            "The paper's judges were two fine-tuned GPT-3 curie models, which no longer exist: another judge"
            " measures something else."
        )
        if not rated:
            yield "This run is not rated yet: `dola judge tfqa` rates it."
