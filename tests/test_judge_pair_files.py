"""Questions, answers and prompts as they lie in files: what is read, and what is refused before any call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dola.errors import DataError
from dola.judges.pair_files import labels_of, read_answers, read_questions
from dola.judges.pair_prompts import read_prompts
from dola.judges.pairwise import Match, matches_for

JUDGES = Path(__file__).parent / "data" / "judges"


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answered(path: Path, *ids: int, text: str = "Yes.", model: str = "m") -> Path:
    return written(
        path,
        *(
            {"question_id": i, "text": text, "answer_id": f"x{i}", "model_id": model, "metadata": {}}
            for i in ids
        ),
    )


def asked(path: Path, *ids: int, category: str = "writing") -> Path:
    return written(path, *({"question_id": i, "text": f"Why {i}?", "category": category} for i in ids))


def test_both_forms_of_questions_and_of_answers_are_read_alike(tmp_path: Path) -> None:
    text = written(tmp_path / "t.jsonl", {"question_id": 1, "text": "Why?", "category": "math"})
    turns = written(tmp_path / "u.jsonl", {"question_id": 1, "turns": ["Why?"], "category": "math"})
    assert read_questions(text) == read_questions(turns)
    old = written(tmp_path / "a.jsonl", {"question_id": 1, "text": "So.", "answer_id": "k", "model_id": "m"})
    new = written(
        tmp_path / "b.jsonl",
        {"question_id": 1, "answer_id": "k", "model_id": "m", "choices": [{"index": 0, "turns": ["So."]}]},
    )
    assert read_answers(old).by_question == read_answers(new).by_question


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question_id": 1, "text": "one\u2028two"}, ensure_ascii=False) + "\n\n")
    assert read_answers(path).by_question[1].turns == ("one\u2028two",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"question_id": 1, "text": "a"}\n{"question_id": 2, "text": ', r"x\.jsonl:2: is not JSON"),
        ('{"question_id": 1, "text": "a"}\n\n[1]', r"x\.jsonl:3: expected a JSON object"),
        ('{"question_id": 1, "text": "a"}\n{"question_id": 1, "text": "b"}', r":2: .*1 is there twice"),
        ('{"text": "a"}', r":1: column 'question_id': expected a number or a text, found None"),
        ('{"question_id": true, "text": "a"}', r"'question_id': expected a number or a text, found True"),
        ('{"question_id": 1}', r":1: column 'text': expected text"),
        ('{"question_id": 1, "text": 5}', r":1: column 'text': expected text"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    for read in (read_questions, read_answers):
        with pytest.raises(DataError, match=told):
            read(path)


def test_answers_without_turns_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"question_id": 1, "choices": []})
    with pytest.raises(DataError, match=r":1: column 'choices'"):
        read_answers(path)


def matches(tmp_path: Path, questions: Path, a: Path, b: Path, **settings: Any) -> tuple[Match, ...]:
    prompts = read_prompts(JUDGES / "table_prompt.jsonl", JUDGES / "table_reviewer.jsonl")
    return matches_for(read_questions(questions), read_answers(a), read_answers(b), prompts, **settings)


def test_a_question_without_an_answer_is_refused_with_its_id(tmp_path: Path) -> None:
    files = (asked(tmp_path / "q", 1, 2, 3), answered(tmp_path / "a", 1, 2, 3), answered(tmp_path / "b", 2))
    with pytest.raises(
        DataError, match=r"b: expected an answer to each of the 3 questions; 2 have none: .* 1, 3"
    ):
        matches(tmp_path, *files)


def test_answers_to_other_questions_are_refused_with_their_ids(tmp_path: Path) -> None:
    files = (asked(tmp_path / "q", 1), answered(tmp_path / "a", 1, 9), answered(tmp_path / "b", 1))
    with pytest.raises(
        DataError, match="a: answers questions that are not in the question file: question_id 9"
    ):
        matches(tmp_path, *files)


def test_of_the_first_n_alone_answers_are_needed(tmp_path: Path) -> None:
    files = (
        asked(tmp_path / "q", 1, 2, 3),
        answered(tmp_path / "a", 3, 2, 1),
        answered(tmp_path / "b", 1, 2),
    )
    assert [one.question.id for one in matches(tmp_path, *files, first_n=2)] == [1, 2]
    with pytest.raises(DataError, match=r"b: .* 1 have none: question_id 3"):
        matches(tmp_path, *files)


def test_one_model_under_two_strategies_is_told_apart_by_its_files(tmp_path: Path) -> None:
    vanilla, high = answered(tmp_path / "vanilla.jsonl", 1), answered(tmp_path / "high.jsonl", 1)
    other = answered(tmp_path / "other.jsonl", 1, model="n")
    assert labels_of(read_answers(vanilla), read_answers(high)) == ("vanilla", "high")
    assert labels_of(read_answers(vanilla), read_answers(other)) == ("m", "n")


def test_the_reviewer_is_of_the_question_s_category_else_the_first(tmp_path: Path) -> None:
    answers = (answered(tmp_path / "a", 1, text="One."), answered(tmp_path / "b", 1, text="Two {question}."))
    (coding,) = matches(tmp_path, asked(tmp_path / "q", 1, category="coding"), *answers)
    (other,) = matches(tmp_path, asked(tmp_path / "q", 1, category="fermi"), *answers)
    assert (coding.prompt.reviewer, coding.prompt.temperature, coding.prompt.max_tokens) == (2, 0.1, 512)
    assert (other.prompt.reviewer, other.prompt.temperature, other.prompt.max_tokens) == (1, 0.2, 1024)
    # An answer's braces are the answer's.
    assert other.messages("ba") == (
        {"role": "system", "content": "You compare."},
        {"role": "user", "content": "Q: Why 1?\n1: Two {question}.\n2: One.\nTwo scores first."},
    )


def test_settings_of_the_command_go_before_those_of_the_reviewer(tmp_path: Path) -> None:
    files = (asked(tmp_path / "q", 1), answered(tmp_path / "a", 1), answered(tmp_path / "b", 1))
    (one,) = matches(tmp_path, *files, temperature=0.0, max_tokens=9)
    assert (one.prompt.temperature, one.longest) == (0.0, 9)


def test_a_pair_judgement_takes_a_reference_where_there_is_one_and_judges_both_turns(tmp_path: Path) -> None:
    def rows(*texts: str) -> list[dict[str, Any]]:
        return [{"question_id": 1, "choices": [{"turns": [f"{text}1", f"{text}2"]}]} for text in texts]

    questions = read_questions(
        written(tmp_path / "q", {"question_id": 1, "category": "math", "turns": ["Why?", "And?"]})
    )
    a, b, reference = (read_answers(written(tmp_path / name, *rows(name))) for name in "abr")
    prompts = read_prompts(JUDGES / "judge_prompts.jsonl")
    first, second = matches_for(questions, a, b, prompts)
    assert (first.prompt.name, first.prompt.turn) == ("pair-v2", 1)
    assert first.messages("ab")[1]["content"] == "Q: Why?\n1: a1\n2: b1"
    assert (second.prompt.name, second.prompt.turn) == ("pair-v2-multi-turn", 2)
    assert second.messages("ba")[1]["content"] == "Q: Why?, And?\n1: b1, b2\n2: a1, a2"
    with pytest.raises(DataError, match="'pair-math-v1-multi-turn', and there is no such pairwise prompt"):
        matches_for(questions, a, b, prompts, references=reference)
    single = read_questions(written(tmp_path / "q", {"question_id": 1, "category": "math", "text": "Why?"}))
    (referenced,) = matches_for(single, a, b, prompts, references=reference)
    assert referenced.messages("ab")[1]["content"] == "Q: Why?\nR: r1\n1: a1\n2: b1"


def test_an_answer_with_fewer_turns_than_its_question_is_refused(tmp_path: Path) -> None:
    questions = written(tmp_path / "q", {"question_id": 1, "category": "math", "turns": ["Why?", "And?"]})
    with pytest.raises(DataError, match="question_id 1 has 2 turns, its answer 1"):
        matches(tmp_path, questions, answered(tmp_path / "a", 1), answered(tmp_path / "b", 1))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt_id": 1, "system_prompt": "S", "prompt_template": "{what}"}, "asks for 'what'"),
        ({"prompt_id": 1, "system_prompt": "S", "prompt_template": "{answer_1.x}"}, "asks for .*attribute"),
        ({"prompt_id": 1, "system_prompt": "S"}, r":1: column 'prompt_template': expected a text"),
        (
            {"prompt_id": 7, "system_prompt": "S", "prompt_template": "{question}"},
            "names prompt_id 1, and .* 7",
        ),
        ({"name": "x", "type": "single"}, "expected FastChat's review prompts"),
        ({"name": "x", "type": "pairwise", "output_format": "[[rating]]"}, "column 'output_format'"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    path = written(tmp_path / "p.jsonl", row)
    reviewers = written(tmp_path / "r.jsonl", {"reviewer_id": "x", "prompt_id": 1, "category": "general"})
    with pytest.raises(DataError, match=told):
        matches_for(
            read_questions(asked(tmp_path / "q", 1)),
            read_answers(answered(tmp_path / "a", 1)),
            read_answers(answered(tmp_path / "b", 1)),
            read_prompts(path, reviewers),
        )


def test_a_review_without_reviewers_is_refused() -> None:
    with pytest.raises(DataError, match="--reviewer-file"):
        read_prompts(JUDGES / "table_prompt.jsonl")


def test_fastchat_s_own_files_are_read(shared: Path) -> None:
    folder = shared / "data" / "vicuna"
    questions = read_questions(folder / "table_question.jsonl")
    assert [(each.id, each.turns) for each in questions] == [
        (each.id, each.turns) for each in read_questions(folder / "question.jsonl")
    ]
    review = read_prompts(folder / "table_prompt.jsonl", folder / "table_reviewer.jsonl")
    numbers = [review.for_question(each, referenced=False)[0].reviewer for each in questions]
    assert {number: numbers.count(number) for number in (1, 2, 3)} == {1: 70, 2: 7, 3: 3}
    pair = read_prompts(folder / "judge_prompts.jsonl")
    names = {prompt.name for each in questions for prompt in pair.for_question(each, referenced=True)}
    assert names == {"pair-v2", "pair-math-v1"}
