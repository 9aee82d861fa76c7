"""What a run is: its rows, its variants, the identity of its model, its manifest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dola.errors import RunError
from dola.models.aliases import ALIASES
from dola.runs.fingerprint import model_identity, texts_digest
from dola.runs.plan import RunConfig, Selection, make_plan
from dola.runs.variants import line_up
from dola.strategies import DoLa, Vanilla
from dola.tasks.factor import Factor
from dola.tasks.subset import Shard

DATA = Path(__file__).parent / "data" / "factor" / "expert_factor.csv"
LOW = DoLa((0, 2), alpha=0.0)


def plan(**changes: object):
    config = RunConfig("model", "float32", ("-1",), **changes)
    return make_plan(Factor(), Factor().load(DATA), config)


def test_runs_and_reports_import_no_torch() -> None:
    code = (
        "import dola.runs.execute, dola.runs.generating, dola.runs.merge, dola.runs.tune, sys;"
        "import dola.reports.page, dola.reports.text;"
        "sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)}
        ).returncode
        == 0
    )


def test_shards_hold_every_row_once() -> None:
    rows = [example.index for example in plan().examples]
    for total in range(1, len(rows) + 1):
        parts = [plan(selection=Selection(Shard(number, total))).examples for number in range(total)]
        assert [example.index for part in parts for example in part] == rows


def test_another_prefix_column_is_another_run() -> None:
    config = RunConfig("model", "float32", ("-1",))
    other = make_plan(Factor("full_prefix"), Factor("full_prefix").load(DATA), config)
    assert other.manifest["requests_sha256"] != plan().manifest["requests_sha256"]
    assert other.manifest["data_sha256"] == plan().manifest["data_sha256"]


def test_a_selection_without_rows_is_refused() -> None:
    with pytest.raises(RunError, match="rows is left"):
        plan(selection=Selection(limit=0))


def test_digests_know_where_a_text_ends() -> None:
    assert texts_digest([("ab", "c")]) != texts_digest([("a", "bc")])
    assert texts_digest([("a",), ("b",)]) != texts_digest([("a", "b")])


def test_a_strategy_given_twice_is_scored_and_shown_once() -> None:
    lineup = line_up([("one", LOW), ("vanilla", Vanilla()), ("two", LOW)], variants=False)
    assert [row.label for row in lineup.rows] == ["one", "vanilla"]
    assert lineup.scored == (LOW, Vanilla())


def test_a_variant_that_is_asked_for_itself_is_not_scored_again() -> None:
    renormalised = DoLa((0, 2), alpha=0.0, post_softmax=True)
    lineup = line_up([("plain", LOW), ("renormalised", renormalised)])
    assert lineup.scored == (LOW, renormalised)
    labels = [row.label for row in lineup.rows]
    assert labels[:2] == ["plain", "renormalised"]
    assert "renormalised · no post_softmax" in labels


def test_vanilla_has_no_post_softmax_variant() -> None:
    assert [row.label for row in line_up([("vanilla", Vanilla())]).rows] == ["vanilla", "vanilla · per token"]


def test_a_models_identity_is_its_weights_configuration_and_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": 2}))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(10_000_000))
    first = model_identity(str(tmp_path))
    (tmp_path / "README.md").write_text("says nothing about scores")
    assert model_identity(str(tmp_path)) == first
    seen = {first}
    for change in (b"\1" * 10_000_000, bytes(9_999_999)):
        weights.write_bytes(change)
        seen.add(model_identity(str(tmp_path)))
    (tmp_path / "tokenizer.json").write_text("{}")
    seen.add(model_identity(str(tmp_path)))
    (tmp_path / "config.json").write_text("{}")
    seen.add(model_identity(str(tmp_path)))
    assert len(seen) == 5


@pytest.mark.parametrize(
    "name",
    [
        *("generation_config.json", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"),
        *("chat_template.jinja", "chat_template.json", "additional_chat_templates/tools.jinja"),
        *("tokenizer.model", "vocab.txt", "vocab.json", "merges.txt", "model.safetensors.index.json"),
        *("adapter_config.json", "adapter_model.safetensors", "pytorch_model.bin", "modeling_own.py"),
    ],
)
def test_whatever_the_host_reads_of_a_folder_is_a_part_of_the_identity(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    seen = [model_identity(str(tmp_path))]
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    for content in ("{}", "{ }", "[]"):
        file.write_text(content)
        seen.append(model_identity(str(tmp_path)))
    assert len(set(seen)) == 4
    file.unlink()
    assert model_identity(str(tmp_path)) == seen[0]


def test_results_that_lie_beside_a_model_are_no_part_of_its_identity(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = model_identity(str(tmp_path))
    for name in ("out.json", "out.json.records.jsonl", "README.md", "loss.png"):
        (tmp_path / name).write_text("{}")
    assert model_identity(str(tmp_path)) == before


def test_an_embedded_model_is_its_pinned_sum() -> None:
    assert model_identity("smollm2") == f"sha256 {ALIASES['smollm2'].sha256}"
