"""StrategyQA: both rules of reading yes or no, retries, the released figures, the data and its faults."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola.errors import DataError, DolaError
from dola.tasks import strqa
from dola.tasks.fetch import Pinned
from dola.tasks.prompts import load_demonstrations
from dola.tasks.strqa import StrategyQA
from dola.tasks.strqa_answer import answer, released_answer, released_guess
from released_generation import before_stop, golden_runs, prompt_sha256

DATA = Path(__file__).parent / "data"
TASK = StrategyQA(load_demonstrations("strqa", DATA / "prompts"))
FILE = DATA / "strategyqa" / "strategyqa_train.json"
EXAMPLES = TASK.load(FILE).examples
NO, YES = EXAMPLES[0], EXAMPLES[1]

WORDS = st.sampled_from(
    ["know", "nothing", "note", "yesterday", "eyes", "cannot", "nobody", "north", "no-one"]
)


@given(st.lists(WORDS, max_size=12), st.sampled_from(["yes", "no", "Yes", "NO"]))
def test_a_word_with_the_letters_of_an_answer_in_it_is_none(words: list[str], said: str) -> None:
    text = " ".join(words)
    assert answer(text) is None
    assert answer(f"The answer is {text}") is None
    for written in (f"{text}. So the answer is {said}.", f"{text}. Thus, {said}.", f"{text}: {said}"):
        assert answer(written) is (said.lower() == "yes")


@given(st.text(max_size=200))
def test_the_released_rule_is_that_of_its_script(text: str) -> None:
    # Written from its description: the text after the first "answer is", up to the next full stop.
    lowered = text.lower()
    match = re.search(r"answer is(.*?)(?:answer is|\.|\Z)", lowered, re.DOTALL)
    said = match[1].strip() if match else None
    assert released_answer(text) == {"yes": True, "no": False}.get(said or "")
    assert released_guess(text) == (match is None and "no" not in lowered)


# What a completion says: (corrected, released where it is found, guessed where not).
READ = {
    "Ice is cold. So the answer is no.": (False, False, False),
    "Ice is cold. So the answer is No": (False, False, False),
    "So the answer is yes, it would.": (True, None, False),
    "So the answer is: yes.": (True, None, False),
    "So the answer is\nyes.": (True, True, False),
    "Thus, yes.": (True, None, True),
    "Thus, yes. I do not know more": (True, None, False),
    "I know. The end": (None, None, False),
    "I see. The end": (None, None, True),
    "Yes": (True, None, True),
    "No, since there is no frost, yes or no.": (False, None, False),
    '"No."': (False, None, False),
    "It would be no. Thus, **yes**": (True, None, False),
    "There is no frost": (None, None, False),
    "Yes or no: is it?": (None, None, False),
    "The answer is unknown. So the answer is yes.": (True, None, False),
    "The answer is yes. Is it? The answer is no.": (True, True, False),
    "The answer is not yes": (False, None, False),
    "": (None, None, True),
}


# What a completion says in another spelling, or does not say.
SPELT = {
    "So the answer is 'no'.": False,
    "So the answer is “yes”.": True,
    "So the answer is **No**.": False,
    "So the answer is _no_.": False,
    "So the answer is `yes`.": True,
    "So the answer is <b>no</b>.": False,
    "So the answer is $\\boxed{\\text{no}}$.": False,
    "\\boxed{yes}": True,
    "**Answer:** No.": False,
    "The answer would be no.": False,
    "The answer is no because it is cold.": False,
    "The answer is that it is not possible, so no.": False,
    "It does not snow, so the answer is no.": False,
    "A bat is not a bird so the answer is no.": False,
    "The answer is a definite yes": True,
    "So the answer is yes, not no.": True,
    "So the answer is not yes.": False,
    "So the answer is neither yes nor no.": None,
    "The answer is not necessarily no.": None,
    "The answer is not a simple yes.": None,
    "The answer can't be yes.": None,
    "The answer is yes and no.": None,
    "The answer is yes, but also no.": None,
    "The answer is yes? I think.": None,
    "The answer is either yes or no, so yes.": True,
    "I don't think the answer is yes.": None,
    "If the answer is yes, then it rains.": None,
    "It is unclear whether the answer is no.": None,
    "The answer is no doubt yes.": True,
    "The answer is yes, no doubt.": True,
    "The answer is no longer clear.": None,
    "The answer is no one knows.": None,
    "No one knows.": None,
    "Nobody would say yes.": None,
    "No. 1, so yes": True,
    "The answer is No. 1, so yes.": True,
    "No.\n\nQuestion: Is ice hot?\nAnswer: yes": False,
    "<think>The answer is yes.</think>No.": False,
}


@pytest.mark.parametrize("text", SPELT)
def test_yes_and_no_are_read_in_every_spelling_and_never_as_the_opposite(text: str) -> None:
    assert answer(text) is SPELT[text]


HOSTILE = ("yes ", "no ", "answer is ", "if the answer is ", "\\boxed{", "a.b", "_", "\n")


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_text_is_read_in_time_that_grows_as_it_does(part: str) -> None:
    # A reader that looked at each pair of places would take hours, and the suite's time-out end it.
    assert answer(part * (200_000 // len(part))) in (True, False, None)


@pytest.mark.parametrize("text", READ)
def test_the_two_rules_read(text: str) -> None:
    assert (answer(text), released_answer(text), released_guess(text)) == READ[text]


def test_a_text_without_an_answer_is_wrong_by_our_rule_and_guessed_by_the_released_one() -> None:
    for example, right in ((NO, 1.0), (YES, 0.0)):
        one = TASK.judge(example, "I know little.\n\nQ:", "I know little.\n\n")
        assert (one.answer, one.released, one.retry) == (None, False, True)
        assert one.measures == {"accuracy": 0.0, "accuracy_released": right}


def test_it_is_tried_again_where_the_released_rule_finds_no_answer() -> None:
    assert TASK.judge(YES, "Thus, yes.", "Thus, yes.").retry
    assert not TASK.judge(YES, "So the answer is yes.", "So the answer is yes.").retry


def test_the_completion_ends_before_the_stop_text() -> None:
    released = StrategyQA(TASK.demonstrations, extraction="released")
    raw = " So the answer is no.\n\nQ: More"
    text = before_stop(raw, TASK.stop)
    assert TASK.completion(raw, text) == "So the answer is no."
    assert released.completion(raw, text) == "So the answer is no.\n\nQ: More"
    assert released.completion(" no.\n\n##", " no.") == "no."


def test_the_output_is_the_released_one_by_the_rule_asked_for() -> None:
    raws = ["Thus, no.", "So the answer is yes.", "Who knows"]
    for extraction, answers, correct in (
        ("own", [False, True, None], [True, True, False]),
        ("released", [False, True, False], [True, True, True]),
    ):
        task = StrategyQA(TASK.demonstrations, extraction=extraction)
        ones = [task.judge(example, raw, raw) for example, raw in zip(EXAMPLES, raws, strict=True)]
        found = task.released_json(EXAMPLES, raws, ones)
        assert list(found) == ["is_correct", "model_answer", "model_completion", "full_input_text"]
        assert (found["model_answer"], found["is_correct"]) == (answers, correct)
        assert found["full_input_text"] == [task.prompt(example) for example in EXAMPLES]


def test_demonstrations_are_shuffled_by_seed_row_and_attempt_alone() -> None:
    plain = TASK.prompt(NO)
    one = StrategyQA(TASK.demonstrations, shuffle_seed=1)
    prompts = [one.prompt(NO, attempt=attempt) for attempt in range(8)]
    assert prompts == [one.prompt(NO, attempt=attempt) for attempt in range(8)]
    assert len(set(prompts)) > 1
    assert len({one.prompt(replace(NO, index=index)) for index in range(8)}) > 1
    assert prompts != [
        StrategyQA(TASK.demonstrations, shuffle_seed=2).prompt(NO, attempt=i) for i in range(8)
    ]
    for prompt in prompts:
        assert sorted(prompt.split("\n\n")) == sorted(plain.split("\n\n"))
        assert prompt.endswith(f"\n\nQ: {NO.question}\nA:")
    assert TASK.prompt(NO, attempt=3) == plain


def test_the_output_holds_the_prompt_that_the_answer_came_of() -> None:
    task = StrategyQA(TASK.demonstrations, shuffle_seed=1)
    ones = [task.judge(example, "", "") for example in EXAMPLES]
    found = task.released_json(EXAMPLES, ["", "", ""], ones, attempts=[1, 5, 2])
    assert found["full_input_text"] == [
        task.prompt(example, attempt=at) for example, at in zip(EXAMPLES, (0, 4, 1), strict=True)
    ]


def test_the_prompt_reasons_to_the_answer() -> None:
    answered = "Q: Is ice warmer than steam?\nA: Ice is frozen and steam is hot. So the answer is no.\n\n"
    assert TASK.prompt(NO).startswith(f"{answered}Q: Yes or no: Can a bat fly?\nA:")


def parts(folder: Path) -> tuple[Path, Path]:
    """The file as upstream has it: parted into two."""
    entries = json.loads(FILE.read_text(encoding="utf-8"))
    paths = folder / "train.json", folder / "dev.json"
    for path, part in zip(paths, (entries[:2], entries[2:]), strict=True):
        path.write_text(json.dumps(part), encoding="utf-8")
    return paths


def test_the_two_upstream_files_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts(tmp_path)
    data = TASK.load(tmp_path)
    assert data.examples == EXAMPLES
    assert data.source == "train.json + dev.json: 3 questions, not those of the paper"
    monkeypatch.setattr(strqa, "CONTENT_SHA256", strqa.content_sha256(EXAMPLES))
    assert {TASK.load(path).source for path in (tmp_path, FILE)} == {strqa.TITLE}
    before = data.sha256
    (tmp_path / "dev.json").write_text('[{"question": "Is it?", "answer": true}]', encoding="utf-8")
    assert TASK.load(tmp_path).sha256 != before


def test_without_a_path_both_pinned_files_are_taken_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path))
    folder = tmp_path / "data" / "strategyqa"
    folder.mkdir(parents=True)
    pins = tuple(
        Pinned(
            f"strategyqa/{path.name}", "", "", "", "", sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in parts(folder)
    )
    monkeypatch.setattr(strqa, "STRATEGYQA", pins)
    assert TASK.load().examples == EXAMPLES


def test_a_folder_without_the_file_is_refused_with_the_name_it_should_have(tmp_path: Path) -> None:
    parts(tmp_path)[1].unlink()
    with pytest.raises(DataError, match=r"expected strategyqa_train\.json in this folder"):
        TASK.load(tmp_path)
    with pytest.raises(DolaError, match="but one"):
        TASK.load(FILE, version="dev")


ENTRY = '{"qid": "0f", "question": "Is it?", "answer": true}'
GOOD = f"[{ENTRY},\n{ENTRY}]"
# name: (text, line, key, what the message must say)
MALFORMED = {
    "no question": (
        GOOD.replace('"question"', '"q"'),
        1,
        "question",
        "entry 1 of the list: there is no such",
    ),
    "empty question": (
        GOOD.replace("Is it?", " "),
        1,
        "question",
        "entry 1 of the list: the text is empty",
    ),
    "no answer": (GOOD.replace('"answer"', '"a"'), 1, "answer", "found the keys 'qid', 'question', 'a'"),
    "answer in quotes": (GOOD.replace("true", '"yes"'), 1, "answer", 'without quotes, found "yes"'),
    "answer is a number": (
        GOOD.replace("true", "1"),
        1,
        "answer",
        "true or false, without quotes, found 1",
    ),
    "no object": (GOOD.replace(f"\n{ENTRY}", "7"), 1, None, "entry 2 of the list: expected a JSON object"),
    "no list": (ENTRY, 1, None, "expected a JSON list of objects"),
    "empty list": ("[]", 1, None, "expected a JSON list of objects, found []"),
    "cut off": (GOOD[:-1] + ",\n", 3, None, "not JSON"),
    "a comma too few": (GOOD.replace(",\n", "\n"), 2, None, "not JSON"),
    "empty": (" \n", None, None, "empty"),
    "cp1252": (GOOD.replace(f"\n{ENTRY}", f"\n{ENTRY}\udce9"), 2, None, "0xE9"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    text, line, key, said = MALFORMED[case]
    path = tmp_path / "strategyqa_train.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        TASK.load(path)
    assert (caught.value.path, caught.value.line, caught.value.column) == (path, line, key)
    assert said in caught.value.message


def test_prompts_and_answers_are_those_of_the_released_script(shared: Path) -> None:
    task = StrategyQA(load_demonstrations("strqa", shared / "data" / "prompts"), extraction="released")
    data = task.load(shared / "data" / "strategyqa")
    assert (len(data.examples), data.source) == (2290, strqa.TITLE)
    for item, run in golden_runs(shared, "strqa"):
        example = data.examples[item["index"]]
        assert prompt_sha256(task.prompt(example)) == item["prompt_text_sha256"]
        text = before_stop(run["text"], task.stop)
        one = task.judge(example, run["text"], text)
        assert one.released == run["model_answer"]
        assert one.measures["accuracy_released"] == run["is_correct"]
        assert task.completion(run["text"], text) == run["script_completion"]


def test_a_completion_that_ends_as_the_demonstrations_do_is_read_alike_by_both_rules(shared: Path) -> None:
    demonstrations = load_demonstrations("strqa", shared / "data" / "prompts")
    for chain, said in zip(demonstrations.chains or (), demonstrations.answers, strict=True):
        completion = f" {chain} So the answer is {said}."
        assert answer(completion) == released_answer(completion) == (said == "yes")
