"""What makes many small objects that stay is spared the search for cycles among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Within, Python does not look for objects that hold each other. A hundred thousand records are looked
    through again and again, which is a fifth of the time, and records and figures form no cycles."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()
