"""The golden generations of the released scripts, as what a task makes of them is compared with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def golden_runs(shared: Path, benchmark: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every item with what one mode made of it."""
    golden = json.loads((shared / "golden" / f"{benchmark}.json").read_text(encoding="utf-8"))
    for result in golden["results"].values():
        yield from zip(golden["items"], result["per_item"], strict=True)


def before_stop(raw: str, stop: Sequence[re.Pattern[str]]) -> str:
    """Cut before the first place that ends a completion."""
    return raw[: min((found.start() for each in stop if (found := each.search(raw))), default=len(raw))]


def prompt_sha256(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()
