"""GSM8K: both rules of reading a number, the released figures, the data's versions and their faults."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola.errors import DataError, DolaError
from dola.tasks import gsm8k
from dola.tasks.base import Judged
from dola.tasks.gsm8k import VALIDATION_SIZE, Gsm8k, sampled_rows
from dola.tasks.gsm8k_answer import answer, released_answer, released_gold
from dola.tasks.numbers import numbers_in, plain
from dola.tasks.prompts import load_demonstrations
from released_generation import before_stop, golden_runs, prompt_sha256

DATA = Path(__file__).parent / "data"
TASK = Gsm8k(load_demonstrations("gsm8k", DATA / "prompts"))
FILE = DATA / "gsm8k" / "gsm8k_test.jsonl"
EXAMPLES = TASK.load(FILE).examples

VALUES = st.decimals(-(10**12), 10**12, places=2)


def forms(value: Decimal) -> list[str]:
    """The ways to write a number that people use."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    return [
        f"{value}",
        f"{sign}{size:,}",
        f"{sign}${size:,}",
        f"${sign}{size}",
        f"{value}%",
        f"{value} eggs",
        f"**{value}**",
        f"{sign.replace('-', '−')}€{size:,}",
        f"{value}0",
    ]


@given(VALUES, st.data())
def test_a_number_is_read_however_it_is_written(value: Decimal, data: st.DataObject) -> None:
    written = data.draw(st.sampled_from(forms(value)))
    before = data.draw(st.sampled_from(["", "She had 12 - 3. ", "So 2 + 2 = 4.\n"]))
    after = data.draw(st.sampled_from([".", "", ".\n\nA: There are 7.", ". The answer is 99.", "\n100"]))
    assert answer(f"{before}The answer is {written}{after}") == plain(value)
    assert answer(f"{before}It comes to {written}") == plain(value)


@given(VALUES)
def test_two_forms_of_one_value_are_one_answer(value: Decimal) -> None:
    assert len({answer(form) for form in forms(value)}) == 1
    assert Decimal(plain(value)) == value


@given(st.text(max_size=200))
def test_any_text_at_all_has_an_answer_or_none(text: str) -> None:
    for found in (answer(text), answer(f"The answer is {text}")):
        assert found is None or Decimal(found).is_finite()
    for number in numbers_in(text):
        assert any(character.isdigit() for character in text[number.start : number.end])


# What a completion says: (corrected, released).
READ = {
    "The answer is 18.": ("18", "18"),
    "The answer is 18.0.": ("18", "18.0"),
    "The answer is $1,000.00": ("1000", "1000.00"),
    "The answer is -$5.": ("-5", "5"),
    "The answer is .5": ("0.5", "5"),
    "The answer is 1 1/2.": ("1.5", "1"),
    "The answer is 25%.": ("25", "25"),
    "The answer is 2 x 2 = 4 bolts.": ("4", "2"),
    "The answer is 16-3-4 = 9 eggs.": ("9", "16"),
    "The answer is 2 * (3 + 4) = 14.": ("14", "2"),
    "The answer is 5 apples + 3 apples = 8 apples.": ("8", "5"),
    "The answer is 18, since 9 * 2 = 18 and 3 + 1 = 4.": ("18", "18"),
    "The answer is 7 = 3 + 4.": ("7", "7"),
    "The answer is 20.\n\nQuestion: 3?\nThe answer is 30.": ("20", "20"),
    "The answer is not 5. The answer is 6.": ("6", "5"),
    "The answer is unclear. She has 5, so the answer is 6.": ("6", "5"),
    "The answer is:\n\n**18**\n20": ("18", "18"),
    "The final answer is 7, of 100.": ("7", "100"),
    "So 5 + 3 = 8. The answer is": ("8", None),
    "First 3, then 23-15": ("15", "-15"),
    "Then 12,345,678.50 it is": ("12345678.5", "12345678.50"),
    "1, 2, 3": ("3", "3"),
    "#### 42": ("42", "42"),
    "Divided by 5/0": ("0", "0"),
    "Nobody knows": (None, None),
    "": (None, None),
}


@pytest.mark.parametrize("text", READ)
def test_the_two_rules_read(text: str) -> None:
    assert (answer(text), released_answer(text)) == READ[text]


# One value in the spellings of models, papers and countries.
SPELT = {
    "The answer is 9\\,500.": "9500",
    "The answer is 9{,}500{,}000": "9500000",
    "9,\\!500": "9500",
    "The answer is 9'500.": "9500",
    "The answer is 9 500.": "9500",
    "The answer is 1\xa0000\xa0000.": "1000000",
    "$\\frac{36}{2} = 18$": "18",
    "The answer is $\\frac{36}{2}$.": "18",
    "\\dfrac{36}{2}": "18",
    "\\frac12": "0.5",
    "1\\frac{1}{2}": "1.5",
    "The answer is $1\\frac{1}{2}$ cups.": "1.5",
    "<<9*2=18>>18": "18",
    "The answer is 9*2=<<9*2=18>>18.": "18",
    "9 * 2 = <<9*2=18>>": "18",
    "\\boxed{}": None,
    "She used 3. \\boxed{18}": "18",
    "\\boxed{2 \\times 9 = 18} in 3 steps": "18",
    "\\boxed{\\text{18 dollars}}": "18",
    "\\boxed{\\$18}": "18",
    "$\\boxed{18\\%}$ of 3": "18",
    "The answer is the total of 3 days: \\boxed{18}.": "18",
    "The answer is ½.": "0.5",
    "The answer is 1½ cups.": "1.5",
    "The answer is 3/4.": "0.75",
    "The answer is 3⁄4.": "0.75",
    "The answer is 1 and 1/2.": "1.5",
    "The answer is 2 and a half.": "2.5",
    "The answer is two and a half hours.": "2.5",
    "The answer is three quarters.": "0.75",
    "The answer is 18%.": "18",
    "The answer is 18 percent": "18",
    "The answer is 18\\%.": "18",
    "The answer is $18.": "18",
    "The answer is 18$.": "18",
    "The answer is 18 €": "18",
    "The answer is US$18.": "18",
    "The answer is USD 18.": "18",
    "The answer is -US$5": "-5",
    "The answer is $-5": "-5",
    "The answer is −€5": "-5",
    "The answer is –5.": "-5",
    "The answer is minus 5.": "-5",
    "The answer is minus $5.": "-5",
    "The answer is negative five": "-5",
    "The answer is 10 minus 5 = 5.": "5",
    "The answer is 10 - 15 = -5.": "-5",
    "The answer is $-5$.": "-5",
    "It is 10 minus 5": "5",
    "The answer is - 5.": "-5",
    "10 - 15 = - 5": "-5",
    "The answer is:\n- 5 apples": "5",
    "The answer is 9 - 5 = 4.": "4",
    "The answer is eighteen.": "18",
    "The answer is Twenty-Five apples.": "25",
    "The answer is one hundred and five.": "105",
    "The answer is two thousand five hundred.": "2500",
    "The answer is that one child gets 5.": "5",
    "The answer is eighteen, since 9*2=18 and 3.": "18",
    "No one knows.": None,
    "He has eighteen.": "18",
    "The answer is a hundred.": "100",
    "The answer is zero.": "0",
    "The answer is 18 m^2.": "18",
    "The area is 18 m^2.": "18",
    "So 18 cm2": "18",
    "So 18\\text{ m}^2": "18",
    "The answer is 18 km/h.": "18",
    "#### 18 dollars and more text": "18",
    "#### 18\nThat took 3 steps.": "18",
    "3+15=18 #### 18\n\n#### 7": "18",
    "#### $18": "18",
    "####18": "18",
    "#### 1. Find 5\nThe answer is 7.": "7",
    "#### Step 1\nshe has 4. So 18.": "18",
    "She has 5 + 3 = 8 eggs.\n\nQuestion: Tom has 3. How many?\nAnswer: 3+4=7": "8",
    "5 + 3 = 8 eggs. Q: Tom has 7": "8",
    "Question: 3 apples?\nAnswer: 18": "18",
    "Answer: Tom has 3 and 4 so 7": "7",
    "Final Answer: 18 dollars": "18",
    "**Answer:** 18": "18",
    "**Final answer**: $18$ (see step 3)": "18",
    "Answer: 3+4=7\nThat is 9": "7",
    "The answer is x = 18.": "18",
    "The answer is\n\\[\n18\n\\]\nafter 3 steps": "18",
    "The answer is:\n\n$$18$$\n3": "18",
    "The answer is **18**, 3": "18",
    "The answer is *18*. 3": "18",
    "The answer is `18`. 3": "18",
    "The answer is __18__. 3": "18",
    "The answer is <b>18</b>. 3": "18",
    "The answer to 2+3 is 5. Then 9": "5",
    "The final answer, after 3 steps, is 18.": "18",
    "The answer would be 18. 3": "18",
    "The answer isn't 5 but 6": "6",
    "<think>The answer is 5.</think>The answer is 18.": "18",
    "The answer is 2 \\cdot 9 = 18.": "18",
    "The answer is 5 times 3 is 15.": "15",
    "The answer is 36 divided by 2, which is 18.": "18",
    "The answer is 5 + 3.": "5",
    "The answer is 1.8 \\times 10^1.": "18",
    "The answer is 18.": "18",
    "The answer is 1,00,000.": "100000",
    "The answer is 5 million.": "5",
    "The answer is\n1. Add 5\nThe answer is 7": "7",
    "The answer is Rs. 500. 3": "500",
    "The answer is approx. 18": "18",
    'The answer is "18". 3': "18",
    "The answer is (18). 3": "18",
    "The answer is $18$ dollars. 3": "18",
    "The answer is $ 1,050.00. 3": "1050",
    "The answer is \\text{18}. 3": "18",
    "The answer is $-\\frac{1}{2}$": "-0.5",
    "So \\(2 + 3 = 5\\).": "5",
    "The answer is ten dollars and 50 cents": "10",
    "the answer is one": "1",
    "$9{,}500 \\times 2 = 19{,}000$": "19000",
    "The answer is: $\\$9{,}500$": "9500",
    "The answer is \\$ 18": "18",
}


@pytest.mark.parametrize("text", SPELT)
def test_a_number_is_read_in_every_spelling(text: str) -> None:
    assert answer(text) == SPELT[text]


HOSTILE = (
    "the answer is ", "Answer: ", "#### one x ", "Q: ", "\nQuestion:", "\\boxed{", "\\boxed{a} ", "\\frac{",
    "1+",
    "1,", ",111", ",11", "1 ", " 111", "1/", "1e", "a^", "**a", "*a", "<<1", "<b ", "minus ", "-", "one ",
    "two and a ", "one hundred and ", "USD", "$", "{", "_", "#", "\n",
)  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_text_is_read_in_time_that_grows_as_it_does(part: str) -> None:
    # A reader that looked at each pair of places would take hours, and the suite's time-out end it.
    found = answer("The answer is 1" + part * (30_000 // len(part)))
    assert found is None or Decimal(found).is_finite()


@given(
    st.lists(st.sampled_from([*HOSTILE, "18", " = ", ".", "half", "\\times ", "}", "9{,}500"]), max_size=30)
)
def test_any_spelling_at_all_has_one_finite_answer_or_none(parts: list[str]) -> None:
    found = answer("".join(parts))
    assert found == answer("".join(parts))
    assert found is None or Decimal(found).is_finite()


def test_a_model_stuck_on_one_digit_is_read_too() -> None:
    digits = "1" * 6000
    assert answer(f"The answer is {digits}.50.") == f"{digits}.5"


def judged(number: int, raw: str, text: str | None = None) -> Judged:
    return TASK.judge(EXAMPLES[number], raw, raw if text is None else text)


@pytest.mark.parametrize(
    ("raw", "own", "released"),
    [
        ("The answer is 1050.", 1, 1),
        ("The answer is 1,050.0", 1, 0),
        ("The answer is 105.", 0, 0),
        ("", 0, 0),
    ],
)
def test_values_are_compared_by_our_rule_and_texts_by_the_released_one(
    raw: str, own: int, released: int
) -> None:
    assert judged(2, raw).measures == {"accuracy": own, "accuracy_released": released}


def test_what_comes_with_the_stop_text_counts_by_the_released_rule_alone() -> None:
    one = judged(0, "There are 9 left.\n\nQ: 7", "There are 9 left.\n\n")
    assert (one.answer, one.released) == ("9", "7")
    assert one.measures == {"accuracy": 1.0, "accuracy_released": 0.0}
    assert not one.retry


def test_the_output_is_the_released_one_by_the_rule_asked_for() -> None:
    raws = ["9 eggs. The answer is 9.0.\n\nQ:", "Who knows\n\nQ:", " The answer is 1050.\n\nQ:"]
    texts = [raw.removesuffix("Q:") for raw in raws]
    released = Gsm8k(TASK.demonstrations, extraction="released")
    for task, answers, correct in (
        (TASK, ["9", "[invalid]", "1050"], [True, False, True]),
        (released, ["9.0", "[invalid]", "1050"], [False, False, True]),
    ):
        completions = [task.completion(raw, text) for raw, text in zip(raws, texts, strict=True)]
        ones = [task.judge(*each) for each in zip(EXAMPLES, raws, texts, strict=True)]
        found = task.released_json(EXAMPLES, completions, ones)
        assert list(found) == ["is_correct", "model_answer", "model_completion", "full_input_text"]
        assert (found["model_answer"], found["is_correct"]) == (answers, correct)
        assert found["model_completion"] == (raws if task is released else [text.strip() for text in texts])
        assert found["full_input_text"] == [task.prompt(example) for example in EXAMPLES]


def test_the_prompt_ends_where_the_answer_is_to_start() -> None:
    prompt = TASK.prompt(EXAMPLES[0])
    assert prompt.startswith(
        "Q: Two cats meet three dogs. How many animals are there?\nA: 2 + 3 = 5. The answer is 5.\n\n"
    )
    assert prompt.endswith(f"\n\nQ: {EXAMPLES[0].question}\nA:")


def test_shuffled_demonstrations_are_those_that_the_output_shows() -> None:
    three = load_demonstrations("strqa", DATA / "prompts")
    task = Gsm8k(three, shuffle_seed=1)
    prompts = [task.prompt(EXAMPLES[0], attempt=attempt) for attempt in range(8)]
    assert len(set(prompts)) > 1
    assert len({task.prompt(replace(EXAMPLES[0], index=index)) for index in range(8)}) > 1
    assert {tuple(sorted(prompt.split("\n\n"))) for prompt in prompts} == {
        tuple(sorted(Gsm8k(three).prompt(EXAMPLES[0]).split("\n\n")))
    }
    ones = [task.judge(example, "", "") for example in EXAMPLES]
    found = task.released_json(EXAMPLES, ["", "", ""], ones, attempts=[1, 5, 2])
    assert found["full_input_text"] == [
        task.prompt(example, attempt=at) for example, at in zip(EXAMPLES, (0, 4, 1), strict=True)
    ]


def test_a_row_is_known_by_its_place_in_the_file() -> None:
    data = TASK.load(FILE)
    assert [example.index for example in data.examples] == [0, 1, 2]
    assert [plain(example.value) for example in data.examples] == ["9", "-3", "1050"]
    assert data.source == "gsm8k_test.jsonl: 3 rows, none of the pinned files"
    assert TASK.describe(data.examples[2])["reference"] == "1050"


def test_a_folder_holds_the_file_of_each_version(tmp_path: Path) -> None:
    content = FILE.read_bytes()
    (tmp_path / "gsm8k_test.jsonl").write_bytes(content)
    assert len(TASK.load(tmp_path).examples) == 3
    with pytest.raises(DataError, match=r"gsm8k_train\.jsonl or train\.jsonl"):
        TASK.load(tmp_path, version="validation")
    (tmp_path / "train.jsonl").write_bytes(content)
    assert len(TASK.load(tmp_path, version="train").examples) == 3
    with pytest.raises(DolaError, match="test, train, validation"):
        TASK.load(tmp_path, version="dev")


def test_the_validation_sample_keeps_rows_order_and_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gsm8k, "VALIDATION_SIZE", 4)
    path = tmp_path / "train.jsonl"
    path.write_text("".join(line(f"How many are {i}?", f"#### {i}") for i in range(9)), encoding="utf-8")
    everything = TASK.load(path, version="train").examples
    sample = TASK.load(path, version="validation")
    assert len(sample.examples) == 4
    assert set(sample.examples) < set(everything)
    assert list(sample.examples) == sorted(sample.examples, key=lambda example: example.index)
    assert "4 rows drawn with seed 42, not the paper's own" in sample.source
    assert TASK.load(FILE, version="validation").examples == EXAMPLES  # no more rows than the sample


def test_the_validation_sample_is_the_same_for_everybody() -> None:
    rows = sampled_rows(7473)
    assert (len(rows), len(set(rows))) == (VALIDATION_SIZE, VALIDATION_SIZE)
    assert rows[:5] == [1, 7, 9, 12, 19]


def line(question: Any, solution: Any) -> str:
    return json.dumps({"question": question, "answer": solution}, ensure_ascii=False) + "\n"


GOOD = line("How many?", "Three.\n#### 3")
# name: (bytes, line, key, what the message must say)
MALFORMED = {
    "no question": ('{"answer": "#### 3"}\n', 2, "question", "no such key"),
    "empty question": (line("  ", "#### 3"), 2, "question", "empty"),
    "question is no text": (line(3, "#### 3"), 2, "question", "expected a text, found 3"),
    "no number sign": (line("How many?", "Three: 3"), 2, "answer", "'#### '"),
    "no number": (line("How many?", "#### three"), 2, "answer", "and a number alone"),
    "more than a number": (line("How many?", "#### 2 steps"), 2, "answer", "found '2 steps'"),
    "a currency": (line("How many?", "#### $18"), 2, "answer", "and a number alone"),
    "text below the number": (line("How many?", "#### 18\nThat is all."), 2, "answer", "and a number alone"),
    "two numbers": (line("How many?", "#### 18\n#### 19"), 2, "answer", "and a number alone"),
    "thousands cut wrongly": (line("How many?", "#### 1,00"), 2, "answer", "and a number alone"),
    "a key twice": ('{"question": "How?", "answer": "#### 3", "answer": "#### 4"}\n', 2, None, "twice"),
    "no JSON number": ('{"question": NaN, "answer": "#### 3"}\n', 2, None, "NaN"),
    "a number of 5,000 digits": (f'{{"question": {"1" * 5000}}}\n', 2, None, "4,300"),
    "half a character": ('{"question": "\\ud83d", "answer": "#### 3"}\n', 2, "question", "ud83d"),
    "a NUL": ('{"question": "\\u0000", "answer": "#### 3"}\n', 2, "question", "NUL"),
    "two points": (line("How many?", "#### 1.2.3"), 2, "answer", "and a number alone"),
    "not JSON": ('{"question": "How\n', 2, None, "not JSON"),
    "a list": ("[1, 2]\n", 2, None, "expected a JSON object, found [1, 2]"),
    "cp1252": (line("How many caf\udce9s?", "#### 3"), 2, None, "0xE9"),
    "nested": ("[" * 100_000, 2, None, "nested too deep"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    content, at, key, said = MALFORMED[case]
    error = refusal(tmp_path, (GOOD + content + GOOD).encode(errors="surrogateescape"))
    assert (error.line, error.column) == (at, key)
    assert said in error.message


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"\xef\xbb\xbf\n", "empty"), (GOOD.encode("utf-16"), "UTF-16")]
)
def test_a_file_with_nothing_to_read_in_it_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, content).message


@pytest.mark.parametrize(
    ("gold", "value"), [("3/4", "0.75"), ("1 1/2", "1.5"), ("-1,050.5", "-1050.5"), ("18.", "18")]
)
def test_the_gold_is_read_whole_by_our_rule_and_as_released_by_the_other(
    gold: str, value: str, tmp_path: Path
) -> None:
    path = tmp_path / "gsm8k_test.jsonl"
    path.write_text(line("How many?", f"Steps.\n#### {gold}"), encoding="utf-8")
    (example,) = TASK.load(path).examples
    assert plain(example.value) == value
    assert TASK.judge(example, f"The answer is {gold}", f"The answer is {gold}").measures["accuracy"] == 1
    assert released_gold("#### 3/4") == "3"


def test_a_byte_order_mark_windows_line_ends_and_a_megabyte_in_a_text_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k_test.jsonl"
    rows = line("How many? " * 100_000, "#### 3") + line("How many?", "#### 4")
    path.write_bytes(b"\xef\xbb\xbf" + rows.replace("\n", "\r\n").encode())
    assert [plain(example.value) for example in TASK.load(path).examples] == ["3", "4"]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file: expected a file of JSON lines"):
        TASK.load(tmp_path / "missing.jsonl")


def refusal(tmp_path: Path, content: bytes) -> DataError:
    path = tmp_path / "gsm8k_test.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        TASK.load(path)
    assert caught.value.path == path
    return caught.value


def real_task(shared: Path) -> Gsm8k:
    return Gsm8k(load_demonstrations("gsm8k", shared / "data" / "prompts"), extraction="released")


def test_prompts_and_answers_are_those_of_the_released_script(shared: Path) -> None:
    task = real_task(shared)
    examples = task.load(shared / "data" / "gsm8k").examples
    for item, run in golden_runs(shared, "gsm8k"):
        example = examples[item["index"]]
        assert prompt_sha256(task.prompt(example)) == item["prompt_text_sha256"]
        text = before_stop(run["text"], task.stop)
        one = task.judge(example, run["text"], text)
        assert one.released == run["model_answer"]
        assert one.measures["accuracy_released"] == run["is_correct"]
        assert task.completion(run["text"], text) == run["script_completion"]


@pytest.mark.parametrize(
    ("version", "rows"), [("test", 1319), ("train", 7473), ("validation", VALIDATION_SIZE)]
)
def test_the_benchmarks_own_solutions_answer_themselves(shared: Path, version: str, rows: int) -> None:
    data = real_task(shared).load(shared / "data" / "gsm8k", version=version)
    assert len(data.examples) == rows
    assert data.source.startswith("GSM8K, the test file" if version == "test" else "GSM8K, the train file")
    wrong = [each.index for each in data.examples if answer(each.solution) != plain(each.value)]
    assert len(wrong) <= 1  # one solution says "the answer is 15 gallons * 8 pints / gallon"
    assert all(released_gold(each.solution) == plain(each.value) for each in data.examples)
