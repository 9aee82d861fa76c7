"""Strategies other than DoLa's in `dola tune` and the report: in their own words, and as text to paste."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from dola.cli.explain import layers_table
from dola.cli.generate import named
from dola.cli.main import dola
from dola.cli.options import StrategyOptions
from dola.runs.asked_strategies import ContrastSettings
from dola.scoring.trace import TokenTrace
from dola.strategies import SLED, DeLTa, DoLa, DoLaStatic, Strategy, Vanilla, registry
from fake_scoring import DEPTH, fake_model

DATA = Path(__file__).parent / "data"
TFQA = ["tfqa-mc", "--data-path", str(DATA / "truthfulqa"), "--prompts", str(DATA / "prompts")]


def run(*arguments: str) -> Result:
    with fake_model():
        return CliRunner().invoke(dola, arguments, prog_name="dola", env={"COLUMNS": "100"})


def explained(premature: int | None, details: dict[str, float | dict[int, float]]) -> list[str]:
    """The heading and the notes of a table of one token."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(layers_table([TokenTrace(1, 5, "cat", -1.0, 0, premature, details, {})], console))
    heading, _, *notes = console.export_text().splitlines()
    return [" ".join(heading.split()), *notes]


@pytest.mark.parametrize(
    ("premature", "details", "heading", "note"),
    [
        (
            2,
            {"divergence": {0: 0.1, 2: 0.4}, "left_out": 0.0},
            "token layer nats 0 2",
            "Bars: each candidate",
        ),
        (2, {"layer_weights": {0: 0.1, 2: 0.9}, "left_out": 0.0}, "token layer weight 0 2", "vote weighs"),
        (None, {"slope": 0.5, "last_layer": -1.0}, "token slope last layer", "slope: how much"),
        (3, {}, "token layer", "The layer is fixed"),
        (None, {"agrees": {0: 1.0, 2: 0.0}}, "token 0 2", "Bars: of each candidate layer, agrees."),
        (None, {"how_sure": 0.5}, "token how sure", ""),
        (None, {}, "token", "No layer was chosen"),
    ],
    ids=["dola", "sled", "delta", "static", "bars alone", "a number alone", "nothing"],
)
def test_a_token_is_explained_by_what_its_strategy_gives_and_nothing_else(
    premature: int | None, details: dict[str, float | dict[int, float]], heading: str, note: str
) -> None:
    found, *notes = explained(premature, details)
    assert found == heading
    assert note in " ".join(notes)
    assert bool(notes) == bool(note)
    assert len(notes) <= max(1, len(details))


def test_a_heading_calls_nothing_dola_that_is_another_strategy() -> None:
    expected: dict[Strategy, str] = {
        Vanilla(): "vanilla",
        Vanilla(6): "vanilla",
        DoLa("low"): "DoLa low",
        DoLaStatic(3): "DoLa 3,-1",
        SLED("low"): "sled:low",
        DeLTa(4, 7): "delta:M=4,L=7",
        Plain(): "Plain:-1",
    }
    for strategy, heading in expected.items():
        assert named(strategy) == heading


@dataclass(frozen=True)
class Plain(Vanilla):
    """A third party's, derived from ours."""


def test_compare_sets_our_vanilla_beside_a_strategy_derived_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._OWN, "plain", Plain)
    asked = StrategyOptions(("plain:-1",), None, None, None, None, compare=True)
    assert asked.strategies() == (Vanilla(), Plain())


def test_tune_chooses_among_buckets_of_any_strategy_and_strategies_without_one(tmp_path: Path) -> None:
    output, page = tmp_path / "t.json", tmp_path / "t.html"
    texts = ["sled:low:rate=2", "sled:high", "delta:M=6,L=9.5", "high:alpha=0.2"]
    given = [word for text in texts for word in ("--bucket", text)]
    result = run("tune", *TFQA, "--output-path", str(output), *given)
    assert result.exit_code == 0, result.output
    ours = json.loads(output.read_text())["dola"]
    labels = ["sled:low (released, rate=2)", "sled:high (released)"]
    labels += ["delta:M=6,L=9.5", "high (released, alpha=0.2)"]
    assert [row["label"] for row in ours["rows"][1:5]] == labels
    assert [(each["layers"], each["flag"]) for each in ours["tuning"]["buckets"]] == [
        ([0, 2], "sled:low:rate=2,scale=75,steps=10,post_softmax=false,filter_value=-100"),
        ([4, 6], "sled:high:rate=2.5,scale=75,steps=10,post_softmax=false,filter_value=-100"),
        ([], "delta:M=6,L=9.5"),
        ([4, 6], "4,6,8:alpha=0.2"),
    ]
    assert ours["tuning"]["chosen"] in labels
    # What is pasted is what was measured.
    flags = [each["flag"] for each in ours["tuning"]["buckets"]]
    pasted = ContrastSettings("released", None, None, None, None, None).strategies(flags, "tfqa-mc")
    specs = [ours["strategies"][row["strategy"]]["spec"] for row in ours["rows"][1:5]]
    assert [str(strategy.resolve({"": DEPTH}).strategy) for _, strategy in pasted] == specs
    assert run("report", str(output), "-o", str(page)).exit_code == 0
    assert "<title>delta:M=6,L=9.5</title>" in page.read_text()


def test_vanilla_is_no_bucket(tmp_path: Path) -> None:
    result = run("tune", *TFQA, "--output-path", str(tmp_path / "t.json"), "--bucket", "-1")
    assert result.exit_code == 2
    assert "--bucket -1: vanilla is what all are compared with" in result.stderr


def test_the_report_counts_layers_in_each_strategys_own_words(tmp_path: Path) -> None:
    texts = ["-1", "high", "sled:high", "delta:M=6,L=9"]
    given = [word for text in texts for word in ("--early-exit-layers", text)]
    result = run("eval", *TFQA, "--output-path", str(tmp_path / "o.json"), *given)
    assert result.exit_code == 0, result.output
    for ending, premature, heaviest in (
        ("md", "Premature layers of high (released): 4: ", "Heaviest layers of sled:high (released): 4: "),
        ("html", "<h2>Premature layers</h2>", "<h2>Heaviest layers</h2>"),
    ):
        output = tmp_path / f"o.{ending}"
        assert run("report", str(tmp_path / "o.json"), "-o", str(output)).exit_code == 0
        text = output.read_text()
        assert text.count(premature) == text.count(heaviest) == 1
        assert text.count("Premature layers") == text.count("Heaviest layers") == 1
