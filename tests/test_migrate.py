"""Every line of `docs/migrate.md` runs, on a random model of as many layers as its examples name."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

import dola
from dola import loader
from dola.models.source import ModelSource
from tiny_language_model import tiny_language_model

PAGE = Path(__file__).parent.parent / "docs" / "migrate.md"


def test_every_line_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_language_model(num_hidden_layers=32)
    monkeypatch.setattr(loader, "find_source", lambda name, **_: ModelSource(name, name))
    monkeypatch.setattr(loader, "load_depth", lambda *_, **__: tiny.depth)
    monkeypatch.setattr(loader, "load_model", lambda *_, **__: (tiny.model, tiny.tokenizer))
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == PAGE.read_text().count("```python") > 8
    known: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), known)
        if "score = yes.score" in block:
            assert known["score"] == math.fsum(known["yes"].token_scores)
            assert sum(known["premature_layer_dist"].values()) == len(" Yes.")
    assert known["made"].token_ids
    assert dola.attach(tiny.model, "high").detach() is None
