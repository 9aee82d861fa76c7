"""What needs a real tokenizer: the golden token ids, and the figures of a scorer that only counts tokens."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import dola
from dola.tasks.controls import controls
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC
from real_models import smollm2  # noqa: F401

pytestmark = [pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module")
def task(shared: Path) -> TruthfulQAMC:
    return TruthfulQAMC(load_demonstrations("tfqa", shared / "data" / "prompts"))


def test_the_texts_have_the_golden_token_ids(
    task: TruthfulQAMC,
    smollm2: dola.LanguageModel,  # noqa: F811
    shared: Path,
) -> None:
    golden = json.loads((shared / "golden" / "tfqa_mc.json").read_text(encoding="utf-8"))
    examples = task.load(shared / "data" / "truthfulqa").examples
    for question in golden["questions"]:
        request = task.request(examples[question["index"]])
        assert len(smollm2.tokenizer(request.prompt)["input_ids"]) == question["n_prefix_tokens"]
        for continuation, digest in zip(request.continuations, question["ids_sha256"], strict=True):
            ids = smollm2.tokenizer(request.prompt + continuation)["input_ids"]
            assert hashlib.sha256(json.dumps(ids).encode()).hexdigest().startswith(digest)


def test_a_scorer_that_only_counts_tokens_has_the_figures_of_the_issue(
    task: TruthfulQAMC,
    smollm2: dola.LanguageModel,  # noqa: F811
    shared: Path,
) -> None:
    examples = task.load(shared / "data" / "truthfulqa").examples
    lengths = [
        [len(ids) for ids in smollm2.tokenizer(list(task.request(each).continuations))["input_ids"]]
        for each in examples
    ]
    row = controls(task, examples, lengths, draws=2)[0]
    figures = [round(100 * row.means[metric], 1) for metric in task.metrics]
    assert figures == [26.8, 63.9, 28.0]
