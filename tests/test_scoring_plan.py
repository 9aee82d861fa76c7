"""What goes into one pass over subtrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola.scoring.plan import together


@given(st.lists(st.integers(1, 6000), min_size=1), st.integers(1, 20000), st.sampled_from(["cpu", "cuda"]))
def test_a_pass_holds_no_more_than_its_budget_and_a_full_one_more_than_one_subtree(
    sizes: list[int], budget: int, device: str
) -> None:
    full = {"cpu": 256, "cuda": 2048}[device]
    count = together(sizes, budget, device)
    held = sum(sizes[:count])
    assert held <= budget
    assert count < 2 or held <= full
    assert count == len(sizes) or held + sizes[count] > min(full, budget), "another one would have fitted"


@pytest.mark.parametrize(
    ("size", "budget", "device", "count"),
    [
        (700, 1024, "cpu", 1),
        (1024, 1024, "cpu", 1),
        (1025, 1024, "cpu", 0),
        (4096, 16384, "cuda", 1),
        (4097, 16384, "cuda", 0),  # its mask would have 17 million places
    ],
)
def test_a_large_subtree_is_read_alone_and_one_too_large_not_at_all(
    size: int, budget: int, device: str, count: int
) -> None:
    assert together([size, 1], budget, device) == count
