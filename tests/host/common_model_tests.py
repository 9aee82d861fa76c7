"""The host's own tests of its models, each plain and then with Vanilla attached to every model that it makes.

`make host` runs them; not collected by `make test`, for they are fetched.
"""

import unittest
from collections.abc import Mapping
from typing import Any, Literal

import pytest
import torch
from born_attached import born_attached
from common_tests import common, training
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)

# Which of the host's tests pass plain and are meant to fail attached, and why.
EXCEPTED: Mapping[str, str] = {}


class Tiny:
    """What the host's tests ask for a tiny configuration and inputs for it, by these names."""

    batch_size, seq_length, is_training = 3, 7, True
    vocab_size, hidden_size, num_hidden_layers, num_attention_heads = 99, 32, 2, 4

    def __init__(self, kind: type[PreTrainedConfig], settings: Mapping[str, Any]) -> None:
        self._kind = kind
        self._settings = settings

    def get_config(self) -> PreTrainedConfig:
        return self._kind(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=2,
            intermediate_size=37,
            max_position_embeddings=512,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            **self._settings,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
        ids = common.ids_tensor([self.batch_size, self.seq_length], self.vocab_size)
        return self.get_config(), {"input_ids": ids, "attention_mask": torch.ones_like(ids).tril()}


def _tests_of(model: type[PreTrainedModel], config: type[PreTrainedConfig], **settings: Any) -> type:
    """The host's class of tests for one of its models."""

    def set_up(self: unittest.TestCase) -> None:
        self.model_tester = Tiny(config, settings)

    mixins = (common.ModelTesterMixin, common.GenerationTesterMixin, training.TrainingTesterMixin)
    own = {"setUp": set_up, "all_model_classes": (model,)}
    return type(f"{model.__name__}Test", (*mixins, unittest.TestCase), own)


# A plain head; one tied to the embeddings, whose logits are capped; one with a bias.
TESTS = {
    "llama": _tests_of(LlamaForCausalLM, LlamaConfig, head_dim=8),
    "gemma2": _tests_of(Gemma2ForCausalLM, Gemma2Config, head_dim=8, final_logit_softcapping=5.0),
    "phi": _tests_of(PhiForCausalLM, PhiConfig, partial_rotary_factor=0.5),
}
CASES = [
    pytest.param(
        architecture,
        name,
        id=f"{architecture}-{name}",
        marks=pytest.mark.xfail(strict=True, reason=EXCEPTED[name]) if name in EXCEPTED else (),
    )
    for architecture, tests in TESTS.items()
    for name in unittest.TestLoader().getTestCaseNames(tests)
]


def _outcome(tests: type, name: str) -> tuple[Literal["passed", "skipped", "failed"], str]:
    """How a test of the host's ends, and what it says."""
    set_seed(0)
    common.global_rng.seed(0)
    result = unittest.TestResult()
    tests(name).run(result)
    wrong = result.failures + result.errors
    if wrong:
        return "failed", wrong[0][1]
    return ("skipped", result.skipped[0][1]) if result.skipped else ("passed", "")


@pytest.mark.parametrize(("architecture", "name"), CASES)
def test_what_passes_plain_passes_attached(architecture: str, name: str) -> None:
    tests = TESTS[architecture]
    plain, said = _outcome(tests, name)
    if plain == "skipped":
        pytest.skip(f"the host skips it: {said}")
    if plain == "failed":
        pytest.xfail(f"fails without an attachment too: {said}")
    with born_attached(tests.all_model_classes[0]) as models:
        attached, said = _outcome(tests, name)
    if attached != "passed":
        pytest.fail(f"passes plain, and with Vanilla attached it {attached}:\n{said}", pytrace=False)
    if not models["attached"]:
        pytest.skip("makes no model that anything is attached to")
