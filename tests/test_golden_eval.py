"""The whole of `dola eval` on real weights, against what the released scripts wrote for the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

import dola as package
from dola.cli.main import dola
from real_models import smollm2  # noqa: F401

pytestmark = [pytest.mark.weights, pytest.mark.slow]

FOLDERS = {"gsm8k": "gsm8k", "strqa": "strategyqa", "tfqa": "truthfulqa"}
MODES = ("baseline", "dola_low")


@pytest.mark.parametrize("task", FOLDERS)
def test_a_benchmark_comes_to_what_the_released_script_wrote(
    task: str,
    shared: Path,
    smollm2: package.LanguageModel,  # noqa: F811
    tmp_path: Path,
) -> None:
    golden = json.loads((shared / "golden" / f"{task}.json").read_text(encoding="utf-8"))
    meta, output = golden["meta"], tmp_path / "o.json"
    rows = len(meta["indices"])
    assert meta["indices"] == list(range(rows))
    command = ["eval", task, "--data-path", str(shared / "data" / FOLDERS[task])]
    command += ["--prompts", str(shared / "data" / "prompts"), "--limit", str(rows), "--device", "cpu"]
    command += ["--max-new-tokens", str(meta["modes"]["baseline"]["kwargs"]["max_new_tokens"])]
    command += [] if task == "tfqa" else ["--extraction", "released"]
    for mode in MODES:
        command += ["--early-exit-layers", meta["modes"][mode]["early_exit_layers"]]
    with mock.patch("dola.runs.model.NamedModel.load", return_value=smollm2):
        result = CliRunner().invoke(dola, [*command, "--output-path", str(output)])
    assert result.exit_code == 0, result.output
    strategies = json.loads(output.read_text())["dola"]["strategies"]
    for mode, strategy in zip(MODES, strategies, strict=True):
        released, expected = strategy["released"], golden["results"][mode]
        assert released["model_completion"] == [each["script_completion"] for each in expected["per_item"]]
        if task != "tfqa":
            assert released["model_answer"] == [each["model_answer"] for each in expected["per_item"]]
            assert released["is_correct"] == [each["is_correct"] for each in expected["per_item"]]
        chosen = expected["premature_layer_dist"]
        assert strategy["layers"] == (chosen and {layer: count for layer, count in chosen.items() if count})
