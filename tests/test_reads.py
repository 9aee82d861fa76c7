"""Where a trunk is left, and in which order that is read."""

from __future__ import annotations

import pytest

from dola.strategies import OWN, Depth, Exit, Read, all_reads, exits_of


def test_a_read_at_a_layer_is_at_one_exit_of_its_stream() -> None:
    assert Read.at(3) == Read((Exit(3, False, OWN),), (1.0,))
    assert Read.at(3, norm=True, stream="amateur") == Read((Exit(3, True, "amateur"),))


@pytest.mark.parametrize("norm", [False, True])
def test_the_last_layer_is_one_exit_whether_it_is_to_be_normed_or_not(norm: bool) -> None:  # noqa: FBT001
    depth = Depth(4, False)
    assert depth.read(4, norm=norm) == depth.last == Read.at(4)
    assert depth.read(3, norm=norm) == Read.at(3, norm=norm)


def test_a_layer_is_read_without_its_norm_unless_asked() -> None:
    assert Depth(4, False).read(3) == Read.at(3, norm=False)


def test_exits_are_read_once_by_stream_norm_and_layer() -> None:
    reads = [Read.at(4), Read.at(2, norm=True), Read.at(0, stream="amateur"), Read.at(2), Read.at(4)]
    reads.append(Read((Exit(1), Exit(3)), (0.5, 0.5)))
    own = (Exit(1), Exit(2), Exit(3), Exit(4), Exit(2, True))
    assert exits_of(reads) == (*own, Exit(0, False, "amateur"))


def test_single_exits_are_read_in_their_order_and_sums_after_them() -> None:
    pair = Read((Exit(0), Exit(1)), (1.5, -0.5))
    later = Read((Exit(1), Exit(4)), (0.5, 0.5))
    found = all_reads([[later, Read.at(4), pair], [Read.at(2), Read.at(4), pair]])
    assert found == (Read.at(2), Read.at(4), pair, later)
