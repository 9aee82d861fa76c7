"""The embedded models, loaded once a session; import the fixture into the test file that needs it."""

from __future__ import annotations

import pytest

import dola


@pytest.fixture(scope="session")
def smollm2() -> dola.LanguageModel:
    return dola.load("smollm2", dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def gemma3() -> dola.LanguageModel:
    return dola.load("gemma3-270m", dtype="float32", device="cpu")
