"""A tree in one row: what each token sees, where it stands, and which models do as they are told."""

from __future__ import annotations

from functools import wraps
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dola.models import capabilities
from dola.models.capabilities import Capabilities
from dola.models.tree import Tree
from tiny_models import tiny_model


@st.composite
def trees(draw: st.DrawFn) -> list[int]:
    return [draw(st.integers(-1, place - 1)) for place in range(draw(st.integers(1, 20)))]


def branch(parents: list[int], place: int) -> set[int]:
    found = {place}
    while parents[place] >= 0:
        place = parents[place]
        found.add(place)
    return found


@given(trees(), st.integers(0, 5))
def test_a_token_sees_the_past_and_its_own_branch_and_stands_after_both(
    parents: list[int], past: int
) -> None:
    told = Tree(parents).arguments(past, dtype=torch.float32, device=torch.device("cpu"))
    assert told["attention_mask"].shape == (1, 1, len(parents), past + len(parents))
    for place in range(len(parents)):
        own = branch(parents, place)
        sees = set((told["attention_mask"][0, 0, place] == 0).nonzero().flatten().tolist())
        assert sees == set(range(past)) | {past + each for each in own}
        assert told["position_ids"][0, place] == past + len(own) - 1


def asked(model: Any) -> bool:
    capabilities._FOLLOWS_TREES.clear()
    return Capabilities.of(model).reads_trees


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", "opt", "falcon", "gemma3_text", "mixtral", "qwen3", "deepseek_v3", "gpt_oss"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_that_does_what_positions_and_mask_say_reads_trees(name: str, dtype: torch.dtype) -> None:
    assert asked(tiny_model(name).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["bloom", "mpt"])
def test_a_model_whose_attention_goes_by_columns_reads_none(name: str, dtype: torch.dtype) -> None:
    assert not asked(tiny_model(name).to(dtype))
    assert not asked(tiny_model("falcon", alibi=True).to(dtype))


def test_what_counts_columns_beyond_the_small_tree_is_known() -> None:
    assert not asked(tiny_model("gpt_neo", window_size=256))
    assert not asked(tiny_model("llama4_text"))


def test_a_memory_that_is_full_says_nothing_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    forward = model.model.forward

    @wraps(forward)
    def full(**arguments: Any) -> Any:
        if "attention_mask" in arguments:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(model.model, "forward", full)
        with pytest.raises(torch.OutOfMemoryError):
            asked(model)
    assert Capabilities.of(model).reads_trees


@pytest.mark.parametrize("told", ["position_ids", "attention_mask"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_that_does_not_listen_is_found_out(
    monkeypatch: pytest.MonkeyPatch, told: str, dtype: torch.dtype
) -> None:
    model = tiny_model("llama").to(dtype)
    forward = model.model.forward

    @wraps(forward)
    def deaf(**arguments: Any) -> Any:
        arguments.pop(told, None)
        return forward(**arguments)

    monkeypatch.setattr(model.model, "forward", deaf)
    assert not asked(model)


def test_a_model_that_refuses_the_mask_reads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    forward = model.model.forward

    @wraps(forward)
    def refusing(**arguments: Any) -> Any:
        if "attention_mask" in arguments:
            raise ValueError("a mask of two dimensions was expected")
        return forward(**arguments)

    monkeypatch.setattr(model.model, "forward", refusing)
    assert not asked(model)


def test_a_model_is_asked_once_and_again_when_it_attends_in_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("llama")
    capabilities._FOLLOWS_TREES.clear()
    times: list[object] = []
    monkeypatch.setattr(capabilities, "follows_trees", lambda *_: times.append(None) or True)
    for implementation in ("sdpa", "sdpa", "eager", "eager"):
        model.config._attn_implementation = implementation
        assert Capabilities.of(model).reads_trees
    assert len(times) == 2


def test_a_class_that_nobody_has_looked_at_is_not_asked() -> None:
    model = tiny_model("llama")
    model.__class__ = type("Unlisted", (type(model),), {"__module__": "elsewhere"})
    assert not asked(model)
