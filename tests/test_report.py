"""What a report says is what the result holds, and nothing in it is taken for markup."""

from __future__ import annotations

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
from fake_scoring import fake_model
from reports import csv_table, interval_plot, markdown, page, view_of

DATA = Path(__file__).parent / "data"
EVIL = "<script>alert('x')</script> & \"quoted\" | pipe"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run over questions, one of which is an attack, one answer too, and a category."""
    folder = tmp_path_factory.mktemp("report")
    data = folder / "questions.csv"
    with data.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        columns = ("Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers")
        writer.writerow([*columns, "Source"])
        for number in range(30):
            question = f"{EVIL} {number}?"
            writer.writerow(["A", f"{EVIL} {number % 3}", question, "yes", f"yes; {EVIL}", "no; never", ""])
    arguments = ["eval", "tfqa-mc", "--data-path", str(data), "--prompts", str(DATA / "prompts")]
    layers = ["--early-exit-layers", "-1", "--early-exit-layers", "low", "--early-exit-layers", "high"]
    with fake_model():
        ran = CliRunner().invoke(dola, [*arguments, *layers, "--output-path", str(folder / "out.json")])
    assert ran.exit_code == 0, ran.output
    return json.loads((folder / "out.json").read_text())


def report(tmp_path: Path, result: dict[str, Any], *arguments: str) -> Result:
    (tmp_path / "out.json").write_text(json.dumps(result))
    return CliRunner().invoke(dola, ["report", str(tmp_path / "out.json"), *arguments])


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


def test_a_question_with_markup_in_it_stays_text(result: dict[str, Any]) -> None:
    html = page([result])
    assert "alert(" in html
    tags = Tags()
    tags.feed(html)
    assert tags.opened.count("script") == 1  # the page's own
    assert "<script>alert" not in html


def test_the_page_asks_for_nothing_from_anywhere(result: dict[str, Any]) -> None:
    html = page([result])
    tags = Tags()
    tags.feed(html)
    assert tags.links == []
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_every_element_that_is_opened_is_closed(result: dict[str, Any]) -> None:
    tags = Tags()
    tags.feed(page([result, result]))
    for tag in ("section", "div", "table", "details", "svg", "g", "ul", "select"):
        assert tags.opened.count(tag) == tags.closed.count(tag) > 0


def test_the_page_has_light_and_dark(result: dict[str, Any]) -> None:
    assert "prefers-color-scheme: dark" in page([result])


def test_fixed_and_broken_examples_are_those_whose_mc1_changed(result: dict[str, Any]) -> None:
    html = page([result])
    rows = result["dola"]["rows"]
    assert html.count('data-is="fixed"') == sum(row["fixed"] for row in rows[1:3])
    assert html.count('data-is="broken"') == sum(row["broken"] for row in rows[1:3])


def test_every_mark_of_the_plot_lies_in_its_panel(result: dict[str, Any]) -> None:
    plot = interval_plot(result)
    for panel in plot.panels:
        for mark in panel.marks:
            assert panel.scale.start - 0.1 <= mark.low <= mark.x <= mark.high <= panel.scale.end + 0.1
        assert 3 <= len(panel.scale.ticks) <= 12


def test_csv_holds_every_figure_unrounded(result: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table([result]))))
    ours = result["dola"]
    assert len(rows) == len(ours["rows"]) * len(ours["metrics"])
    first = next(row for row in rows if row["row"] == "low (released)" and row["metric"] == "MC2")
    assert float(first["mean"]) == ours["rows"][1]["measures"]["MC2"]["mean"]
    assert float(first["difference_p"]) == ours["rows"][1]["difference"]["MC2"]["p"]


def test_markdown_tables_have_equally_many_cells_in_every_line(result: dict[str, Any]) -> None:
    lines = [line for line in markdown([result]).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}


def test_percentages_are_the_means(result: dict[str, Any]) -> None:
    row = view_of(result).rows[1]
    assert row.cells["MC3"].value == f"{100 * result['dola']['rows'][1]['measures']['MC3']['mean']:.1f}"


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--format", "html"], "<!doctype html>"),
        (["--format", "md"], "## TruthfulQA"),
        (["--format", "csv"], "task,model,"),
        (["--format", "json"], '{"question"'),
        ([], "## TruthfulQA"),
    ],
)
def test_every_format_goes_to_standard_output(
    tmp_path: Path, result: dict[str, Any], arguments: list[str], start: str
) -> None:
    ran = report(tmp_path, result, *arguments)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.lstrip().startswith(start)


@pytest.mark.parametrize(("name", "start"), [("r.html", "<!doctype"), ("r.csv", "task,"), ("r.md", "## ")])
def test_the_format_follows_the_files_name(
    tmp_path: Path, result: dict[str, Any], name: str, start: str
) -> None:
    assert report(tmp_path, result, "-o", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / name).read_text().lstrip().startswith(start)


def test_a_gain_that_length_explains_is_said_in_words(tmp_path: Path) -> None:
    from dola.runs.measured import Measured, MeasuredRow
    from dola.runs.summary import summarise

    right = [1.0] * 60 + [0.0] * 40
    columns = {"vanilla": [0.0] * 100, "long": right, "clever": [1.0] * 100}
    rows = [MeasuredRow(label, "strategy", 0, False, {"MC1": values}) for label, values in columns.items()]
    longest = MeasuredRow("control: longest answer", "control", None, False, {"MC1": right})
    measured = Measured(("MC1",), ("MC1",), (*rows, longest), (None,), (), {})
    findings = summarise(measured, seed=0).findings
    assert any("long: the gain in MC1 (+60.0 points) is not distinguishable" in line for line in findings)
    assert not any("clever: the gain" in line for line in findings)
    assert "clever: differs from vanilla beyond chance in MC1 (+100.0 points)." in findings
