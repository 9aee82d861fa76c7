"""The Vicuna questions: both forms of the file, both ways to ask, the released answer file, refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dola.errors import DataError, DolaError
from dola.tasks.stops import STOPS
from dola.tasks.vicuna import Vicuna

FOLDER = Path(__file__).parent / "data" / "vicuna"
TASK = Vicuna("tiny")
EXAMPLES = TASK.load(FOLDER).examples


@dataclass(frozen=True)
class Shouted:
    """A conversation template."""

    def prompt(self, question: str) -> str:
        return f"### Human: {question.upper()}\n### Assistant:"


def test_both_forms_of_the_file_hold_the_same_questions() -> None:
    assert TASK.load(FOLDER, version="turns").examples == EXAMPLES
    assert TASK.load(FOLDER / "question.jsonl").examples == EXAMPLES  # a file says its form itself
    assert TASK.load(FOLDER).path.name == "table_question.jsonl"
    assert [(each.question_id, each.category) for each in EXAMPLES] == [(1, "writing"), (2, "fermi")]


def test_the_models_own_chat_template_is_given_what_the_user_says() -> None:
    assert TASK.chat
    assert TASK.prompt(EXAMPLES[0]) == "Write a poem about rain."
    assert TASK.stop == ()


def test_a_released_template_makes_the_whole_prompt_and_brings_its_stop_text() -> None:
    task = Vicuna("tiny", Shouted())
    assert not task.chat
    assert task.prompt(EXAMPLES[0]) == "### Human: WRITE A POEM ABOUT RAIN.\n### Assistant:"
    assert task.stop == STOPS["vicuna"]


def test_the_output_is_the_released_answer_file() -> None:
    raws = [" Rain falls.\n### Human:", "Two million."]
    texts = [" Rain falls.\n", "Two million."]
    task = Vicuna("tiny", Shouted())
    completions = [task.completion(raw, text) for raw, text in zip(raws, texts, strict=True)]
    judged = [task.judge(*each) for each in zip(EXAMPLES, raws, texts, strict=True)]
    assert [one.released for one in judged] == completions == ["Rain falls.", "Two million."]
    lines = task.released_json(EXAMPLES, completions, judged)
    assert [list(line) for line in lines] == [
        ["question_id", "text", "answer_id", "model_id", "metadata"]
    ] * 2
    assert [(line["question_id"], line["text"]) for line in lines] == [
        (1, "Rain falls."),
        (2, "Two million."),
    ]
    assert {line["model_id"] for line in lines} == {"tiny"}
    assert all(line["metadata"] == {} for line in lines)


def test_an_answer_has_the_same_id_whenever_it_is_written_and_no_other_has_it() -> None:
    judged = [TASK.judge(example, "Yes.", "Yes.") for example in EXAMPLES]
    ids = [
        line["answer_id"]
        for task in (TASK, Vicuna("other"))
        for completions in (["Yes.", "Yes."], ["No.", "No."])
        for line in task.released_json(EXAMPLES, completions, judged)
    ]
    assert len(set(ids)) == 8
    assert ids[:2] == [line["answer_id"] for line in TASK.released_json(EXAMPLES, ["Yes.", "Yes."], judged)]
    changed = [replace(example, index=7) for example in EXAMPLES]
    assert ids[:2] == [line["answer_id"] for line in TASK.released_json(changed, ["Yes.", "Yes."], judged)]


GOOD = {"question_id": 1, "text": "Why?", "category": "generic"}
# name: (what is changed in the line, None to leave a key out; the key and what the message must say)
MALFORMED = {
    "no id": ({"question_id": None}, "question_id", "no such key"),
    "id is true": ({"question_id": True}, "question_id", "a number or a text, found true"),
    "same id": ({"question_id": 1}, "question_id", "1 is on line 1 already"),
    "no question": ({"text": None}, "text", "neither 'text' nor 'turns'"),
    "empty question": ({"text": " "}, "text", "empty"),
    "empty category": ({"category": ""}, "category", "empty"),
    "two turns": ({"turns": ["Why?", "And then?"]}, "turns", "found 2 of them"),
    "no turn": ({"turns": []}, "turns", "found 0 of them"),
    "turn is no text": ({"turns": [3]}, "turns", "a list of one text"),
    "turns is a text": ({"turns": "Why?"}, "turns", "a list of one text"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    change, key, said = MALFORMED[case]
    spoilt = {
        name: value for name, value in (GOOD | {"question_id": 2} | change).items() if value is not None
    }
    path = tmp_path / "question.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{json.dumps(spoilt)}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        TASK.load(path)
    assert (caught.value.path, caught.value.line, caught.value.column) == (path, 2, key)
    assert said in caught.value.message


def test_a_folder_or_a_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table_question\.jsonl or question\.jsonl .* --question-file"):
        TASK.load(tmp_path)
    with pytest.raises(DolaError, match="text, turns"):
        TASK.load(FOLDER, version="paper")


def test_both_real_files_hold_the_same_eighty_questions(shared: Path) -> None:
    folder = shared / "data" / "vicuna"
    text, turns = TASK.load(folder), TASK.load(folder, version="turns")
    assert len(text.examples) == 80
    assert len({each.category for each in text.examples}) == 9
    assert text.examples == turns.examples
    assert (text.source, turns.source) == (
        "the Vicuna questions, the paper's file",
        "the Vicuna questions, FastChat's present file",
    )
