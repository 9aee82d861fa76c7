"""The premature layer is the candidate that diverges most; ties go to the first."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dola.contrast import select_premature


@given(st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=9))
def test_the_largest_wins_and_the_first_of_a_tie(values: list[float]) -> None:
    chosen = int(select_premature(torch.tensor(values)))
    largest = max(values)
    assert values[chosen] >= largest * (1 - 2e-6)
    assert all(value < largest * (1 - 5e-7) or largest == 0 for value in values[:chosen])
    assert not (largest == 0 and chosen)


def test_divergences_within_1e_6_of_each_other_are_tied() -> None:
    for scale in (1e-3, 1.0, 1e6):
        assert int(select_premature(torch.tensor([0.5, 1.0, 1.0000005]) * scale)) == 1
        assert int(select_premature(torch.tensor([0.5, 1.0, 1.000005]) * scale)) == 2


def test_every_position_is_decided_on_its_own() -> None:
    divergence = torch.rand(5, 4, 3)
    chosen = select_premature(divergence)
    assert chosen.shape == (4, 3)
    assert chosen.dtype == torch.int64
    for row in range(4):
        for position in range(3):
            assert chosen[row, position] == select_premature(divergence[:, row, position])
    assert chosen.unique().numel() > 1


def test_a_candidate_that_is_no_number_is_left_out_even_where_no_other_diverges() -> None:
    nan = float("nan")
    divergence = torch.tensor([[nan, 0.0, nan, 3.0], [0.0, nan, nan, nan], [0.0, 0.0, nan, 2.0]])
    assert select_premature(divergence).tolist() == [1, 0, 0, 0]
