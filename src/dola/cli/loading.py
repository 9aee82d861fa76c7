"""Load what the options name, cheap checks first: a layer too many is said before weights load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dola.cli.options import ModelOptions
from dola.runs.waiting import quiet_host, waiting

__all__ = ["load_for", "quiet_host", "tell", "tell_once", "waiting"]

if TYPE_CHECKING:
    from dola.language_model import LanguageModel
    from dola.strategies import Strategy


def load_for(
    options: ModelOptions, strategies: Sequence[Strategy], notes: list[str] | None = None
) -> LanguageModel:
    """The model, once it is sure that it has the strategies' layers and that the device is there.

    What there is to say of it (its dtype) is said at once, or added to `notes`, where an answer may still be
    refused: a refusal is one line.

    Raises:
        LayerError: a layer that the model lacks.
        ModelError: a model or a device that is not there.
    """
    placement = options.placement
    quiet_host()
    # The slow imports come here, after everything that can be refused without them.
    from dola.loader import depth_of_model, load
    from dola.strategies import OWN, resolve_all

    placement.load_arguments_here()
    depth = depth_of_model(options.model_name, trust_remote_code=options.trust_remote_code, progress=tell)
    resolve_all(strategies, {OWN: depth})
    with waiting(f"loading {options.model_name}"):
        return load(
            options.model_name,
            dtype=placement.dtype,
            device=placement.device,
            num_gpus=placement.num_gpus,
            max_gpu_memory=placement.max_gpu_memory,
            trust_remote_code=options.trust_remote_code,
            progress=tell if notes is None else notes.append,
        )


def tell(line: str) -> None:
    """One line about what takes time, on standard error."""
    click.echo(line, err=True)


def tell_once(notes: list[str]) -> None:
    """What was kept until something came of it."""
    while notes:
        tell(notes.pop(0))
