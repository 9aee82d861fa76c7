"""The command line, on a tiny random model with a tokenizer made here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dola.cli.main import COMMANDS, dola

KEYS = ["prompt", "strategy", "text", "token_ids", "scores", "premature_layers", "finish_reason"]
KEYS += ["raw_text", "prompt_tokens"]
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}<assistant>"
)
WORDS = ("the a cat dog sat ran on mat fast slow red blue sky sea one two three four yes no").split()  # noqa: SIM905


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random Llama of 6 layers, a tokenizer of a few words, and a chat template."""
    return _saved(tmp_path_factory.mktemp("tiny"), TEMPLATE)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same without a chat template."""
    return _saved(tmp_path_factory.mktemp("base"), None)


def _saved(folder: Path, template: str | None) -> str:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "<pad>", "</s>", "<user>", "<system>", "<assistant>", *WORDS]
    plain = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(dola, arguments, input=stdin)


def generate(model: str, *arguments: str, stdin: str | bytes | None = None) -> Result:
    return run(
        "generate", "--model-name", model, "--max-new-tokens", "5", "--device", "cpu", *arguments, stdin=stdin
    )


def records(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def refusal(result: Result) -> str:
    """The one line on standard error of a run that ended with 2."""
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stderr.startswith("dola: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""
    return result.stderr


# Generating


def test_each_prompt_and_strategy_is_one_json_object_in_order(tiny):
    found = records(
        generate(tiny, "the cat", "a dog", "--json", "--compare", "--early-exit-layers", "0,2,4,6")
    )
    assert [(each["prompt"], each["strategy"]) for each in found] == [
        ("the cat", "-1"),
        ("the cat", "0,2,4,6"),
        ("a dog", "-1"),
        ("a dog", "0,2,4,6"),
    ]
    for each in found:
        assert list(each) == KEYS
        assert len(each["token_ids"]) == len(each["scores"]) == 5
        assert each["finish_reason"] == "length"
    assert found[0]["premature_layers"] is None
    assert set(found[1]["premature_layers"]) <= {0, 2, 4}


def test_what_is_streamed_is_what_json_holds(tiny):
    arguments = ("the cat", "--early-exit-layers", "high")
    text = records(generate(tiny, *arguments, "--json"))[0]["text"]
    assert generate(tiny, *arguments).stdout == text + "\n"


def test_the_batch_size_changes_no_token(tiny):
    prompts = ("the cat sat on the", "dog", "one two three")
    alone, batched = (
        records(generate(tiny, *prompts, "--json", "--batch-size", size)) for size in ("1", "3")
    )
    assert [each["token_ids"] for each in alone] == [each["token_ids"] for each in batched]


def test_flags_are_read_with_dashes_and_underscores(tiny):
    dashes = (
        "--relative-top",
        "0.7",
        "--repetition-penalty",
        "1.3",
        "--max-gpu-memory",
        "3",
        "--num-gpus",
        "1",
    )
    scores = [
        records(generate(tiny, "cat", "--json", *flags))[0]["scores"]
        for flags in (dashes, [flag.replace("-", "_").replace("__", "--") for flag in dashes])
    ]
    assert scores[0] == scores[1]


def test_a_setting_of_its_own_stands_above_the_flag(tiny):
    found = records(
        generate(
            tiny,
            *("cat", "--json", "--alpha", "0.2", "--divergence", "js"),
            *("--early-exit-layers", "low", "--early-exit-layers", "high:alpha=0.3"),
            *("--early-exit-layers", "2,6", "--early-exit-layers", "-1"),
            *("--early-exit-layers", "dola:2,6:alpha=0.3"),
        )
    )
    assert [each["strategy"] for each in found] == [
        "low:alpha=0.2,divergence=js",
        "high:alpha=0.3,divergence=js",
        "2,6:alpha=0.2",
        "-1",
        "dola:2,6:alpha=0.3,divergence=js",
    ]


def test_the_same_seed_draws_the_same_text(tiny):
    drawn = [
        records(
            generate(
                tiny,
                "cat",
                "--json",
                "--early-exit-layers",
                "-1",
                "--do_sample",
                "--temperature",
                "9",
                "--seed",
                seed,
            )
        )[0]
        for seed in ("1", "1", "2")
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0]["token_ids"] != drawn[2]["token_ids"]


def test_a_text_ends_before_the_stop_string(tiny):
    whole = records(generate(tiny, "cat", "--json"))[0]["text"].split()
    found = records(generate(tiny, "cat", "--json", "--stop", whole[2]))[0]
    assert whole[2] not in found["text"]
    assert found["finish_reason"] == "stop"


def test_the_chat_template_wraps_the_prompt_and_the_system_message(tiny):
    plain, chat, system = (
        records(generate(tiny, "cat", "--json", *flags))[0]
        for flags in ((), ("--chat",), ("--system", "one two"))
    )
    assert plain["prompt"] == chat["prompt"] == system["prompt"] == "cat"
    assert len({tuple(each["scores"]) for each in (plain, chat, system)}) == 3
    written_out = records(generate(tiny, "<system> one two <user> cat <assistant>", "--json"))[0]
    assert system["scores"] == written_out["scores"]


def test_headings_tell_prompts_and_strategies_apart(tiny):
    shown = generate(tiny, "the cat", "dog", "--early-exit-layers", "low", "--compare").stdout
    headings = [line for line in shown.splitlines() if line.startswith((">", "["))]
    assert headings == [
        *("> the cat", "[vanilla]", "> the cat", "[DoLa low]"),
        *("> dog", "[vanilla]", "> dog", "[DoLa low]"),
    ]


def test_explain_shows_for_each_token_the_layer_that_was_contrasted(tiny):
    arguments = ("the cat", "--early-exit-layers", "0,2,4,6")
    layers = records(generate(tiny, *arguments, "--json"))[0]["premature_layers"]
    shown = generate(tiny, *arguments, "--explain").stdout
    rows = shown.split("nats ", 1)[1].splitlines()[1:6]
    assert [int(row.split()[1]) for row in rows] == layers


@pytest.mark.parametrize(
    "flags", [("--early-exit-layers", "2,6"), ("--compare",), ("--early-exit-layers", "-1")]
)
def test_explain_has_a_word_for_every_strategy(tiny, flags):
    assert generate(tiny, "the cat", "--explain", *flags).exit_code == 0


# Prompts


def test_a_prompt_comes_from_an_argument_a_file_or_standard_input(tiny, tmp_path):
    (tmp_path / "prompt.txt").write_text("dog ran\n", encoding="utf-8")
    file = str(tmp_path / "prompt.txt")
    prompts = [
        [each["prompt"] for each in records(result)]
        for result in (
            generate(tiny, "--json", stdin="cat\nsat\n"),
            generate(tiny, "--json", "-", "--file", file, stdin="cat"),
            generate(tiny, "--json", "red", "--file", file),
            generate(tiny, "--json", "--lines", "--file", "-", stdin="cat\n\nsat on\r\n"),
            generate(tiny, "--json", stdin="\N{ZERO WIDTH NO-BREAK SPACE}cat".encode()),
        )
    ]
    assert prompts == [["cat\nsat"], ["cat", "dog ran"], ["red", "dog ran"], ["cat", "sat on"], ["cat"]]


# Wrong input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--early-exit-layers", "0,2,7"], "6 layers"),
        (["--early-exit-layers", "3"], "expected -1 or 6"),
        (["--early-exit-layers", "2,0,6"], "rising"),
        (["--early-exit-layers", "2,2,6"], "repeat"),
        (["--early-exit-layers", "2,6,6"], "mature"),
        (["--early-exit-layers", "lwo"], "did you mean 'low'"),
        (["--early-exit-layers", ""], "cannot read layers"),
        (["--early-exit-layers", "low:alpha=2"], "[0, 1]"),
        (["--alpha", "1.5"], "0.0<=x<=1.0"),
        (["--alpha", "nan"], "finite"),
        (["--divergence", "kl"], "'released', 'js'"),
        (["--max-new-tokens", "-3"], "x>=1"),
        (["--max-new-tokens", "60"], "holds 64"),
        (["--batch-size", "0"], "x>=1"),
        (["--temperature", "0.5"], "--do_sample"),
        (["--do_sample", "--temperature", "inf"], "finite"),
        (["--do_sample", "--top_p", "0"], "0.0<x<=1.0"),
        (["--num_beams", "0"], "x>=1"),
        (["--num_beams", "2", "--prompt-lookup-num-tokens", "3"], "--num_beams 1"),
        (["--stop", ""], "--stop is empty"),
        (["--do_sample", "--seed", str(2**32)], "4294967295"),
        (["--json", "--explain"], "--json"),
        (["--no-chat", "--system", "one"], "--no-chat"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--device", "mps:7"], "unknown device"),
        (["--num-gpus", "none"], "num_gpus must be"),
        (["--dtype", "half"], "'float32', 'bfloat16'"),
        (["--layers", "low"], "--layers"),
        (["--file", "no/such/file"], "no/such/file: no such file"),
        (["--file", "."], "found a folder"),
        (["--file", "x" * 300], "cannot be read"),
        (["--model-name", "x" * 300], "no such model"),
        (["--model-name", "~nobody-of-that-name/x"], "no such model"),
        (["  "], "argument 2: the prompt is empty"),
    ],
)
def test_wrong_input_is_one_line_and_2(tiny, arguments, said):
    assert said.lower() in refusal(generate(tiny, "cat sat on the mat", *arguments)).lower()


def test_a_gpu_that_is_not_there_is_said(tiny):
    import torch

    if torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    assert "no CUDA device" in refusal(generate(tiny, "cat", "--device", "cuda"))


def test_text_in_another_encoding_is_refused_with_its_line(tiny, tmp_path):
    file = tmp_path / "latin.txt"
    file.write_bytes(b"cat\nd\xf6g")
    assert f"{file}:2: expected UTF-8 text, found the byte 0xf6" in refusal(
        generate(tiny, "--file", str(file))
    )
    assert "standard input:1:" in refusal(generate(tiny, stdin=b"\xff"))


def test_a_prompt_that_is_empty_is_refused(tiny):
    assert "the prompt is empty" in refusal(generate(tiny, stdin=""))
    assert "every line is blank" in refusal(generate(tiny, "--lines", stdin=" \n\n"))


def test_layers_are_checked_before_weights_load(tiny, tmp_path):
    (tmp_path / "config.json").write_bytes(Path(tiny, "config.json").read_bytes())
    assert "6 layers" in refusal(generate(str(tmp_path), "cat", "--early-exit-layers", "0,9,12"))


def test_a_model_that_is_not_there_is_said(tmp_path):
    assert "did you mean 'smollm2'" in refusal(generate("smolm2", "cat"))
    assert "no such model" in refusal(generate(str(tmp_path / "gone"), "cat"))
    assert "config.json" in refusal(generate(str(tmp_path), "cat"))


def test_damaged_weights_are_said(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    assert "cannot load" in refusal(generate(str(tmp_path), "cat"))


def test_weights_that_are_no_numbers_are_named_in_one_line(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"].fill_(float("nan"))
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    for arguments in ([], ["--json"], ["--early-exit-layers", "low"]):
        said = refusal(generate(str(tmp_path), "cat", *arguments))
        assert "lm_head.weight itself holds NaN or infinity" in said


def test_a_template_without_a_system_role_is_said(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}cat"
    )
    assert "no system role" in refusal(generate(str(tmp_path), "cat", "--system", "one"))
    chat = run("chat", "--model-name", str(tmp_path), "--device", "cpu", "--system", "one", stdin="cat\n")
    assert "no system role" in refusal(chat)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_that_does_not_exist_names_the_help(command):
    assert f"(dola {command} --help" in refusal(run(command, "--nonsense"))


def test_a_command_that_does_not_exist_is_refused():
    assert "No such command 'generat'" in refusal(run("generat"))


# The session


def test_a_conversation_keeps_its_history_until_reset(tiny):
    said = run(
        *("chat", "--model-name", tiny, "--max-new-tokens", "5", "--device", "cpu"),
        *("--early-exit-layers", "0,2,4,6"),
        stdin="cat\ncat\n/reset\ncat\n/exit\nnever read\n",
    )
    assert said.exit_code == 0, said.stderr
    first, second, after = said.stdout.splitlines()
    assert first == after != second


def test_strategies_change_in_the_middle_of_a_conversation(tiny):
    lines = [
        "/layers -1",
        "/compare",
        "/layers 0,2,4,6",
        "/compare",
        "cat",
        "/layers 0,9",
        "/nonsense",
        "/layers",
    ]
    said = run(
        *("chat", "--model-name", tiny, "--max-new-tokens", "5", "--device", "cpu"),
        stdin="\n".join(lines),
    )
    assert said.exit_code == 0, said.stderr
    assert len(said.stdout.split("\n")) == 4  # two answers, and the line break of the end of input
    answering = [line for line in said.stderr.splitlines() if line.startswith("answering with")]
    assert answering[1] == "answering with vanilla"
    assert answering[3] == "answering with vanilla, DoLa 0,2,4,6"
    assert answering[-1] == "answering with vanilla, DoLa 0,2,4,6, in a model of 6 layers"
    assert "dola: layer" in said.stderr or "dola: mature layer" in said.stderr
    assert "no command /nonsense" in said.stderr


def test_a_conversation_longer_than_the_context_goes_on_after_a_reset(tiny):
    said = run(
        *("chat", "--model-name", tiny, "--max-new-tokens", "5", "--device", "cpu"),
        stdin=f"cat\n{'cat ' * 60}\n/reset\ncat\n",
    )
    assert said.exit_code == 0
    assert "holds 64" in said.stderr
    assert len(said.stdout.split("\n")) == 4


def test_a_base_model_is_not_talked_to(base):
    assert "no chat template" in refusal(run("chat", "--model-name", base, stdin="cat\n"))
    assert "no chat template" in refusal(generate(base, "cat", "--chat"))


# The demo


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_demo_fits_the_terminal_and_shows_every_layer_it_contrasted(monkeypatch, tiny, width):
    monkeypatch.setattr("dola.cli.demo.DEFAULT_MODEL", tiny)
    monkeypatch.setattr("dola.cli.demo.QUESTIONS", ("the cat sat", "dog ran"))
    monkeypatch.setattr("dola.cli.demo.MAX_NEW_TOKENS", 12)
    monkeypatch.setenv("COLUMNS", str(width))
    shown = run("demo")
    assert shown.exit_code == 0, shown.exception
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= max(width, 72)  # the commands to try next are never broken
    assert "\x1b" not in shown.stdout
    layers = [word for line in lines if line.startswith("│ layer") for word in line.strip("│ ").split()[1:]]
    assert len(layers) == 2 * 12
    assert set(layers) <= {"3", "5"}


# The embedded models


def test_models_are_listed_with_licence_size_and_place(monkeypatch, tmp_path):
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path))
    shown = run("models")
    assert shown.exit_code == 0
    for text in ("smollm2", "Apache-2.0", "not cached; 93 MB", str(tmp_path)):
        assert text in shown.stdout
    assert [each["state"] for each in records(run("models", "list", "--json"))] == ["absent", "absent"]


def test_removing_frees_what_is_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path))
    assert "was not in the cache" in run("models", "remove", "smollm2").stdout
    file = tmp_path / "models" / "smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(2_000_000))
    assert "damaged" in run("models").stdout
    assert "2 MB freed" in run("models", "remove", "smollm2").stdout
    assert not file.exists()


def test_an_alias_that_does_not_exist_is_refused_with_the_nearest(monkeypatch, tmp_path):
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path))
    for command in ("fetch", "remove"):
        assert "did you mean 'smollm2'" in refusal(run("models", command, "smolm"))


def test_a_cache_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path / "file"))
    assert "DOLA_CACHE names another folder" in refusal(run("models", "fetch", "smollm2"))


# Real processes


def process(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "dola", *arguments], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize(
    "code", ["import dola", "from dola.cli.main import main; sys.argv[1:] = ['--help']; main()"]
)
def test_nothing_loads_torch_before_it_is_needed(code):
    watched = (
        f"import atexit, os, sys; atexit.register(lambda: 'torch' in sys.modules and os._exit(9))\n{code}"
    )
    assert subprocess.run([sys.executable, "-c", watched], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_loads_no_torch(command):
    code = (
        "import atexit, os, sys; atexit.register(lambda: 'torch' in sys.modules and os._exit(9));"
        f"from dola.cli.main import main; sys.argv[1:] = [{command!r}, '--help']; main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0
    assert found.stdout.startswith(f"Usage: dola {command}")


def test_a_real_process_ends_with_2_and_no_traceback():
    found = process("generate", "cat", "--file", "no/such/file")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "dola: no/such/file: no such file: expected a text file with the prompt\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_full_disk_under_the_output_is_one_line():
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        found = subprocess.run(
            [sys.executable, "-m", "dola", "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert "no room left" in found.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes and signals")
def test_a_reader_that_leaves_is_not_worth_a_word(tiny):
    code = f"'{sys.executable}' -m dola generate cat dog --model-name '{tiny}' --device cpu | true"
    found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("", "")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes and signals")
def test_an_interrupted_command_ends_with_130(tiny):
    with subprocess.Popen(
        [sys.executable, "-m", "dola", "generate", "--model-name", tiny, "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        time.sleep(3.0)  # until it reads its standard input, which stays open
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "Traceback" not in said


def test_a_fault_of_ours_keeps_its_traceback_and_ends_with_1():
    code = (
        "import sys, dola.cli.models as m\n"
        "def broken(**_): raise KeyError('ours')\n"
        "m._show = broken\n"
        "from dola.cli.main import main; sys.argv[1:] = ['models']; main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "Traceback" in found.stderr
    assert "KeyError: 'ours'" in found.stderr


def test_the_divergences_offered_are_those_that_exist():
    from dola.cli.generate import generate as command
    from dola.contrast import DIVERGENCES

    option = next(each for each in command.params if each.name == "divergence")
    assert list(option.type.choices) == list(DIVERGENCES)
