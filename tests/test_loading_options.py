"""What people pass to `from_pretrained` they pass to `dola.load`: where from, where to, how, with what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import dola
from broken_folders import save_whole
from dola.models import loading
from dola.models.source import Hub, ModelSource

TOLD: dict[str, Any] = {"max_new_tokens": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "model"
    folder.mkdir()
    save_whole(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    targets = ["q_proj", "down_proj"]
    config = LoraConfig(r=4, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    saved = tmp_path_factory.mktemp("adapter")
    get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), config).save_pretrained(
        saved
    )
    return saved


def test_a_device_a_dtype_and_a_path_may_be_pythons_own(folder: Path) -> None:
    lm = dola.load(folder, device=torch.device("cpu"), dtype=torch.bfloat16)
    assert lm.model.dtype is torch.bfloat16
    assert lm.name == str(folder)


def test_a_way_to_attend_and_a_device_map_are_the_hosts(folder: Path) -> None:
    lm = dola.load(str(folder), attn_implementation="eager", device_map={"": "cpu"})
    assert lm.model.config._attn_implementation == "eager"
    expected = dola.load(str(folder), device="cpu").generate("ab", "low", **TOLD)
    assert lm.generate("ab", "low", **TOLD)[0].token_ids == expected[0].token_ids
    with pytest.raises(dola.ModelError, match="device_map says where the weights go"):
        dola.load(str(folder), device_map="auto", device="cpu")
    with pytest.raises(dola.ModelError, match="no_such_way"):
        dola.load(str(folder), device="cpu", attn_implementation="no_such_way")


def test_a_model_with_an_adapter_is_the_two_merged(folder: Path, adapter: Path) -> None:
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = dola.load(merged, tokenizer=tokenizer)
    plain = dola.load(str(folder), device="cpu")
    for given in (adapter, str(adapter)):
        lm = dola.load(str(folder), device="cpu", adapter=given)
        assert not lm.model.training
        for strategy in ("-1", "low", "0,1,-1"):
            (found,), (other,) = (each.generate("ab", strategy, **TOLD) for each in (lm, expected))
            assert found.token_ids == other.token_ids
            assert found.scores == pytest.approx(other.scores, abs=1e-4)
        assert lm.generate("ab", **TOLD)[0].scores != plain.generate("ab", **TOLD)[0].scores
        lm.model.disable_adapters()
        assert lm.generate("ab", "low", **TOLD) == plain.generate("ab", "low", **TOLD)
        lm.model.enable_adapters()


def test_an_adapter_that_does_not_fit_is_refused_by_its_weights(
    folder: Path, adapter: Path, tmp_path: Path
) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    first = next(iter(weights))
    settings = (adapter / "adapter_config.json").read_text()

    def refused(kept: dict[str, torch.Tensor], words: str) -> None:
        (tmp_path / "adapter_config.json").write_text(settings)
        save_file(kept, tmp_path / "adapter_model.safetensors")
        with pytest.raises(dola.ModelError, match=words):
            dola.load(str(folder), device="cpu", adapter=tmp_path)

    refused({name: value for name, value in weights.items() if name != first}, "the adapter .* lacks")
    refused(
        weights | {"base_model.model.x.weight": torch.ones(2)}, "the adapter .* has, and the model does not"
    )
    refused({name: value[:1].contiguous() for name, value in weights.items()}, "in another shape")
    for given in (tmp_path / "none", folder):
        with pytest.raises(dola.ModelError, match="cannot put the adapter"):
            dola.load(str(folder), device="cpu", adapter=given)
    with pytest.raises(dola.ModelError, match=r"as in dola.load.base, adapter="):
        dola.load(str(adapter))


def test_a_loaded_model_needs_its_tokenizer(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = dola.load(str(folder), device="cpu").generate("ab", "low", **TOLD)
    assert dola.load(model, tokenizer=tokenizer).generate("ab", "low", **TOLD) == expected
    wrapped = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    assert dola.load(wrapped.eval(), tokenizer=tokenizer).generate("ab", "low", **TOLD) == expected
    with pytest.raises(dola.ModelError, match="comes without its tokenizer"):
        dola.load(model)
    with pytest.raises(dola.ModelError, match="expected a model's name or a transformers model, found int"):
        dola.load(7)
    with pytest.raises(dola.ModelError, match="found Linear"):
        dola.load(torch.nn.Linear(2, 2), tokenizer=tokenizer)


def test_a_subfolder_is_loaded_from(folder: Path) -> None:
    assert dola.load(str(folder.parent), subfolder="model", device="cpu").depth.num_layers
    with pytest.raises(dola.ModelError, match=r"no config\.json"):
        dola.load(str(folder.parent), device="cpu")
    with pytest.raises(dola.ModelError, match="no such model file or folder"):
        dola.load(str(folder), subfolder="none", device="cpu")


def test_a_revision_of_what_is_not_on_the_hub_is_refused(folder: Path) -> None:
    with pytest.raises(dola.ModelError, match="is not on the hub, and has no revision 'main'"):
        dola.load(str(folder), revision="main")


@pytest.mark.parametrize("name", ["", " "])
def test_no_name_is_no_model(name: str) -> None:
    with pytest.raises(dola.ModelError, match="no model name"):
        dola.load(name)


def test_what_is_asked_of_the_hub_is_asked_of_every_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Asked(Exception):
        """Enough is known."""

    def noted(*args: Any, **named: Any) -> Any:
        asked.append(named)
        raise Asked

    hub = Hub(revision="v2", token="secret", subfolder="inner")
    wanted = {"revision": "v2", "token": "secret", "subfolder": "inner"}
    source = loading.find_source("someone/something", progress=print, hub=hub)
    assert source == ModelSource("someone/something", "someone/something", hub=hub)
    assert "secret" not in repr(source)
    monkeypatch.setattr(loading.PretrainedConfig, "get_config_dict", noted)
    with pytest.raises(dola.ModelError):
        loading.load_depth(source)
    monkeypatch.setattr(loading.PretrainedConfig, "get_config_dict", lambda *_, **__: ({}, {}))
    config = json.loads((folder / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = loading.AutoConfig.for_model(**config)
    monkeypatch.setattr(loading.AutoConfig, "from_pretrained", lambda **named: asked.append(named) or made)
    monkeypatch.setattr(
        loading.AutoTokenizer, "from_pretrained", lambda **named: asked.append(named) or tokenizer
    )
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", noted)
    with pytest.raises(dola.ModelError, match="cannot load 'someone/something'") as refused:
        dola.load(
            "someone/something", revision="v2", token="secret", subfolder="inner", quantization_config=3
        )
    assert "secret" not in str(refused.value)
    assert all(wanted.items() <= each.items() for each in asked)
    assert len(asked) >= 4
    assert asked[-1]["quantization_config"] == 3
