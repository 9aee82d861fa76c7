"""Errors say where, and reach the process that asked, whichever process met them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from dola.errors import DataError, DolaError, LayerError, MissingExtraError

ERRORS = [
    LayerError("layer 40 of a model with 30"),
    DataError("expected a question, found nothing", path=Path("q.csv"), line=7, column="Question"),
    MissingExtraError("dola serve", "serve"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_between_processes(error: DolaError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"path": "q.csv", "line": 7, "column": "Question"}, "q.csv:7: column 'Question': empty"),
        ({"path": "q.csv"}, "q.csv: empty"),
        ({}, "empty"),
    ],
)
def test_a_data_error_names_the_place_as_far_as_it_is_known(
    place: dict[str, str | int], expected: str
) -> None:
    assert str(DataError("empty", **place)) == expected


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    assert "pip install 'dola[serve]'" in str(MissingExtraError("dola serve", "serve"))
