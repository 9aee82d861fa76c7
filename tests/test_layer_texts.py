"""Candidates and mature layer as they are written, and read again."""

from __future__ import annotations

from typing import Any

import pytest

from dola import LayerError
from dola.strategies.layers import candidates_from, candidates_text, checked_candidates, layer_numbers


@pytest.mark.parametrize(
    ("text", "named", "mature"),
    [
        ("low", "low", None),
        ("high,-1", "high", None),
        ("auto,20", "auto", 20),
        (" all , 7 ", "all", 7),
        ("0,2,4,30", (0, 2, 4), 30),
        ("2,-1", (2,), None),
        ("0,1", (0,), 1),
        ("0,2", (0,), 2),
    ],
)
def test_what_is_written_is_read(text: str, named: Any, mature: int | None) -> None:
    assert candidates_from(text) == (named, mature)
    written = candidates_text(named, mature)
    assert written == text.replace(" ", "").replace("high,-1", "high")
    assert candidates_from(written) == (named, mature)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low,20,21", "cannot read layers from 'low,20,21': after 'low', one mature layer"),
        ("low,20,21,22", "after 'low', one mature layer"),
        ("30", "'30': expected candidate layers before the mature one, as in '2,-1'"),
        ("lwo", "cannot read layers from 'lwo': .* or one of low, high, auto, all$"),
        ("low,x", "cannot read layers from 'x': expected numbers"),
        ("low,", "cannot read layers from ''"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_can(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        candidates_from(text)


def test_numbers_are_read_in_their_order() -> None:
    assert layer_numbers("4,0,-1") == (4, 0, -1)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (5, r"must be low, high, auto, all or a tuple of layer numbers, as in \(5,\); found 5$"),
        (5.0, r"as in \(2, 4\); found 5\.0$"),
        ((2, "4"), r"as in \(2, 4\); found \(2, '4'\)$"),
        ({2, 4}, r"as in \(2, 4\); found \{2, 4\}$"),
        ((True, 4), r"found \(True, 4\)$"),
        ("lwo", "unknown layer bucket 'lwo': expected one of low, high, auto, all$"),
    ],
    ids=str,
)
def test_what_are_no_candidates_is_refused_with_an_example(named: object, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        checked_candidates(named)


def test_candidates_are_kept_as_a_tuple() -> None:
    assert checked_candidates([2, 4]) == (2, 4)
    assert checked_candidates("auto") == "auto"
