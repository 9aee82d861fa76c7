"""What a benchmark declares of itself: its name, its released preset, and which settings are its own.

One file a benchmark: the task, and a `BENCHMARK` that says this. `registry.py` finds it by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dola.tasks.base import Extraction
from dola.tasks.presets import Preset


@dataclass(frozen=True)
class Asked:
    """What of a run's settings a benchmark may take for its own.

    Attributes:
        model: as it was given.
        prompts: the few-shot prompt: a file or its folder; None: the released one.
        shuffle_seed: of the shuffling of the worked examples; None: they are not shuffled.
    """

    model: str
    prompts: Path | None = None
    prefix_column: str | None = None
    own_seam: bool = False
    shuffle_seed: int | None = None
    extraction: Extraction = "own"
    model_id: str | None = None
    template: str = "own"


def _as_it_is(task: Any, place: int, label: str) -> Any:  # noqa: ARG001
    return task


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, before its data is there.

    Attributes:
        title: as tables are headed; `summary`: its line in the help.
        generates: whether the model writes the answers; else it scores those that there are.
        make: the task (a `Task`, or a `GenerationTask` where it generates), with its own settings.
        takes: the names of the settings that are its own.
        shown: those of them that the result names.
        shards: whether it may be cut into shards, as its released script does.
        retries: whether its released script generates again where it finds no answer.
        writer: the task as it writes the released output of the strategy with this place and label.
    """

    name: str
    title: str
    summary: str
    preset: Preset
    generates: bool
    make: Callable[[Asked], Any]
    takes: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    shards: bool = True
    retries: bool = False
    writer: Callable[[Any, int, str], Any] = _as_it_is
