"""What every test shares: the folder of golden numbers, and an environment that gives the same digits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports torch, which reads it once: sums over other numbers of threads round differently.
# One, as the golden numbers were made, and as many tests run beside each other. (Gemma's early exits have
# logits in the thousands: there the golden scores and ours lie 0.9 of the tolerance from those of a float64
# trunk, each to its own side, and a sum in another order, by two threads, can take the rest.)
os.environ["OMP_NUM_THREADS"] = "1"
# A thread that waits by spinning takes the core from the one it waits for, where cores are few and shared.
os.environ["GOMP_SPINCOUNT"] = "0"
# No test talks to a model hub; without this a mistaken one hangs in retries where there is no network.
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every program that
# they start to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same cases for everybody and every time: a change is not refused for what another one broke. `make
# explore` draws new ones, and many more. No test measures time, so none has a deadline.
settings.register_profile("repeatable", max_examples=200, derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=5_000, deadline=None)
settings.load_profile("repeatable")

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden numbers and benchmark data: beside the checkout, or where DOLA_SHARED says."""
    folder = Path(os.environ.get("DOLA_SHARED") or BESIDE_THE_CHECKOUT)
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder, and {folder} is not there (DOLA_SHARED names another)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The mark `shared` and the fixture `shared` mean the same: whoever has one gets the other."""
    for item in items:
        names = item.fixturenames if isinstance(item, pytest.Function) else []
        if "shared" in names:
            item.add_marker(pytest.mark.shared)
        elif item.get_closest_marker("shared"):
            names.insert(0, "shared")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Under DOLA_REQUIRE_SHARED=1 a skipped `shared` test is a failure, whatever skipped it."""
    report = yield
    required = os.environ.get("DOLA_REQUIRE_SHARED") == "1" and item.get_closest_marker("shared")
    if required and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which DOLA_REQUIRE_SHARED=1 forbids: {report.longrepr[-1]}"
    return report
