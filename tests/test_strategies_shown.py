"""Strategies other than DoLa's in `dola tune` and the report: in their own words, and as text to paste."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from dola.cli.main import dola
from dola.cli.scoring_options import ContrastOptions
from fake_scoring import DEPTH, fake_model

DATA = Path(__file__).parent / "data"
TFQA = ["tfqa-mc", "--data-path", str(DATA / "truthfulqa"), "--prompts", str(DATA / "prompts")]


def run(*arguments: str) -> Result:
    with fake_model():
        return CliRunner().invoke(dola, arguments, prog_name="dola", env={"COLUMNS": "100"})


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
        ([0, 2], "sled:0,2,8:rate=2"),
        ([4, 6], "sled:4,6,8"),
        ([], "delta:M=6,L=9.5"),
        ([4, 6], "4,6,8:alpha=0.2"),
    ]
    assert ours["tuning"]["chosen"] in labels
    # What is pasted is what was measured.
    flags = [each["flag"] for each in ours["tuning"]["buckets"]]
    pasted = ContrastOptions("released", None, None, None, None, None).strategies(flags, "tfqa-mc")
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
