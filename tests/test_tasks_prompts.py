"""Prompts are read as data from wherever they are, never executed, and joined as the released scripts do."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from dola.errors import DataError
from dola.tasks import prompts
from dola.tasks.prompts import few_shot_prompt, load_demonstrations
from dola.tasks.released_script import read_demonstrations
from dola.tasks.sources import PROMPT_SCRIPTS

FOLDER = Path(__file__).parent / "data" / "prompts"
HERE = Path("script.py")

# A script of our own in the shape of the released ones.
PLAIN = r"""
import a_package_that_nobody_has

raise SystemExit("this script was executed")

def create_demo_text():
    question, answer = [], []

    question.append("Is ice cold?")
    answer.append("Yes, ice is cold.")

    question.append("Who wrote "
                    "this test?")
    answer.append("I do " + "not know.")

    # Concatenate the examples
    demo_text = 'Answer truthfully, and say “I do not know” where you do not.' + '\n\n'
    for i in range(len(question)):
        demo_text += "Q: " + question[i] + "\nA: " + answer[i] + "\n\n"
    return demo_text
"""
REASONED = r"""
STOP = ["Q:", "\end{code}"]

def create_demo_text(n_shot=8, cot_flag=True, shuffle=False):
    question, chain, answer = [], [], []
    question.append(
        "Two cats meet three dogs. "
        "How many animals are there?")
    chain.append("2 + 3 = 5.")
    answer.append("5")

    index_list = list(range(len(question)))
    if shuffle:
        random.shuffle(index_list)

    demo_text = ""
    for i in index_list[:n_shot]:
        if cot_flag:
            demo_text += "Q: " + question[i] + "\nA: " + chain[i] + " " + TRIGGER + " " + answer[i] + ".\n\n"
        else:
            demo_text += "Question: " + question[i] + "\n\n"
    return demo_text
"""


def test_a_script_gives_what_its_prompt_file_gives() -> None:
    for name, script in (("tfqa", PLAIN), ("gsm8k", REASONED)):
        expected = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        assert read_demonstrations(script, HERE) == expected


def test_a_stray_backslash_in_a_script_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_demonstrations(REASONED, HERE)


def test_lists_written_in_one_go_are_read_too() -> None:
    script = (
        'def create_demo_text():\n    question = ["a", "b"]\n    answer = []\n    answer.extend(["c", "d"])\n'
    )
    assert read_demonstrations(script, HERE) == {"question": ["a", "b"], "answer": ["c", "d"]}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("def create_demo_text(:\n", "not a Python script"),
        ("def something_else(): ...\n", "create_demo_text"),
        ("def create_demo_text(): ...\n", "column 'question': expected a list of texts"),
        (
            "def create_demo_text():\n    question.extend(['a', 'b'])\n    answer.extend(['c', input()])\n",
            "2 in 'question', 1 in 'answer'",
        ),
    ],
)
def test_a_script_in_another_shape_is_refused(script: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tfqa_mc_eval.py"
    path.write_text(script, encoding="utf-8")
    with pytest.raises(DataError, match=r"tfqa_mc_eval\.py") as caught:
        load_demonstrations("tfqa", path)
    assert said in str(caught.value)


def test_a_folder_a_file_and_a_script_give_the_same_prompt(tmp_path: Path) -> None:
    script = tmp_path / "tfqa_mc_eval.py"
    script.write_text(PLAIN, encoding="utf-8")
    found = [load_demonstrations("tfqa", path) for path in (FOLDER, FOLDER / "tfqa.json", script, tmp_path)]
    assert len({each.sha256 for each in found}) == 1
    assert len({few_shot_prompt(each, "Why?") for each in found}) == 1


def test_the_digest_is_that_of_what_is_said() -> None:
    demonstrations = load_demonstrations("tfqa", FOLDER)
    assert replace(demonstrations, source="elsewhere").sha256 == demonstrations.sha256
    assert replace(demonstrations, instruction="Lie.").sha256 != demonstrations.sha256


def test_the_environment_names_the_folder_and_an_argument_comes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOLA_PROMPTS", str(FOLDER))
    assert load_demonstrations("tfqa").questions[0] == "Is ice cold?"
    other = tmp_path / "mine.json"
    other.write_text('{"question": ["Why?"], "answer": ["So."]}', encoding="utf-8")
    assert load_demonstrations("tfqa", other).questions == ("Why?",)


def test_without_either_they_are_read_out_of_the_fetched_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOLA_PROMPTS", raising=False)
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path))
    sha256 = hashlib.sha256(PLAIN.encode()).hexdigest()
    entry = replace(PROMPT_SCRIPTS["tfqa"], sha256=sha256)
    monkeypatch.setitem(prompts.PROMPT_SCRIPTS, "tfqa", entry)
    entry.path.parent.mkdir(parents=True)
    entry.path.write_bytes(PLAIN.encode())
    demonstrations = load_demonstrations("tfqa")
    assert demonstrations.sha256 == load_demonstrations("tfqa", FOLDER).sha256
    assert demonstrations.source == entry.url


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"question": ["Why?"],\n "answer": [}', "prompts.json:2: is not JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"question": ["Why?"]}', "column 'answer'"),
        (b'{"question": [], "answer": []}', "at least one"),
        (b'{"question": ["Why?"], "answer": [5]}', "column 'answer': expected a list of texts"),
        (b'{"question": ["Why?"], "answer": ["a", "b"]}', "1 in 'question', 2 in 'answer'"),
        (b'{"question": ["Why?"], "answer": ["a"], "instruction": 1}', "column 'instruction'"),
        (b'{"question": ["Caf\xe9"], "answer": ["a"]}', "not UTF-8"),
    ],
)
def test_a_malformed_prompt_file_is_refused_with_its_place(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_demonstrations("tfqa", path)
    assert said in str(caught.value)


def test_a_missing_prompt_file_is_refused_with_the_names_it_may_have(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"strqa\.json"):
        load_demonstrations("strqa", tmp_path / "nothing")
    with pytest.raises(DataError, match=r"expected strqa\.json .*strqa_eval\.py.* in this folder"):
        load_demonstrations("strqa", tmp_path)


def test_a_chain_of_reasoning_leads_to_its_answer() -> None:
    prompt = few_shot_prompt(load_demonstrations("gsm8k", FOLDER), "How many?", conclusion="The answer is")
    assert prompt == (
        "Q: Two cats meet three dogs. How many animals are there?\nA: 2 + 3 = 5. The answer is 5.\n\n"
        "Q: How many?\nA:"
    )


@pytest.mark.parametrize(
    ("name", "conclusion"), [("tfqa", ""), ("gsm8k", "The answer is"), ("strqa", "So the answer is")]
)
def test_the_prompt_is_the_golden_one_to_the_letter(name: str, conclusion: str, shared: Path) -> None:
    demonstrations = load_demonstrations(name, shared / "data" / "prompts")
    golden = json.loads((shared / "golden" / f"{name}.json").read_text(encoding="utf-8"))
    for item in golden["items"]:
        prompt = few_shot_prompt(demonstrations, item["question"], conclusion=conclusion)
        assert hashlib.sha256(prompt.encode()).hexdigest() == item["prompt_text_sha256"]
