"""How the released scripts clean a completion."""

from __future__ import annotations

from collections.abc import Sequence


def without_final_stop(raw: str, stop: Sequence[str]) -> str:
    """Each stop text is taken off the end, in this order, then the blanks around are."""
    for text in stop:
        raw = raw.removesuffix(text)
    return raw.strip()
