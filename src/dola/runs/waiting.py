"""What a terminal shows while nothing can be told yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from rich.console import Console


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A sign of life on a terminal's standard error, gone when it is done; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(f"{what} ..."):
        yield


def quiet_host() -> None:
    """The host's advice is for programmers, and its progress bars would stand among the answers."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging = import_module("transformers.utils.logging")
    logging.disable_progress_bar()
