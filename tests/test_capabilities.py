"""What is said of each architecture, in one table; that it is true, the tests of each way of working show."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from dola.models import capabilities
from dola.models.capabilities import Capabilities
from tiny_models import TINY, tiny_model


class Answers(NamedTuple):
    tested: bool = True
    pads: bool = True
    shares_prefixes: bool = True
    shares_prefixes_of_rows: bool = True
    reads_trees: bool = True
    rotates_by_length: bool = False
    context: int | None = 128


TRANSFORMER = Answers()
# Its cache is its own: a recurrent state, or (GPT-1) none at all.
STATE = Answers(shares_prefixes=False, shares_prefixes_of_rows=False, reads_trees=False)
BY_COLUMNS = Answers(reads_trees=False)
BY_LENGTH = STATE._replace(pads=False, rotates_by_length=True)
UNTESTED = Answers(tested=False, pads=False, shares_prefixes_of_rows=False, reads_trees=False)

SPECIAL = {
    "bamba": STATE,
    "bloom": BY_COLUMNS._replace(context=None),
    "falcon_h1": STATE,
    "falcon_mamba": STATE._replace(context=None),
    "gpt_neo": BY_COLUMNS,
    "granitemoehybrid": STATE,
    "jamba": STATE,
    "lfm2": STATE,
    "lfm2_moe": STATE,
    "llama4_text": BY_COLUMNS,
    "mamba": STATE._replace(context=None),
    "mamba2": STATE._replace(context=None),
    "minimax": STATE,
    "mpt": BY_COLUMNS._replace(context=None),
    "nemotron_h": STATE,
    "olmo_hybrid": STATE,
    "openai-gpt": STATE,
    "qwen3_5_moe_text": STATE,
    "qwen3_5_text": STATE,
    "qwen3_next": STATE,
    "recurrent_gemma": STATE._replace(pads=False, context=None),
}

LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 32,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "factor": 4.0,
}
DYNAMIC_ROPE = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def answers(model: Any) -> Answers:
    capabilities._FOLLOWS_TREES.clear()
    found = Capabilities.of(model)
    return Answers(*(getattr(found, name) for name in Answers._fields))


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_architecture_is_said_to_do_what_it_does(name: str) -> None:
    assert answers(tiny_model(name)) == SPECIAL.get(name, TRANSFORMER)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("llama", {"rope_parameters": LONG_ROPE}, BY_LENGTH),
        ("phi3", {"rope_parameters": LONG_ROPE}, BY_LENGTH),
        ("llama", {"rope_parameters": DYNAMIC_ROPE}, BY_LENGTH),
        ("llama", {"rope_parameters": PLAIN_ROPE}, TRANSFORMER),
        # One a kind of layer, of which one is enough.
        (
            "gemma3_text",
            {"rope_parameters": {"full_attention": DYNAMIC_ROPE, "sliding_attention": PLAIN_ROPE}},
            BY_LENGTH,
        ),
        ("falcon", {"alibi": True, "new_decoder_architecture": False}, BY_COLUMNS),
        ("gpt_neo", {"window_size": 256}, BY_COLUMNS),
        ("mistral", {"sliding_window": 24}, TRANSFORMER),
        ("llama", {"max_position_embeddings": 48}, TRANSFORMER._replace(context=48)),
    ],
)
def test_settings_change_what_an_architecture_can(
    name: str, settings: dict[str, Any], expected: Answers
) -> None:
    assert answers(tiny_model(name, **settings)) == expected


def test_of_a_class_that_nobody_has_looked_at_only_what_its_cache_shows_is_assumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("llama")
    monkeypatch.setattr(type(model), "__module__", "elsewhere")
    assert answers(model) == UNTESTED


def test_of_a_model_that_cannot_be_taken_apart_the_least_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    assert answers(model) == UNTESTED._replace(shares_prefixes=False)


@pytest.mark.parametrize(("elsewhere", "times"), [(False, 0), (True, 1)])
def test_only_a_picture_that_no_test_has_shown_right_is_probed(
    elsewhere: bool,  # noqa: FBT001
    times: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("llama")
    if elsewhere:
        monkeypatch.setattr(type(model), "__module__", "elsewhere")
    probed: list[object] = []
    monkeypatch.setattr(capabilities, "probe", lambda *parts: probed.append(parts))
    Capabilities.of(model).ensure_pictured()
    assert len(probed) == times
