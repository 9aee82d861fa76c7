"""The worked examples of CONTRIBUTING: each works as it stands, and is as few files as that page says."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

import dola
from dola.cli.main import dola as command
from dola.tasks import registry
from fake_completions import fake_generator
from fake_scoring import fake_model

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
TFQA: dict[str, Any] = {"data_path": DATA / "truthfulqa", "prompts": DATA / "prompts", "progress": False}
GSM8K: dict[str, Any] = {"data_path": DATA / "gsm8k", "prompts": DATA / "prompts", "progress": False}
# What is added, and in how many files of code beside the package's own description.
EXAMPLES = {"dola-mean": 1, "dola-sums": 1, "dola-threads": 1, "dola-words": 1}


def module(name: str) -> ModuleType:
    file = ROOT / "examples" / name / f"{name.replace('-', '_')}.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = made
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_addition_is_as_few_files_as_it_is_said_to_be_and_touches_none_of_ours(name: str) -> None:
    folder = ROOT / "examples" / name
    written = [each for each in folder.rglob("*.py") if "__pycache__" not in each.parts]
    assert len(written) == EXAMPLES[name]
    assert f"examples/{name}" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    stem = name.replace("-", "_")
    assert not [file for file in (ROOT / "src").rglob("*.py") if stem in file.read_text(encoding="utf-8")]


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark as it is once its package is installed."""
    module("dola-sums")
    point = EntryPoint("sums", "dola_sums:BENCHMARK", registry.GROUP)
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group, name="sums": [point] if name == "sums" else []
    )


@pytest.mark.usefixtures("sums")
def test_a_benchmark_of_a_package_is_evaluated_by_its_name_and_has_a_command(tmp_path: Path) -> None:
    with fake_model():
        result = dola.evaluate("sums", strategies=["-1", "low"], limit=9, progress=False)
        output = str(tmp_path / "o.json")
        ran = CliRunner().invoke(command, ["eval", "sums", "--limit", "9", "--output-path", output])
    assert ran.exit_code == 0, ran.output
    assert result.rows["low"].differences is not None
    assert dola.Result.load(output).rows["vanilla"].measures == result.rows["vanilla"].measures
    assert "Sums of small numbers" in CliRunner().invoke(command, ["eval", "sums", "--help"]).stdout


def test_an_executor_is_given_to_a_run_and_changes_nothing_of_what_comes_out() -> None:
    threads = module("dola-threads").ThreadExecutor(3)
    with fake_model():
        here, there = (dola.evaluate("tfqa-mc", executor=each, **TFQA) for each in (None, threads))
    assert here == there
    with fake_generator():
        here, there = (dola.evaluate("gsm8k", executor=each, **GSM8K) for each in (None, threads))
    assert [each.completions for each in here.generated] == [each.completions for each in there.generated]


def test_a_backend_is_a_model_of_a_run() -> None:
    words = module("dola-words").WordLengths()
    result = dola.evaluate("tfqa-mc", model=words, **TFQA)
    assert (result.settings.model, result.manifest["model"]) == ("word-lengths", "word lengths, version 1")
    shortest = max(result.scored[0].scores[0], key=lambda score: score or 0.0)
    best = min(result.scored[0].answers, key=lambda answer: len(answer.text.replace(" ", "")))
    assert result.scored[0].scores[0][result.scored[0].answers.index(best)] == shortest
    written = dola.evaluate("gsm8k", model=words, **GSM8K)
    assert all(each.completions[0].tokens == 1 for each in written.generated)
