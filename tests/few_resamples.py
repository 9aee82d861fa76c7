"""To import this fixture is to have a hundredth of the resamples: for tests of what is counted."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bootstraps and permutations of 99 draws, for all tests of the module that imports this."""
    for module in ("statistics", "runs.agreement"):
        monkeypatch.setattr(f"dola.{module}.RESAMPLES", 99)
