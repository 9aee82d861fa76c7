"""What a report says of completions, of several runs, and of the paper is what the results hold."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dola.cli.main import dola
from dola.errors import DataError
from dola.reports.against import PaperCell
from dola.result.form import written
from dola.tasks.sources import GSM8K, TRUTHFULQA
from fake_generation import generation_result, rated
from fake_scoring import fake_model
from reports import across, against_paper, csv_table, examples, markdown, page, view_of

EVIL = "<script>alert('x')</script> & \"quoted\" | pipe"
DATA = Path(__file__).parent / "data"
SMOL = {"labels": ("vanilla", "low", "high"), "model": "smollm2"}
SPECS = ("32", "0,2,4,6,8,10,12,14,32", "16,18,20,22,24,26,28,30,32")
TFQA = {"metrics": (), "groups": ("Law", "Health"), "labels": ("vanilla", SPECS[2]), "specs": SPECS[::2]}


def three(**changes: Any) -> dict[str, Any]:
    return generation_result(specs=SPECS, **{**SMOL, **changes})


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_endtag(self, tag: str) -> None:
        self.closed.append(tag)


def tags_of(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def write(folder: Path, name: str, result: dict[str, Any]) -> str:
    (folder / name).write_text(json.dumps(result))
    return str(folder / name)


def report(*arguments: str) -> Result:
    return CliRunner().invoke(dola, ["report", *arguments])


ALL = {
    "gsm8k": generation_result(),
    "strqa": generation_result("strqa"),
    "tfqa": generation_result("tfqa", **TFQA),
    "rated": rated(generation_result("tfqa", **TFQA)),
    "vicuna": generation_result("vicuna", metrics=(), groups=("writing",)),
    "alone": generation_result(labels=("vanilla",), specs=("32",)),
}


@pytest.mark.parametrize("name", ALL)
def test_every_benchmark_has_a_page_whose_elements_are_closed(name: str) -> None:
    tags = tags_of(page([ALL[name]]))
    for tag in ("section", "div", "table", "details", "svg", "g", "ul", "select", "p", "span"):
        assert tags.opened.count(tag) == tags.closed.count(tag)
    assert tags.opened.count("details") == len(ALL[name]["dola"]["examples"])
    assert tags.links == []


@pytest.mark.parametrize("name", ALL)
def test_markdown_tables_have_equally_many_cells_in_every_line(name: str) -> None:
    text = markdown([ALL[name]])
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert len(counts) == 1


def test_a_completion_with_markup_in_it_stays_text() -> None:
    result = generation_result(question=EVIL, groups=(EVIL,), model=EVIL, labels=("vanilla", EVIL))
    for example in result["dola"]["examples"]:
        example["reference"] = EVIL
        for each in example["completions"]:
            each |= {"text": EVIL, "answer": EVIL, "answer_released": f"{EVIL}!"}
    html = page([result], papers=[against_paper(result)], comparisons=across([(Path(EVIL), result)] * 2))
    assert "alert(" in html
    assert tags_of(html).opened.count("script") == 1  # the page's own


def test_fixed_and_broken_are_as_many_as_the_result_counts() -> None:
    result = three()
    states = [state for example in examples(result) for state in example.states]
    for place, row in enumerate(result["dola"]["rows"]):
        assert states.count(f"{place}:fixed") == (row["fixed"] if place else 0)
        assert states.count(f"{place}:broken") == (row["broken"] if place else 0)
    assert sum(row["fixed"] + row["broken"] for row in result["dola"]["rows"][1:]) > 0


def test_the_page_opens_with_what_changed_and_with_everything_where_nothing_did() -> None:
    same = copy.deepcopy(generation_result())
    for row in same["dola"]["rows"]:
        row["per_example"] = same["dola"]["rows"][0]["per_example"]
    assert '<option value="" selected>every example</option>' in page([same])
    for name in ("gsm8k", "tfqa", "rated"):
        assert '<option value="">every example</option>' in page([ALL[name]])


def test_each_completion_shows_its_answer_and_the_released_rules_where_it_is_another() -> None:
    (example,) = [each for each in examples(generation_result()) if each.index == 7]
    first, second = example.completions
    assert first.released == f"{first.answer}.0"
    assert second.released == ""
    assert example.reference == "13"


def test_yes_and_no_are_shown_as_words() -> None:
    shown = examples(generation_result("strqa"))
    assert {each.reference for each in shown} == {"yes", "no"}
    assert {made.answer for each in shown for made in each.completions} == {"yes", "no", "none found"}


def test_a_task_that_reads_no_answers_shows_none() -> None:
    for name in ("tfqa", "rated", "vicuna"):
        made = [each for example in examples(ALL[name]) for each in example.completions]
        assert {each.answer for each in made} == {None}
        assert "no answer was found" not in page([ALL[name]])


def test_verdicts_are_yes_from_one_half_on_and_a_malformed_one_is_no() -> None:
    (verdicts,) = {
        tuple((verdict.probability, verdict.yes) for verdict in made.verdicts)
        for example in examples(_with_verdicts(0.5, None))
        for made in example.completions
    }
    assert verdicts == (("0.50", True), ("–", False))


def _with_verdicts(truth: float, info: float | None) -> dict[str, Any]:
    result = copy.deepcopy(ALL["rated"])
    for example in result["dola"]["examples"]:
        for made in example["completions"]:
            made["verdicts"] = {"truth": truth, "info": info}
    return result


def test_a_rated_run_has_all_four_figures_by_category_too() -> None:
    view = view_of(ALL["rated"])
    assert view.metrics == ("truth", "info", "truth_info", "reject")
    html = page([ALL["rated"]])
    for heading in ("%Truth", "%Info", "%Truth×Info", "%Reject"):
        assert f"<th>{heading}</th>" in html
        assert f">{heading}</option>" in html


def test_an_unrated_run_still_has_tokens_and_layers() -> None:
    view = view_of(ALL["tfqa"])
    assert view.metrics == ()
    assert [row.tokens for row in view.rows] == ["1,600", "1,600"]
    assert [row.speed for row in view.rows] == ["128.0", "64.0"]
    assert [layers.label for layers in view.layers] == [SPECS[2]]


def test_the_facts_say_how_tokens_were_taken() -> None:
    facts = dict(view_of(generation_result()).facts)
    assert facts["Decoding"] == (
        "greedy; at most 256 tokens; repetition penalty 1 (vanilla), 1.2 (0,2,4,6,8,10,12,14,32)"
    )


def test_csv_holds_tokens_and_every_figure() -> None:
    result = generation_result()
    rows = list(csv.DictReader(io.StringIO(csv_table([result]))))
    assert len(rows) == 4
    assert {row["tokens"] for row in rows} == {"1600"}
    assert float(rows[2]["mean"]) == result["dola"]["rows"][1]["measures"]["accuracy"]["mean"]


def test_csv_names_the_rows_of_a_run_that_measures_nothing() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table([ALL["vicuna"]]))))
    assert [row["row"] for row in rows] == ["vanilla", "0,2,4,6,8,10,12,14,32"]


# Several results on the same examples


def test_results_on_the_same_examples_are_set_against_the_first_ones_first_row() -> None:
    one, other = generation_result(), three(shares=(0.9, 0.9))
    (comparison,) = across([(Path("a.json"), one), (Path("b.json"), other)])
    rows = comparison.rows
    assert [row.label for row in rows] == [
        "vanilla · a",
        "0,2,4,6,8,10,12,14,32 · a",
        "vanilla · b",
        "low · b",
        "high · b",
    ]
    assert rows[0].differences is None
    first, third = (
        each["per_example"]["accuracy"] for each in (one["dola"]["rows"][0], other["dola"]["rows"][0])
    )
    apart = [ours - theirs for ours, theirs in zip(third, first, strict=True)]
    assert rows[2].differences["accuracy"].mean == pytest.approx(sum(apart) / len(apart))
    assert (rows[2].fixed, rows[2].broken) == (apart.count(1.0), apart.count(-1.0))
    for metric, own in one["dola"]["rows"][1]["difference"].items():
        assert written(rows[1].differences[metric]) == pytest.approx(own)


@pytest.mark.parametrize(
    "other",
    [
        generation_result("strqa"),
        generation_result(count=39),
        generation_result(data_sha256="f" * 64),
    ],
    ids=["another task", "other rows", "other data"],
)
def test_results_of_other_examples_are_not_compared(other: dict[str, Any]) -> None:
    assert across([(Path("a.json"), generation_result()), (Path("b.json"), other)]) == []


def test_what_else_differs_between_results_is_said() -> None:
    (comparison,) = across([(Path("a.json"), generation_result()), (Path("b.json"), three())])
    assert list(comparison.notes) == ["b differs from a in the model, the repetition penalties too."]


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    (comparison,) = across(
        [(Path("x/out.json"), generation_result()), (Path("y/out.json"), generation_result())]
    )
    assert comparison.rows[-1].label.endswith("· y/out.json")


@pytest.mark.parametrize("kind", ["html", "md", "csv", "json"])
def test_every_format_has_the_comparison(tmp_path: Path, kind: str) -> None:
    files = [write(tmp_path, "a.json", generation_result()), write(tmp_path, "b.json", three())]
    ran = report(*files, "--format", kind)
    assert ran.exit_code == 0, ran.output
    assert "high · b" in ran.stdout


def test_scoring_results_are_compared_too(tmp_path: Path) -> None:
    result = _scored(tmp_path, "a.json", "-1")
    other = _scored(tmp_path, "b.json", "high")
    (comparison,) = across([(Path("a.json"), result), (Path("b.json"), other)])
    assert [row.label for row in comparison.rows] == ["vanilla · a", "high (released) · b"]
    assert set(comparison.rows[1].differences) == {"MC1", "MC2", "MC3"}


def _scored(folder: Path, name: str, layers: str) -> dict[str, Any]:
    arguments = ["eval", "tfqa-mc", "--data-path", str(DATA / "truthfulqa" / "TruthfulQA.csv")]
    arguments += ["--prompts", str(DATA / "prompts"), "--early-exit-layers", layers]
    with fake_model():
        ran = CliRunner().invoke(dola, [*arguments, "--output-path", str(folder / name)])
    assert ran.exit_code == 0, ran.output
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


# Beside the paper


def full_gsm8k(**changes: Any) -> dict[str, Any]:
    """A run that the paper's figures could be of."""
    count = changes.pop("count", 1319)
    result = generation_result(**{"data_sha256": GSM8K["test"].sha256, **changes})
    result["dola"]["counts"]["examples"] = count
    result["dola"]["settings"]["data_rows"] = 1319
    return result


def cells(result: dict[str, Any], **settings: Any) -> dict[tuple[str, str, str], PaperCell]:
    view = against_paper(result, **settings)
    return {(row.decoding, row.row, cell.metric): cell for row in view.rows for cell in row.cells}


def test_vanilla_stands_beside_vanilla_and_dola_beside_dola() -> None:
    found = cells(generation_result())
    assert found["vanilla", "vanilla", "accuracy"].paper == "10.8"
    assert found["DoLa", "0,2,4,6,8,10,12,14,32", "accuracy"].paper == "10.5"


def test_what_the_run_has_not_is_listed_as_context() -> None:
    found = cells(ALL["rated"])
    assert found["ITI", "", "truth_info"].paper == "43.5"
    assert found["ITI", "", "truth_info"].value == ""
    assert found["ITI", "", "info"].paper == ""
    assert ("contrastive decoding", "", "accuracy") in cells(generation_result(), model="llama-13b")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.05, 0.20, "in the interval"),
        (0.1084, 0.20, "in the interval"),  # 10.8 is rounded
        (0.11, 0.20, "below the interval"),
        (0.05, 0.10, "above the interval"),
        (None, None, "no interval"),
    ],
)
def test_the_verdict_is_where_the_papers_figure_lies(
    low: float | None, high: float | None, verdict: str
) -> None:
    result = generation_result()
    for measure in result["dola"]["rows"][0]["measures"].values():
        measure |= {"low": low, "high": high}
    assert cells(result)["vanilla", "vanilla", "accuracy"].verdict == verdict


def test_the_released_rule_is_what_stands_beside_the_paper() -> None:
    result = generation_result()
    result["dola"]["rows"][0]["measures"]["accuracy_released"]["mean"] = 0.123
    assert cells(result)["vanilla", "vanilla", "accuracy"].value == "12.3"
    assert any("released rule" in note for note in against_paper(result).notes)


def test_a_run_of_the_papers_model_and_data_needs_no_warning() -> None:
    notes = against_paper(full_gsm8k()).notes
    assert len(notes) == 1
    assert "released rule" in notes[0]


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"model": "smollm2"}, "Another model: the run is of smollm2"),
        ({"data_sha256": "0" * 64}, "Other data:"),
        ({"count": 20}, "Few examples: 20, where the paper has 1319."),
        ({"specs": ("32", "16,18,32")}, "0,2,4,6,8,10,12,14,32: other layers than"),
        ({"specs": ("32", "14,32")}, "0,2,4,6,8,10,12,14,32: the paper's Table 1 has no such row."),
    ],
)
def test_what_makes_a_run_another_thing_is_said(changes: dict[str, Any], start: str) -> None:
    assert any(note.startswith(start) for note in against_paper(full_gsm8k(**changes)).notes)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"repetition_penalty": [1.2, 1.2]}, "vanilla: repetition penalty 1.2, in the released script 1."),
        ({"do_sample": True}, "The run samples its tokens; the released script takes the best."),
        ({"max_new_tokens": 64}, "At most 64 new tokens, in the released script 256."),
    ],
)
def test_what_decodes_otherwise_than_the_paper_is_said(changes: dict[str, Any], note: str) -> None:
    result = full_gsm8k()
    result["dola"]["manifest"] |= changes
    assert note in against_paper(result).notes


def test_the_model_is_guessed_by_name_and_can_be_said() -> None:
    assert against_paper(generation_result(model="some/llama-13b")).model == "LLaMA-13B"
    assert against_paper(three()).model == "LLaMA-7B"
    assert against_paper(three(), model="llama-65b").model == "LLaMA-65B"


def test_factor_is_known_by_its_data_and_expert_is_not_in_the_paper() -> None:
    result = three()
    result["dola"]["manifest"]["task"] = "factor"
    for source, benchmark in (
        ("FACTOR news, prefix column x", "FACTOR news"),
        ("my_wiki.csv: 5 rows", "FACTOR wiki"),
    ):
        result["dola"]["settings"]["data_source"] = source
        assert against_paper(result).benchmark == benchmark
    result["dola"]["settings"]["data_source"] = "FACTOR expert, prefix column y"
    with pytest.raises(DataError, match="neither"):
        against_paper(result)


def test_a_task_without_figures_is_refused_in_one_line(tmp_path: Path) -> None:
    ran = report(write(tmp_path, "out.json", ALL["vicuna"]), "--against", "paper")
    assert ran.exit_code == 2
    assert "no figures for vicuna" in ran.output


def test_the_papers_model_without_the_paper_is_refused(tmp_path: Path) -> None:
    ran = report(write(tmp_path, "out.json", ALL["gsm8k"]), "--paper-model", "llama-7b")
    assert ran.exit_code == 2
    assert "--against paper" in ran.output


def test_every_format_has_the_paper(tmp_path: Path) -> None:
    path = write(tmp_path, "out.json", generation_result())
    html, text, table, found = (
        report(path, "--against", "paper", "--format", kind).stdout for kind in ("html", "md", "csv", "json")
    )
    assert "Beside the paper: LLaMA-7B, GSM8K" in html
    assert "Beside the paper: LLaMA-7B, GSM8K" in text
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["paper"] for row in rows] == ["", "10.8", "", "10.5"]
    assert json.loads(found)["dola"]["paper"]["model"] == "LLaMA-7B"


def test_multiple_choice_stands_beside_the_paper_too(tmp_path: Path) -> None:
    view = against_paper(_scored(tmp_path, "a.json", "-1"))
    assert view.metrics == ("MC1", "MC2", "MC3")
    assert [cell.paper for cell in view.rows[0].cells] == ["25.6", "40.6", "19.2"]
    assert TRUTHFULQA["paper"].sha256 not in json.dumps(view.notes)
    assert any(note.startswith("Other data") for note in view.notes)


# Ties of a length control


def factor_result(tmp_path: Path, lengths: list[tuple[str, str]]) -> dict[str, Any]:
    """FACTOR with these true and false completions."""
    data = tmp_path / "news_factor.csv"
    with data.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["full_prefix", "completion", "contradiction_0", "contradiction_1", "contradiction_2"]
        )
        for at, (true, false) in enumerate(lengths):
            writer.writerow([f"prefix {at}", true, false, "a", "a"])
    with fake_model():
        ran = CliRunner().invoke(
            dola, ["eval", "factor", "--data-path", str(data), "--output-path", str(tmp_path / "out.json")]
        )
    assert ran.exit_code == 0, ran.output
    found: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    return found


def test_a_length_control_that_ties_help_is_shown_with_ties_as_wrong(tmp_path: Path) -> None:
    result = factor_result(tmp_path, [("b c", "b c"), ("b c", "b c"), ("b c d", "b c"), ("b", "b c")])
    longest = next(note for note in view_of(result).notes if "longest" in note)
    assert "75.0 counts a tie in length as correct" in longest
    assert "counted as wrong it is 25.0 (accuracy_strict)" in longest
    shortest = next(note for note in view_of(result).notes if "shortest" in note)
    assert "25.0 counts a tie" in shortest
    assert "it is 0.0" in shortest


def test_without_ties_nothing_is_said_of_them(tmp_path: Path) -> None:
    result = factor_result(tmp_path, [("b c", "b c d"), ("b c d", "b c")])
    assert not any("longest" in note for note in view_of(result).notes)
