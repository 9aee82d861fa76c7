"""Compiled decoding: a graph that was traced with one head is never run with another.

The graphs are run as they were traced (backend `eager`): what is tested is when Dynamo traces anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import CompileConfig, PreTrainedModel

import dola
from dola import DoLa, DoLaStatic, Strategy
from tiny_models import tiny_model

PROMPT = torch.tensor([[5, 17, 42, 9, 5, 17]])
STRATEGIES = [DoLaStatic(1), DoLaStatic(2), DoLaStatic(2), DoLa((0, 1), alpha=0.5)]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    torch.set_num_threads(before)


def compiled(what: str) -> PreTrainedModel:
    model = tiny_model("llama", num_hidden_layers=3)
    if what == "forward":
        model.forward = torch.compile(model.forward, backend="eager")
    elif what == "blocks":
        for block in model.model.layers:
            block.compile(backend="eager")
    elif what != "decoding":
        {"model": model, "trunk": model.model, "head": model.lm_head}[what].compile(backend="eager")
    return model


def scores(model: PreTrainedModel, *, decoding: bool) -> Tensor:
    """Scores of three greedy steps `[3, V]`."""
    settings = {}
    if decoding:
        config = CompileConfig(fullgraph=False, mode=None, backend="eager")
        config._compile_all_devices = True
        settings = {"cache_implementation": "static", "compile_config": config}
    output = model.generate(
        PROMPT,
        attention_mask=torch.ones_like(PROMPT),
        max_new_tokens=3,
        do_sample=False,
        eos_token_id=95,
        pad_token_id=0,
        suppress_tokens=[95],
        output_scores=True,
        return_dict_in_generate=True,
        **settings,
    )
    return torch.cat(output.scores)


def with_strategy(model: PreTrainedModel, strategy: Strategy, *, decoding: bool) -> Tensor:
    with dola.attach(model, strategy):
        return scores(model, decoding=decoding)


@pytest.mark.parametrize("what", ["decoding", "forward", "model", "trunk", "blocks", "head"])
def test_compiled_code_notices_every_change_of_head(what: str) -> None:
    plain, model = tiny_model("llama", num_hidden_layers=3), compiled(what)
    decoding = what == "decoding"
    vanilla = scores(plain, decoding=False)
    torch.testing.assert_close(scores(model, decoding=decoding), vanilla, rtol=1e-4, atol=1e-4)
    for strategy in STRATEGIES:
        expected = with_strategy(plain, strategy, decoding=False)
        found = with_strategy(model, strategy, decoding=decoding)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(scores(model, decoding=decoding), vanilla, rtol=1e-4, atol=1e-4)
