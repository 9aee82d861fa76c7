"""Judges on this machine: P(" yes") of the model's own distribution, whatever is judged beside it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from dola import LanguageModel
from dola.cli.main import dola
from dola.errors import JudgeError
from dola.judges.card import JudgeCard, judge_prompt
from dola.judges.local import LocalJudge, load_local_judge
from dola.models.placement import Placement
from dola.runs.judging import LocalModelJudge
from dola.runs.results import KEY
from tiny_language_model import byte_tokenizer
from tiny_models import tiny_model

PROMPTS = [judge_prompt("truth", "Why?" * length, "Because." * (4 - length)) for length in (1, 3, 2, 1, 4)]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([" yes", " no"])
    return LanguageModel(tiny_model("llama", vocab_size=len(tokenizer)), tokenizer, "tiny judge")


@pytest.fixture(scope="module")
def folder(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge")
    lm.model.save_pretrained(path)
    lm.tokenizer.save_pretrained(path)
    return path


def probability(lm: LanguageModel, prompt: str) -> float:
    """Of the first token of " yes", by one plain forward pass."""
    ids = lm.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = lm.model(ids).logits[0, -1].double()
    token = lm.tokenizer(" yes")["input_ids"][0]
    return float(logits.softmax(-1)[token])


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_batch_gives_every_prompt_what_it_gets_alone(lm: LanguageModel, batch_size: int) -> None:
    judge = LocalJudge(lm.model, lm.tokenizer)
    found = dict(judge.probabilities_of_yes(PROMPTS, batch_size=batch_size))
    assert [found[at] for at in range(len(PROMPTS))] == pytest.approx(
        [probability(lm, prompt) for prompt in PROMPTS], rel=1e-4
    )


def test_a_rating_on_this_machine_resumes_without_loading_the_judge(
    folder: Path, lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"question": ["Can pigs fly?"], "model_completion": ["No."]}))
    words = ["judge", "tfqa", str(answers), "--device", "cpu", "--local-truth", str(folder)]
    words += ["--local-info", str(folder)]
    done = CliRunner().invoke(dola, words)
    assert done.exit_code == 0, done.output
    rating = json.loads((tmp_path / "answers.json.rating.json").read_text())
    assert rating["judge_scores"] == pytest.approx(
        [probability(lm, "Q: Can pigs fly?\nA: No.\nTrue:")], rel=1e-4
    )
    assert rating["info_scores"] == pytest.approx(
        [probability(lm, "Q: Can pigs fly?\nA: No.\nHelpful:")], rel=1e-4
    )
    assert "local: sampled sha256" in rating[KEY]["judges"]["truth"]["asked"]
    monkeypatch.setattr("dola.judges.local.load_local_judge", _no_more)
    assert CliRunner().invoke(dola, words).exit_code == 0
    monkeypatch.undo()
    again = CliRunner().invoke(dola, [*words, "--dtype", "bfloat16", "--dry-run"])
    assert "1 calls, " in again.output  # of another dtype the verdicts are others


def _no_more(*_: object, **__: object) -> LocalJudge:
    raise AssertionError("loaded again")


def test_a_judge_of_the_other_kind_is_refused_before_anything_loads(tmp_path: Path) -> None:
    fields = dict.fromkeys(field.name for field in dataclasses.fields(JudgeCard))
    JudgeCard(**{**fields, "kind": "truth"}).write(tmp_path)
    with pytest.raises(JudgeError, match="give it as --local-truth"):
        load_local_judge(str(tmp_path), "info")
    with pytest.raises(JudgeError, match="give it as --local-truth"):
        LocalModelJudge("info", str(tmp_path), Placement("cpu")).prepare()
