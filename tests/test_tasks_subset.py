"""Shards part the examples without loss, and the released defaults stand in one table."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola.errors import DolaError
from dola.tasks.presets import PRESETS
from dola.tasks.subset import Shard, subset


@given(st.integers(1, 3000), st.data())
def test_the_shards_together_hold_every_example_once_in_order(count: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(1, min(count, 50)))
    parts = [Shard(part, total).of(range(count)) for part in range(total)]
    assert [one for part in parts for one in part] == list(range(count))
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("shard_id", "total"), [(8, 8), (-1, 8), (0, 0)])
def test_a_shard_that_there_is_not_is_refused(shard_id: int, total: int) -> None:
    with pytest.raises(DolaError, match="shard"):
        Shard(shard_id, total)


def test_more_shards_than_examples_are_refused() -> None:
    with pytest.raises(DolaError, match="3 examples cannot be parted into 4"):
        Shard(0, 4).of("abc")


def test_debug_takes_ten_examples_before_or_after_the_shard_as_the_script_does() -> None:
    everything, second = range(100), Shard(1, 2)
    assert list(subset(everything, debug=True, shard=second, debug_before_shard=True)) == [5, 6, 7, 8, 9]
    assert list(subset(everything, debug=True, shard=second, debug_before_shard=False)) == list(range(50, 60))
    assert list(subset(everything, debug=True, shard=None, debug_before_shard=False)) == list(range(10))
    assert subset(everything, debug=False, shard=None, debug_before_shard=True) == everything


def test_the_defaults_are_the_released_ones() -> None:
    table = {
        task: (
            p.repetition_penalty_contrast,
            p.max_new_tokens,
            p.debug_before_shard,
        )
        for task, p in PRESETS.items()
    }
    assert table == {
        "tfqa-mc": (1.0, None, True),
        "factor": (1.0, None, False),
        "gsm8k": (1.2, 256, False),
        "strqa": (1.2, 256, False),
        "tfqa": (1.2, 50, True),
        "vicuna": (1.2, 1024, False),
    }
    assert {preset.repetition_penalty_vanilla for preset in PRESETS.values()} == {1.0}
    assert PRESETS["vicuna"].do_sample
    assert PRESETS["vicuna"].sampling.temperature == 0.7


def test_a_preset_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PRESETS["factor"].max_new_tokens = 5


def test_a_shards_output_is_named_as_released() -> None:
    output = Path("results/out.json")
    assert PRESETS["factor"].output_of_shard(output, None) == output
    assert PRESETS["factor"].output_of_shard(output, 3) == Path("results/out.json_3.json")
    assert PRESETS["tfqa"].output_of_shard(Path("out"), 0) == Path("out_0.jsonl")
