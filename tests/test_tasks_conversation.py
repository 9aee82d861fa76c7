"""The released conversation templates: read out of a script of its shape (made up here), and filled."""

from __future__ import annotations

import hashlib
import os
import runpy
from pathlib import Path

import pytest

from dola.errors import DataError
from dola.tasks.conversation import (
    Conversation,
    conversation_for,
    read_conversation,
    template_name,
)
from dola.tasks.sources import CONVERSATION_SCRIPT

SCRIPT = """
import dataclasses
raise SystemExit("nothing here may run")

conv_one_shot = Conversation(
    system="A talk. " "It is short.",
    roles=("Human", "Assistant"),
    messages=(("Human", "Hi?"), ("Assistant", "Hello.")),
    offset=2,
    sep_style=SeparatorStyle.SINGLE,
    sep="###",
)
conv_v = Conversation(system="Polite.", roles=("USER", "ASSISTANT"), messages=(), offset=0,
                      sep_style=SeparatorStyle.TWO, sep=" ", sep2="</s>")
conv_d = Conversation(system="Do it.\\n\\n", roles=("### Instruction", "### Response"), messages=(), offset=0,
                      sep_style=SeparatorStyle.DOLLY, sep="\\n\\n", sep2="### End")
conv_templates = {"conv_one_shot": conv_one_shot, "vicuna_v1.1": conv_v, "dolly": conv_d}
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DOLA_PROMPTS", raising=False)
    path = tmp_path / "conversation.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("vicuna-7b", "vicuna_v1.1"),
        ("Vicuna-7B-koala", "vicuna_v1.1"),
        ("my/OUTPUT/step-3", "vicuna_v1.1"),
        ("Koala-13b", "koala_v1"),
        ("dolly-v2", "dolly"),
        ("gar-1", "gar"),
        ("garland", "gar"),
        ("llama-7b", "conv_one_shot"),
        ("", "conv_one_shot"),
    ],
)
def test_the_template_is_chosen_by_substrings_in_the_released_order(model_id: str, name: str) -> None:
    assert template_name(model_id) == name


@pytest.mark.parametrize(
    ("model_id", "prompt"),
    [
        ("llama", "A talk. It is short.### Human: Hi?### Assistant: Hello.### Human: Why?### Assistant:"),
        ("vicuna", "Polite. USER: Why? ASSISTANT:"),
        ("dolly", "Do it.\n\n### Instruction:\nWhy?\n\n### Response:\n"),
    ],
)
def test_a_question_is_joined_in_the_template_s_style(script: Path, model_id: str, prompt: str) -> None:
    assert conversation_for(model_id, script).prompt("Why?") == prompt
    assert conversation_for(model_id, script.parent).prompt("Why?") == prompt


def test_turns_before_the_question_end_with_the_second_separator() -> None:
    before = (("Q", "Hi?"), ("A", "Hello."))
    two = Conversation("t", "S.", ("Q", "A"), before, "TWO", " ", "</s>")
    dolly = Conversation("t", "S.", ("Q", "A"), before, "DOLLY", "\n\n", "### End")
    assert two.prompt("Why?") == "S. Q: Hi? A: Hello.</s>Q: Why? A:"
    assert dolly.prompt("Why?") == "S.Q:\nHi?\n\nA:\nHello.### End\n\nQ:\nWhy?\n\nA:\n"


def test_the_environment_names_a_folder(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLA_PROMPTS", str(script.parent))
    assert conversation_for("vicuna").source == str(script)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def broken(:", "not a Python script"),
        ("x = 1", "with a template 'conv_one_shot'; there is none"),
        (SCRIPT.replace("SeparatorStyle.SINGLE", "SeparatorStyle.OTHER"), "not written as"),
        (
            SCRIPT.replace('"A talk. " "It is short."', "open('secret').read()"),
            "not written as",
        ),
        (
            SCRIPT.replace('roles=("Human", "Assistant")', 'roles=("Human",)'),
            "not written as",
        ),
    ],
)
def test_another_file_is_refused_and_never_executed(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_conversation(text, "conv_one_shot", path=tmp_path / "c.py")


def test_a_folder_without_the_script_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"conversation\.py.*no such file"):
        conversation_for("vicuna", tmp_path)


@pytest.mark.skipif("DOLA_CONVERSATION" not in os.environ, reason="DOLA_CONVERSATION names the released file")
def test_the_released_file_is_the_pinned_one_and_is_filled_as_it_fills_itself() -> None:
    """Runs the released file, which only a person who names it asks for."""
    path = Path(os.environ["DOLA_CONVERSATION"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CONVERSATION_SCRIPT.sha256
    released = runpy.run_path(str(path), run_name="released")
    for model_id in ("vicuna-7b", "koala", "dolly", "gar", "output/x", "llama"):
        theirs = released["get_default_conv_template"](model_id).copy()
        theirs.append_message(theirs.roles[0], "Why?")
        theirs.append_message(theirs.roles[1], None)
        assert conversation_for(model_id, path).prompt("Why?") == theirs.get_prompt()
