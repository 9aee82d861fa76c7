"""Tuning: which candidate layers suit a model, chosen by two-fold validation on a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from dola.errors import RunError
from dola.result import Result
from dola.runs.asked_strategies import ContrastSettings
from dola.runs.evaluate import Lines, Way, model_of, name_of, run
from dola.runs.model import Model
from dola.runs.spec import DEFAULT_MODEL, RunSpec, SpecSettings
from dola.runs.sweep import STATIC, Sweep, Tried

if TYPE_CHECKING:
    from dola.language_model import LanguageModel

# What the choice is made by, unless said; the test examples of a benchmark choose nothing.
METRICS = {"tfqa-mc": "MC3", "gsm8k": "accuracy", "strqa": "accuracy"}
_DATA = {"gsm8k": "validation"}


def tune(
    task: str,
    *,
    model: str | LanguageModel | Model = DEFAULT_MODEL,
    strategy: str | None = None,
    buckets: str | Sequence[str] = (),
    metric: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **settings: Unpack[SpecSettings],
) -> Result:
    """Choose candidate layers for a model by two-fold validation, as the paper does: what `dola tune` does.

        result = dola.tune("tfqa-mc", model="smollm2")
        result.tuning.chosen, result.tuning.flag

    Args:
        task: tfqa-mc (every static layer is scored too), gsm8k (on 1,000 training examples), strqa.
        strategy: choose among what this strategy has to tune: dola (unless said), sled, delta, static, or
            another's.
        buckets: choose among these instead: layers, or any strategy as a text.
        metric: what the choice is made by; None: MC3, or accuracy.
        settings: those of `RunSpec`, but the strategies; the others are as in `dola.evaluate`.

    Raises:
        StrategyError: a bucket that is vanilla, which all are compared with.
    """
    spec = RunSpec.of({"task": task, "model": name_of(model), "data_version": _DATA.get(task), **settings})
    tried = Tried(strategy, (buckets,) if isinstance(buckets, str) else tuple(buckets))
    way = Way(None if output is None else Path(output), overwrite, progress)
    return run_tuning(spec, tried, way, metric, model_of(model))


def run_tuning(
    spec: RunSpec, tried: Tried, way: Way, metric: str | None = None, model: Model | None = None
) -> Result:
    """The tuning of a spec; its strategies are of no effect."""
    if spec.task not in METRICS:
        raise RunError(f"{spec.task} tunes nothing: expected one of {', '.join(METRICS)}")
    sweep = Sweep(
        tried,
        ContrastSettings.of(spec),
        spec.task,
        metric or METRICS[spec.task],
        spec.seed,
        together=not spec.benchmark.generates,
        tell=way.tell,
    )
    lines = Lines(sweep.strategies, sweep=lambda label: label.startswith(STATIC), extra=sweep.tuning)
    return run(spec, way, model, lines)
