"""A model's folder is loaded as it was saved, or refused in one line: never random, never without end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import dola
from broken_folders import (
    WEIGHTS,
    Damage,
    both,
    cut,
    header,
    nested,
    other_tokens,
    save_gguf,
    save_whole,
    saved_with_torch,
    sharded,
    with_settings,
    with_tensors,
    without,
    without_tensor,
    written,
)
from dola.cli.main import dola as command_line
from tiny_language_model import byte_tokenizer, tiny_language_model
from tiny_models import tiny_model

Q = "model.layers.0.self_attn.q_proj.weight"
FIRST_SHARD, SECOND_SHARD = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    save_whole(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def load(folder: Path, told: list[str] | None = None) -> dola.LanguageModel:
    return dola.load(str(folder), device="cpu", progress=[].append if told is None else told.append)


def use(folder: Path) -> None:
    """Everything that a model is loaded for."""
    lm = load(folder)
    lm.generate(["ab", "abc"], dola.DoLa((0,)), max_new_tokens=2)
    lm.loglikelihood([("ab", ["cd"])], [dola.Vanilla()])
    lm.trace("abcd", dola.DoLa((0,)))
    lm.chat_prompt([{"role": "user", "content": "x"}])


LACKING: dict[str, tuple[Damage, str]] = {
    "head": (without_tensor("lm_head.weight"), "lacks lm_head.weight"),
    "embeddings": (without_tensor("model.embed_tokens.weight"), "lacks model.embed_tokens.weight"),
    "norm": (without_tensor("model.norm.weight"), "lacks model.norm.weight"),
    "one of a block": (without_tensor(Q), f"lacks {Q}"),
    "all": (with_tensors(lambda _: {}), "and 36 more"),
    "tied, embeddings and head": (
        both(
            with_tensors(lambda held: {k: v for k, v in held.items() if "layers" in k or "norm" in k}),
            with_settings(tie_word_embeddings=True),
        ),
        "lacks lm_head.weight, model.embed_tokens.weight",
    ),
    "rows": (
        with_tensors(lambda held: {**held, Q: held[Q][:3]}),
        r"q_proj.weight \(found \[3, 32\], expected",
    ),
    "turned": (
        with_tensors(lambda held: {**held, "lm_head.weight": held["lm_head.weight"].T.contiguous()}),
        r"another shape of lm_head.weight \(found \[32, 259\]",
    ),
    "a scalar": (with_tensors(lambda held: {**held, Q: held[Q].sum()}), r"\(found \[\], expected"),
    "whole numbers": (with_tensors(lambda held: {**held, Q: held[Q].to(torch.int8)}), f"whole numbers.* {Q}"),
    "truth values": (with_tensors(lambda held: {**held, Q: held[Q] > 0}), f"truth values.* {Q}"),
    "a block too many": (
        with_tensors(lambda held: {**held, **{k.replace(".3.", ".4."): v for k, v in held.items()}}),
        "leaves out, model.layers.4.",
    ),
    "fewer layers said": (with_settings(num_hidden_layers=3), "leaves out, model.layers.3."),
    "more layers said": (with_settings(num_hidden_layers=5), "lacks model.layers.4."),
    "a bias": (
        with_tensors(lambda held: {**held, Q.replace("weight", "bias"): torch.ones(32)}),
        "leaves out, .*q_proj.bias",
    ),
    "a norm of a block": (
        with_tensors(lambda held: {**held, "model.layers.0.self_attn.q_norm.weight": torch.ones(8)}),
        "leaves out, .*q_norm.weight",
    ),
    "biases said": (with_settings(attention_bias=True), "lacks .*k_proj.bias"),
    "another model type": (with_settings(model_type="qwen3", architectures=...), "lacks .*k_norm.weight"),
    "another family": (with_settings(model_type="gpt2", architectures=...), "lacks transformer.h.0"),
    "a larger vocabulary said": (with_settings(vocab_size=300), r"expected \[300, 32\]"),
    "shard is not there": (
        both(sharded(), without(SECOND_SHARD)),
        f"names {SECOND_SHARD}, which is not there",
    ),
    "tensor in no shard": (
        both(sharded(), lambda at: drop(at / FIRST_SHARD, "lm_head.weight")),
        "lacks lm_head.weight",
    ),
    "index without shards": (sharded(lambda index: {**index, "weight_map": {}}), "names no weights"),
    "index of a list": (sharded(lambda _: []), "is no index of weights"),
    "torch's own file, cut": (
        both(saved_with_torch(), cut("pytorch_model.bin", 0.5)),
        "no whole file of weights",
    ),
    "torch's own file, of no tensors": (saved_with_torch({"a": 1}), "lacks lm_head.weight"),
}


def drop(file: Path, name: str) -> None:
    held = load_file(file)
    save_file({key: value for key, value in held.items() if key != name}, file, {"format": "pt"})


@pytest.mark.parametrize("case", LACKING)
def test_weights_that_are_missing_misshapen_or_left_out_are_refused_by_name(folder: Path, case: str) -> None:
    damage, words = LACKING[case]
    damage(folder)
    with pytest.raises(dola.ModelError, match=words) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda key: "experts.1.w1" in key, "mlp.experts.gate_up_proj"),
        (lambda key: "experts.3." in key, "mlp.experts.down_proj"),
        (lambda key: "gate.weight" in key, "mlp.gate.weight"),
    ],
)
def test_weights_that_are_made_of_several_tensors_need_all_of_them(
    tmp_path: Path, damage: Any, words: str
) -> None:
    save_whole(tmp_path, "mixtral")
    with_tensors(lambda held: {k: v for k, v in held.items() if not ("layers.1" in k and damage(k))})(
        tmp_path
    )
    with pytest.raises(dola.ModelError, match=f"model.layers.1.{words}"):
        load(tmp_path)


@pytest.mark.parametrize(
    "tied", [without_tensor("lm_head.weight"), without_tensor("model.embed_tokens.weight")]
)
def test_one_of_two_tied_weights_is_enough(folder: Path, tied: Damage) -> None:
    both(tied, with_settings(tie_word_embeddings=True))(folder)
    model = load(folder).model
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_a_head_of_its_own_is_kept_where_the_configuration_says_that_it_is_tied(folder: Path) -> None:
    saved = load_file(folder / WEIGHTS)
    with_settings(tie_word_embeddings=True)(folder)
    model = load(folder).model
    assert torch.equal(model.lm_head.weight, saved["lm_head.weight"])
    assert torch.equal(model.get_input_embeddings().weight, saved["model.embed_tokens.weight"])


@pytest.mark.parametrize(
    "harmless",
    [
        lambda _: None,
        sharded(),
        saved_with_torch(),
        sharded(
            lambda index: {**index, "weight_map": {k: v for k, v in index["weight_map"].items() if k != Q}}
        ),
        with_tensors(lambda held: {**held, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
        without("generation_config.json"),
        without("tokenizer_config.json"),
        with_settings(pad_token_id=-1),
    ],
)
def test_what_says_the_same_model_is_the_same_model(whole: Path, folder: Path, harmless: Damage) -> None:
    harmless(folder)
    told: list[str] = []
    expected, found = load(whole).model.state_dict(), load(folder, told).model.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert told == [f"{folder}: weights in float32 on cpu, saved in float32"]


def test_blocks_that_predict_further_tokens_are_left_out_where_the_configuration_tells_of_them(
    folder: Path,
) -> None:
    with_tensors(lambda held: {**held, **{k.replace(".3.", ".4."): v for k, v in held.items()}})(folder)
    with_settings(num_nextn_predict_layers=1)(folder)
    told: list[str] = []
    load(folder, told)
    assert "not used of its weights: model.layers.4." in told[0]


def test_what_is_left_over_outside_the_model_is_told_in_one_line(folder: Path) -> None:
    with_tensors(lambda held: {**held, "vision_tower.weight": torch.ones(2)})(folder)
    told: list[str] = []
    load(folder, told)
    assert told[0] == f"{folder}: not used of its weights: vision_tower.weight"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_dtype_that_was_taken_is_told_with_that_which_was_saved(tmp_path: Path, dtype: str) -> None:
    save_whole(tmp_path, dtype=getattr(torch, dtype))
    told: list[str] = []
    assert load(tmp_path, told).model.dtype == torch.float32
    assert told == [f"{tmp_path}: weights in float32 on cpu, saved in {dtype}"]
    with_settings(dtype=...)(tmp_path)  # then the tensors tell
    load(tmp_path, told)
    assert told[1] == told[0]


BROKEN: dict[str, tuple[Damage, str]] = {
    **{
        f"{name} {what}": (written(name, content), words)
        for name in ("config.json", "generation_config.json", "tokenizer_config.json")
        for what, content, words in (
            ("empty", "", "cannot be read"),
            ("of other bytes", b"\xff\x00\x9c" * 50, "cannot be read"),
            ("a list", "[]", "a JSON list: expected an object"),
            ("null", "null", "expected an object"),
            ("nested without end", nested(100_000), "nested too deeply"),
        )
    },
    "config.json cut": (cut("config.json", 0.5), "config.json cannot be read"),
    "config.json a link to itself": (
        lambda at: ((at / "config.json").unlink(), (at / "config.json").symlink_to("config.json")),
        "not a file",
    ),
    "generation_config.json a folder": (
        lambda at: ((at / "generation_config.json").unlink(), (at / "generation_config.json").mkdir()),
        "not a file",
    ),
    "special_tokens_map.json a list": (written("special_tokens_map.json", "[]"), "expected an object"),
    "added_tokens.json a list": (written("added_tokens.json", "[]"), "expected an object"),
    "no configuration": (without("config.json"), "no config.json"),
    "no tokenizer": (without("tokenizer.json"), "cannot load the tokenizer"),
    **{
        f"tokenizer.json {what}": (written("tokenizer.json", content), "cannot load the tokenizer")
        for what, content in (("empty", ""), ("a list", "[]"), ("{}", "{}"), ("nested", nested(100_000)))
    },
    "tokenizer.json cut": (cut("tokenizer.json", 0.9), "cannot load the tokenizer"),
    "no weights": (without(WEIGHTS), "has no weights"),
    "weights empty": (written(WEIGHTS, b""), "no whole file"),
    "weights cut": (cut(WEIGHTS, 0.7), "cannot load .*no whole file"),
    "weights of text": (written(WEIGHTS, "version https://git-lfs.github.com/spec/v1\n"), "no whole file"),
    "a header of 2^60 bytes": (written(WEIGHTS, header(2**60)), "no whole file"),
    "a header of no tensor": (written(WEIGHTS, header(2)), "lacks lm_head.weight"),
    **{
        f"{key}={value}": (with_settings(**{key: value}), words)
        for key, value, words in (
            ("num_hidden_layers", 10**12, "num_hidden_layers = 1,000,000,000,000"),
            ("num_hidden_layers", 10**5, "describes a model of more than"),
            ("num_hidden_layers", 0, "leaves out, model.layers.0"),
            ("num_hidden_layers", -1, "leaves out, model.layers.0"),
            ("num_hidden_layers", "4", "expected int, got str"),
            ("num_hidden_layers", None, "expected int, got NoneType"),
            ("num_hidden_layers", float("nan"), "expected int, got float"),
            ("num_labels", 10**12, "num_labels = 1,000,000,000,000"),
            ("vocab_size", 10**12, "32,000,000,000,000 numbers or more"),
            ("vocab_size", 10**30, "cannot load"),
            ("vocab_size", 0, "cannot load"),
            ("hidden_size", 10**12, "numbers or more"),
            ("hidden_size", 0, r"expected \[259, 0\]"),
            ("hidden_size", [], "expected int, got list"),
            ("intermediate_size", 10**12, "numbers or more"),
            ("num_attention_heads", 3, "not a multiple"),
            ("num_attention_heads", 0, "cannot load"),
            ("num_key_value_heads", 0, "cannot load"),
            ("num_key_value_heads", 10**12, "numbers or more"),
            ("head_dim", 10**12, "numbers or more"),
            ("rope_parameters", {"rope_type": "nonsense"}, "KeyError 'nonsense'"),
            ("hidden_act", "nonsense", "KeyError 'nonsense'"),
            ("dtype", "float7", "has no attribute 'float7'"),
            ("model_type", "nonsense", "does not recognize this architecture"),
            ("model_type", "t5", "encoder-decoder"),
            ("model_type", "clip", "Unrecognized configuration class"),
            ("is_encoder_decoder", True, "encoder-decoder"),
            ("quantization_config", {"quant_method": "gptq", "bits": 4}, "requires optimum"),
            ("quantization_config", "nonsense", "cannot load"),
            ("transformers_weights", "../x.safetensors", "inside the model directory"),
            ("eos_token_id", "x", "eos_token_id"),
        )
    },
    "remote code that is not trusted": (
        with_settings(model_type="own", auto_map={"AutoConfig": "own.Own"}),
        "contains custom code",
    ),
    "no such end of sequence": (
        with_settings("generation_config.json", eos_token_id=10**9),
        "eos_token_id .* is 1000000000, and the model has 259 tokens",
    ),
    "generation settings that are none": (
        with_settings("generation_config.json", cache_implementation="nonsense"),
        "cache_implementation",
    ),
    "a special token that is a number": (with_settings("tokenizer_config.json", bos_token=5), "bos_token"),
    "an adapter beside": (written("adapter_config.json", "{}"), "holds an adapter"),
    "an adapter alone": (
        both(without("config.json"), written("adapter_config.json", "{}")),
        "holds an adapter",
    ),
    "a pickle that is a program": (saved_with_torch({"a": print}), "no whole file of weights"),
    "another model's tokenizer": (other_tokens(1000), "the tokenizer has none of the 259 tokens"),
    "a tokenizer with more tokens": (other_tokens(230), "the tokenizer is another model's"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(folder: Path, case: str) -> None:
    damage, words = BROKEN[case]
    damage(folder)
    with pytest.raises(dola.DolaError, match=words) as refused:
        use(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 900


TEMPLATES: dict[str, str] = {
    "syntax": "{% for",
    "raises": "{{ raise_exception('no') }}",
    "too long a range": "{% for i in range(10**12) %}x{% endfor %}",
    "no end": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "calls itself": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "division": "{{ 1 / 0 }}",
    "types": "{{ 'a' + 1 }}",
    "undefined": "{{ a.b.c }}",
    "no such message": "{{ messages[99].content }}",
    "no such filter": "{{ 'x'|nonsense }}",
    "another file": "{% include 'x' %}",
    "half a character": "{{ '\\ud800' }}",
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_chat_template_that_fails_or_does_not_end_is_refused_in_one_line(folder: Path, case: str) -> None:
    written("chat_template.jinja", TEMPLATES[case])(folder)
    lm = load(folder)
    with pytest.raises(dola.ModelError, match="the chat template of") as refused:
        lm.chat_prompt([{"role": "user", "content": "x"}])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("damage", "words", "options"),
    [
        (without_tensor(Q), f"lacks {Q}", ()),
        (cut(WEIGHTS, 0.5), "no whole file of weights", ()),
        (with_settings(num_hidden_layers=10**12), "no model has so many", ()),
        (written("chat_template.jinja", TEMPLATES["division"]), "division by zero", ("--chat",)),
        (other_tokens(230), "the tokenizer is another model's", ()),
    ],
)
def test_the_command_line_says_it_in_one_line_and_ends_with_2(
    folder: Path, damage: Damage, words: str, options: tuple[str, ...]
) -> None:
    damage(folder)
    command = ["generate", "ab", "--model-name", str(folder), "--device", "cpu", *options]
    result = CliRunner().invoke(command_line, command)
    assert result.exit_code == 2
    assert result.stderr.startswith("dola: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert not result.stdout


def test_the_command_line_says_which_dtype_was_taken(folder: Path) -> None:
    command = ["generate", "ab", "--model-name", str(folder), "--device", "cpu", "--max-new-tokens", "1"]
    result = CliRunner().invoke(command_line, command)
    assert result.exit_code == 0
    assert result.stderr == f"{folder}: weights in float32 on cpu, saved in float32\n"


def test_a_folder_named_like_a_hub_id_is_the_folder(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path / "owner" / "model")
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    assert dola.load("owner/model", device="cpu", progress=told.append).depth.num_layers == 4
    assert told == ["owner/model: weights in float32 on cpu, saved in float32"]


def test_the_depth_of_a_folder_is_read_again_once_it_is_mended(folder: Path) -> None:
    with_settings(num_hidden_layers=3)(folder)
    with pytest.raises(dola.ModelError, match="leaves out"):
        load(folder)
    with_settings(num_hidden_layers=4)(folder)
    assert load(folder).depth.num_layers == 4


@pytest.mark.parametrize("form", ["generate", "iter_generate", "loglikelihood", "trace", "continuation"])
def test_a_token_that_the_model_lacks_is_told_before_the_first_pass(form: str) -> None:
    lm = tiny_language_model()
    lm.model.register_forward_pre_hook(lambda *_: pytest.fail("a pass was begun"))
    lm.tokenizer.add_tokens(["<new>"])
    strategy = dola.DoLa((0,))
    uses = {
        "generate": lambda: lm.generate(["ab", "a<new>"], strategy),
        "iter_generate": lambda: lm.iter_generate(["ab", "a<new>"], strategy),
        "loglikelihood": lambda: lm.loglikelihood([("ab", ["c", "<new>"])], [strategy]),
        "trace": lambda: lm.trace("ab<new>", strategy),
        "continuation": lambda: lm.trace("ab", strategy, continuation=[5, -1]),
    }
    with pytest.raises(dola.ModelError, match="has embeddings for 259 tokens"):
        uses[form]()


def test_a_padding_token_that_the_model_lacks_is_not_used() -> None:
    expected = tiny_language_model()
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})  # as LLaMA's users do, without resizing the model
    found = dola.LanguageModel(expected.model, tokenizer)
    prompts = ["a", "The sun"]
    assert [row.token_ids for row in found.generate(prompts, max_new_tokens=3)] == [
        row.token_ids for row in expected.generate(prompts, max_new_tokens=3)
    ]


def test_building_that_is_bounded_leaves_no_hook_behind(folder: Path) -> None:
    with_settings(vocab_size=10**12)(folder)
    with pytest.raises(dola.ModelError):
        load(folder)
    torch.nn.Linear(2, 2, device="meta")
    from torch.nn.modules import module

    assert not module._global_parameter_registration_hooks
    assert not module._global_module_registration_hooks
    assert not module._global_buffer_registration_hooks


@pytest.mark.parametrize("model_type", ["gpt2", "gemma2", "gemma3", "mixtral", "mamba", "qwen3_next", "opt"])
def test_a_whole_checkpoint_of_any_architecture_is_loaded(tmp_path: Path, model_type: str) -> None:
    model = tiny_model(model_type)
    model.resize_token_embeddings(259)
    model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    found = load(tmp_path).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["model_type"] == model_type


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"without": ("blk.1.attn_q.weight",)}, "lacks model.layers.1.self_attn.q_proj.weight"),
        ({"without": ("output_norm.weight",)}, "lacks model.norm.weight"),
        ({"without": ("output.weight", "token_embd.weight")}, "lacks lm_head.weight, model.embed_tokens"),
        ({"cut": "blk.1.ffn_up.weight"}, r"up_proj.weight \(found \[63, 32\], expected"),
        ({"layers": 5}, "lacks model.layers.4."),
        ({"layers": 10**9}, "describes a model of more than"),
        ({"length": 0.9}, "cannot load"),
        ({"length": 0.00001}, "does not start"),
    ],
)
def test_a_gguf_file_that_is_not_whole_is_refused_by_the_weights_names(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    save_gguf(tmp_path / "model.gguf", **settings)
    with pytest.raises(dola.ModelError, match=words) as refused:
        load(tmp_path / "model.gguf")
    assert "\n" not in str(refused.value)


def test_a_whole_gguf_file_is_loaded_a_tied_one_too(tmp_path: Path) -> None:
    save_gguf(tmp_path / "model.gguf")
    expected = tiny_model("llama", vocab_size=259).get_input_embeddings().weight
    assert torch.equal(load(tmp_path / "model.gguf").model.get_input_embeddings().weight, expected)
    save_gguf(tmp_path / "tied.gguf", without=("output.weight",))
    assert torch.equal(load(tmp_path / "tied.gguf").model.lm_head.weight, expected)
