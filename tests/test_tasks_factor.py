"""FACTOR: which column is the prefix, how it is joined, who wins, and the released output."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola.errors import DataError, DolaError
from dola.tasks.base import per_token
from dola.tasks.factor import Factor

DATA = Path(__file__).parent / "data" / "factor"
TASK = Factor()
FIRST = TASK.load(DATA / "expert_factor.csv").examples[0]
SCORES = st.lists(st.floats(-1e5, 1e5), min_size=4, max_size=4)


@given(SCORES)
def test_the_answer_is_correct_unless_a_false_one_is_above_it(scores: list[float]) -> None:
    assert TASK.measure(FIRST, scores)["accuracy"] == float(not any(one > scores[0] for one in scores[1:]))


@given(SCORES)
def test_the_two_counts_differ_by_ties_alone(scores: list[float]) -> None:
    measured = TASK.measure(FIRST, scores)
    tie = scores[0] == max(scores[1:])
    assert measured["accuracy"] - measured["accuracy_strict"] == float(tie)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(DolaError, match="not a number"):
        TASK.measure(FIRST, [math.nan, -1.0, -2.0, -3.0])


def test_the_mean_per_token_may_decide_otherwise_than_the_sum() -> None:
    sums, tokens = [-30.0, -20.0, -40.0, -50.0], [10, 2, 4, 5]
    assert TASK.measure(FIRST, sums)["accuracy"] == 0.0
    assert per_token(sums, tokens) == [-3.0, -10.0, -10.0, -10.0]
    assert TASK.measure(FIRST, per_token(sums, tokens))["accuracy"] == 1.0


def test_the_prefix_column_goes_by_the_files_name() -> None:
    (news,) = TASK.load(DATA / "news_factor.csv").examples
    assert news.prefix.startswith("The village bakery")
    assert FIRST.prefix == "Answer: Warm the pot first. Put the leaves in. "
    assert "turncated_prefixes" in TASK.load(DATA / "expert_factor.csv").source


def test_a_folder_called_news_decides_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "news"
    folder.mkdir()
    shutil.copy(DATA / "expert_factor.csv", folder)
    assert TASK.load(folder / "expert_factor.csv").examples[0] == FIRST


def test_the_prefix_column_can_be_named() -> None:
    full = Factor(prefix_column="full_prefix").load(DATA / "expert_factor.csv").examples[0]
    assert full.prefix.startswith("Question: How do you brew tea?\n")
    with pytest.raises(DataError, match="no such column"):
        Factor(prefix_column="prefix").load(DATA / "expert_factor.csv")


def test_the_only_prefix_column_of_a_file_is_taken_and_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    header = "{},completion,contradiction_0,contradiction_1,contradiction_2\nOnce,a,b,c,d\n"
    path.write_text(header.format("full_prefix"), encoding="utf-8")
    assert TASK.load(path).examples[0].prefix == "Once"
    path.write_text(header.format("text"), encoding="utf-8")
    with pytest.raises(DataError, match="--prefix-column"):
        TASK.load(path)


def test_the_released_seam_adds_a_space_to_whatever_the_prefix_ends_with() -> None:
    request = TASK.request(FIRST)
    assert request.prompt == FIRST.prefix
    assert request.continuations[0] == " Pour hot water over the leaves."


def test_factors_own_seam_is_one_space_or_the_line_break_that_is_there() -> None:
    task = Factor(own_seam=True)
    request = task.request(FIRST)
    assert request.prompt + request.continuations[0] == (
        "Answer: Warm the pot first. Put the leaves in. Pour hot water over the leaves."
    )
    (news,) = task.load(DATA / "news_factor.csv").examples
    request = task.request(news)
    assert (
        request.prompt + request.continuations[0]
        == f"{news.prefix}Its first loaves were sold within an hour."
    )


def test_a_folder_gives_the_version_asked_for_and_does_not_guess_between_two() -> None:
    assert TASK.load(DATA, version="news").path.name == "news_factor.csv"
    with pytest.raises(DataError, match="--data-version"):
        TASK.load(DATA)
    with pytest.raises(DataError, match=r"expected wiki_factor\.csv"):
        TASK.load(DATA, version="wiki")
    with pytest.raises(DolaError, match="there are: wiki, news, expert"):
        TASK.load(DATA, version="sports")
    with pytest.raises(DolaError, match="3 parts"):
        TASK.load()


def test_the_released_json_has_the_released_keys_and_types() -> None:
    examples = TASK.load(DATA / "expert_factor.csv").examples
    scores = [[-1.0, -2.0, -3.0, -4.0], [-9.0, -8.0, -7.0, -6.0]]
    output = json.loads(json.dumps(TASK.released_json(examples, scores)))
    assert output == {
        "is_correct": [True, False],
        "model_answer": [],
        "model_completion": scores,
        "full_input_text": [],
    }


def test_the_description_labels_the_true_completion() -> None:
    described = TASK.describe(FIRST)
    assert [answer["label"] for answer in described["answers"]] == ["best", "false", "false", "false"]


@pytest.mark.parametrize(("part", "rows"), [("expert", 236), ("news", 1036)])
def test_the_golden_log_probabilities_give_the_golden_decisions(shared: Path, part: str, rows: int) -> None:
    golden = json.loads((shared / "golden" / "factor.json").read_text(encoding="utf-8"))
    data = TASK.load(shared / "data" / "factor", version=part)
    assert (len(data.examples), data.source.split(",")[0]) == (rows, f"FACTOR {part}")
    for row in golden["rows"][part]:
        request = TASK.request(data.examples[row["index"]])
        assert (request.prompt, list(request.continuations)) == (row["prefix"], row["completions"])
    for result in golden["results"][part].values():
        chosen = [data.examples[row["index"]] for row in result["per_row"]]
        output = TASK.released_json(chosen, [row["log_probs"] for row in result["per_row"]])
        assert output["is_correct"] == [row["is_correct"] for row in result["per_row"]]
        assert sum(output["is_correct"]) / len(chosen) == result["accuracy"]
