"""`dola judge agreement`: two judges, or a judge and people, from the files that `dola judge` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import cohen_kappa_score  # the oracle

from dola.cli.main import dola
from few_resamples import few_resamples
from judge_server import JudgeServer
from test_judge_pairwise import better, files, reviewed, server, shown
from test_judge_tfqa import at, result, verdict
from test_judge_tfqa import run as rate

__all__ = ["few_resamples", "files", "result", "server"]  # fixtures


def agreement(*words: str | Path) -> Result:
    command = ["judge", "agreement", *map(str, words)]
    return CliRunner().invoke(dola, command, prog_name="dola", env={"COLUMNS": "140"})


def figures(folder: Path, *words: str | Path) -> dict[str, Any]:
    done = agreement(*words, "-o", folder / "agreement.json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads((folder / "agreement.json").read_text())["dola"]
    return found


def review(files: Path, server: JudgeServer, name: str, judge: Callable[[list[dict[str, str]]], str]) -> Path:
    server.chat = judge
    reviewed(files, server, "--judge-model", name)
    for suffix in (".jsonl", ".summary.json"):
        (files / f"o{suffix}").rename(files / f"{name}{suffix}")
    (files / "o.jsonl.verdicts.records.jsonl").unlink()
    return files / f"{name}.jsonl"


def mostly_good(messages: list[dict[str, str]]) -> str:
    """The good answers, but to the second question the bad, and to the third neither."""
    number, first, _ = shown(messages)
    if number == 3:
        return "7 7"
    wanted = "bad" if number == 2 else "good"
    return "9 4" if first.startswith(wanted) else "4 9"


def alternating(messages: list[dict[str, str]]) -> str:
    number, first, _ = shown(messages)
    wanted = "bad" if number % 2 else "good"
    return "9 4" if first.startswith(wanted) else "4 9"


def test_kappa_and_confusion_of_two_reviews_are_the_textbook_s(files: Path, server: JudgeServer) -> None:
    one = review(files, server, "one", mostly_good)
    two = review(files, server, "two", alternating)
    found = figures(files, one, two)
    (each,) = found["agreements"]
    ours = ["good", "bad", "tie", "good", "good", "good"]
    theirs = ["bad", "good", "bad", "good", "bad", "good"]
    assert each["labels"] == ["good", "bad", "tie"]
    assert each["confusion"] == [[2, 2, 0], [1, 0, 0], [0, 1, 0]]
    assert each["same"]["mean"] == pytest.approx(2 / 6)
    assert each["kappa"]["mean"] == pytest.approx(cohen_kappa_score(ours, theirs))
    assert each["kappa"]["low"] < each["kappa"]["mean"] < each["kappa"]["high"]
    told = agreement(one, two).output
    assert "Cohen's kappa" in told
    assert "6 items are few" in " ".join(told.replace("that both have labelled", "").split())


def test_the_models_may_stand_in_either_order(files: Path, server: JudgeServer) -> None:
    one = review(files, server, "one", mostly_good)
    server.chat = mostly_good
    swapped = [str(files / "bad.jsonl"), str(files / "good.jsonl")]
    reviewed(files, server, "--answer-file", *swapped)
    (each,) = figures(files, one, files / "o.summary.json")["agreements"]
    assert (each["same"]["mean"], each["kappa"]["mean"]) == (1.0, pytest.approx(1.0))


def test_a_judge_s_bias_to_a_place_and_to_length_is_shown(files: Path, server: JudgeServer) -> None:
    by_place = review(files, server, "place", lambda messages: "8 5")
    by_worth = review(files, server, "worth", better("good"))
    found = figures(files, by_place, by_worth)
    placed, fair = found["biases"]
    assert placed["position"]["mean"] == 1.0
    assert fair["position"]["mean"] == 0.5
    assert placed["position"]["low"] == pytest.approx(0.025 ** (1 / 12))
    # "good 1" is longer than "bad 1", and always won; the other judge decided nothing.
    assert fair["length"]["mean"] == 1.0
    assert placed["length"] is None
    assert any("place.jsonl favours a place" in line for line in found["findings"])


def test_people_s_labels_are_read_in_their_words(files: Path, server: JudgeServer) -> None:
    one = review(files, server, "one", mostly_good)
    (files / "people.csv").write_text(
        "\ufeffQuestion_ID,Label\r\n1,a\r\n2,model_2\r\n3,Tie\r\n4,good\r\n5,b\r\n6,\r\n", encoding="utf-8"
    )
    (each,) = figures(files, one, files / "people.csv")["agreements"]
    assert each["items"] == 5
    assert each["confusion"] == [[2, 1, 0], [0, 1, 0], [0, 0, 1]]


def rated(server: JudgeServer, path: Path) -> Path:
    server.completion = verdict
    assert rate(path, *at(server)).exit_code == 0
    return path


def test_a_rated_result_and_people_agree_by_kind_and_strategy(server: JudgeServer, result: Path) -> None:
    rated(server, result)
    folder = result.parent
    (folder / "p.csv").write_text(
        "index,kind,strategy,label\n0,truth,vanilla,yes\n1,truth,vanilla,1\n2,truth,vanilla,True\n3,truth,low,no\n"
        "0,info,low,yes\n1,info,low,no\n"
    )
    truth, info = figures(folder, result, folder / "p.csv")["agreements"]
    assert (truth["kind"], truth["items"], truth["confusion"]) == ("truth", 4, [[2, 1], [1, 0]])
    assert (info["kind"], info["items"]) == ("info", 2)
    assert truth["kappa"]["mean"] == pytest.approx(cohen_kappa_score([1, 0, 1, 1], [1, 1, 1, 0]))


def test_two_ratings_of_the_same_answers_are_compared_and_of_others_refused(
    server: JudgeServer, result: Path
) -> None:
    rated(server, result)
    again = result.parent / "again.json"
    content = json.loads(result.read_text())
    content["dola"]["examples"][0]["completions"][0]["verdicts"]["truth"] = 0.01
    content["dola"]["examples"][1]["completions"][0]["verdicts"]["truth"] = None
    again.write_text(json.dumps(content))
    found = figures(result.parent, result, again)
    truth = found["agreements"][0]
    assert (truth["items"], sum(map(sum, truth["confusion"]))) == (15, 15)
    assert truth["confusion"][0][1] == 1
    assert found["unread"] == [0, 1]
    content["dola"]["examples"][3]["completions"][0]["text"] = "Another answer."
    again.write_text(json.dumps(content))
    refused = agreement(result, again)
    assert refused.exit_code == 2
    assert "of its answers are others" in " ".join(refused.output.split())


def test_where_kappa_is_not_defined_there_is_none(files: Path, server: JudgeServer) -> None:
    one = review(files, server, "one", better("good"))
    found = figures(files, one, one)
    assert found["agreements"][0]["kappa"] is None
    assert any("kappa is not defined" in line for line in found["findings"])
    assert "Cohen's kappa: not defined" in agreement(one, one).output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("index,label\n0,perhaps\n", "p.csv:2: column 'label': expected a, b, tie, 'good' or 'bad', found"),
        ("index,label\n99,a\n", "p.csv:2: column 'index': '99' was not judged"),
        ("index,label\n0,a\n0,b\n", "p.csv:3: column 'index': '0' is labelled twice"),
        ("index,verdict\n0,a\n", "expected the columns 'index' or 'question_id', and 'label'"),
        ("index,label\n0,\n", "all are empty"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_label_is_refused_with_its_line(
    files: Path, server: JudgeServer, content: str, told: str
) -> None:
    one = review(files, server, "one", mostly_good)
    (files / "p.csv").write_text(content)
    refused = agreement(one, files / "p.csv")
    assert refused.exit_code == 2
    assert told in " ".join(refused.output.split())


def test_an_index_that_could_be_several_verdicts_is_refused_with_the_column_that_says(
    server: JudgeServer, result: Path
) -> None:
    rated(server, result)
    (result.parent / "p.csv").write_text("index,label\n0,yes\n")
    refused = agreement(result, result.parent / "p.csv")
    assert refused.exit_code == 2
    assert "expected a column 'kind' and 'strategy'" in " ".join(refused.output.split())


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"dola": {"kind": "pairwise"}}', '{"dola": {"kind": 1}}']
)
def test_a_file_without_verdicts_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    refused = agreement(tmp_path / "x.json", tmp_path / "x.json")
    assert refused.exit_code == 2
    assert str(tmp_path / "x.json") in refused.output.replace("\n", "")
    assert agreement(tmp_path / "none.json", tmp_path / "x.json").exit_code == 2
