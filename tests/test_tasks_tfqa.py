"""TruthfulQA, open-ended: the prompt, the released output and cleaning; what is true, no rule here says."""

from __future__ import annotations

from pathlib import Path

import pytest

from dola.errors import DataError
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa import TfqaOpen
from dola.tasks.tfqa_mc import TruthfulQAMC
from released_generation import before_stop, golden_runs, prompt_sha256

DATA = Path(__file__).parent / "data"
TASK = TfqaOpen(load_demonstrations("tfqa", DATA / "prompts"))
CHOICE = TruthfulQAMC(TASK.demonstrations)


def test_questions_and_prompts_are_those_of_the_multiple_choice_task() -> None:
    data, choices = TASK.load(DATA / "truthfulqa"), CHOICE.load(DATA / "truthfulqa")
    assert (data.sha256, data.source, data.path) == (choices.sha256, choices.source, choices.path)
    assert [TASK.prompt(each) for each in data.examples] == [
        CHOICE.request(each).prompt for each in choices.examples
    ]
    assert [TASK.describe(each)["group"] for each in data.examples] == [
        CHOICE.describe(each)["group"] for each in choices.examples
    ]
    assert all(each.best for each in data.examples)


def test_the_versions_are_told_apart() -> None:
    assert len(TASK.load(DATA / "truthfulqa", version="2025").examples) == 3
    with pytest.raises(DataError, match="--data-version paper"):
        TASK.load(DATA / "truthfulqa" / "TruthfulQA.csv", version="2025")


def test_the_output_is_the_released_one() -> None:
    examples = TASK.load(DATA / "truthfulqa").examples
    raws = [f" Answer {example.index}.\n\nQ:" for example in examples]
    texts = [before_stop(raw, TASK.stop) for raw in raws]
    completions = [TASK.completion(raw, text) for raw, text in zip(raws, texts, strict=True)]
    judged = [TASK.judge(*each) for each in zip(examples, raws, texts, strict=True)]
    assert TASK.released_json(examples, completions, judged) == {
        "question": [example.question for example in examples],
        "model_completion": [f"Answer {example.index}." for example in examples],
    }
    assert all(one.answer == one.released and not one.measures and not one.retry for one in judged)


def test_a_stop_text_that_the_script_overlooks_is_left_in_its_completion_alone() -> None:
    (example, *_) = TASK.load(DATA / "truthfulqa").examples
    raw = " None.\n\nQ: What"
    one = TASK.judge(example, raw, before_stop(raw, TASK.stop))
    assert (one.answer, one.released) == ("None.", "None.\n\nQ: What")


def test_prompts_and_completions_are_those_of_the_released_script(shared: Path) -> None:
    task = TfqaOpen(load_demonstrations("tfqa", shared / "data" / "prompts"))
    examples = task.load(shared / "data" / "truthfulqa").examples
    assert len(examples) == 817
    for item, run in golden_runs(shared, "tfqa"):
        example = examples[item["index"]]
        assert prompt_sha256(task.prompt(example)) == item["prompt_text_sha256"]
        text = before_stop(run["text"], task.stop)
        assert task.completion(run["text"], text) == run["script_completion"]
        assert task.judge(example, run["text"], text).released == run["script_completion"]
