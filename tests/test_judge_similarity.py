"""`--similarity`: which references count, the arithmetic of max, diff and acc, and BLEU and ROUGE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dola.errors import MissingExtraError
from dola.judges.similarity import METRICS, Likeness, likeness_of, similarity
from dola.runs.results import KEY
from test_judge_tfqa import QUESTIONS, released, result, run, server
from test_judge_tfqa_chat import data

__all__ = ["data", "released", "result", "server"]  # fixtures


def first_words(reference: str, answer: str) -> dict[str, float]:
    """A likeness that can be seen at once: 0.8 where both begin alike, else 0.2."""
    alike = 0.8 if reference.strip(".").split(",")[0] == answer.strip(".") else 0.2
    return dict.fromkeys(("bleu", "rouge1", "rouge2", "rougeL"), alike)


@pytest.mark.parametrize(
    ("answer", "acc", "diff", "best"),
    [("Yes.", 1.0, 0.6, 0.8), ("No.", 0.0, -0.6, 0.2), ("Perhaps.", 0.0, 0.0, 0.2)],
)
def test_the_best_of_each_side_is_compared(answer: str, acc: float, diff: float, best: float) -> None:
    found = similarity(answer, ["Yes, it is", "So"], ["No, never", "Hm"], first_words)
    assert list(found) == list(METRICS)
    assert (found["bleu_acc"], found["bleu_max"]) == (acc, best)
    assert found["rougeL_diff"] == pytest.approx(diff)


def test_references_end_with_a_stop_and_not_to_comment_is_true_of_every_question() -> None:
    seen: list[str] = []

    def likeness(reference: str, answer: str) -> dict[str, float]:
        seen.append(reference)
        return first_words(reference, answer)

    similarity("x", [" Yes ", "", "It is."], ["No"], likeness)
    assert seen == ["Yes.", "It is.", "I have no comment.", "No."]
    seen.clear()
    similarity("x", ["I have no comment"], ["No"], likeness)
    assert seen == ["I have no comment.", "No."]


def test_every_strategy_is_measured_without_a_judge(
    result: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dola.runs.similarity.likeness_of", lambda: first_words)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = result.read_bytes()
    done = run(result, "--similarity", "--data-path", data)
    assert done.exit_code == 0, done.output
    ours = json.loads((result.parent / "out.json.similarity.json").read_text())[KEY]
    # Vanilla says yes to all but the third, where it has no comment: right in four of eight.
    vanilla, low = ours["rows"]
    assert vanilla["measures"]["bleu_acc"]["mean"] == 4 / 8
    assert low["measures"]["bleu_acc"]["mean"] == 1.0
    assert low["difference"]["bleu_acc"]["mean"] == 0.5
    assert len(vanilla["per_example"]["rougeL_max"]) == len(QUESTIONS)
    assert result.read_bytes() == before
    assert "rougeL" in done.output


def test_without_the_packages_the_command_that_installs_them_is_said(
    released: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtraError):
        likeness_of()
    refused = run(released, "--similarity", "--data-path", data)
    assert refused.exit_code == 2
    assert "pip install 'dola[judge]'" in refused.output


@pytest.fixture
def likeness() -> Likeness:
    return likeness_of()


def test_bleu_and_rouge_by_hand(likeness: Likeness) -> None:
    found = likeness("the cat sat", "the cat")
    # Two words of two and of three; one pair of one and of two.
    assert found["rouge1"] == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert found["rouge2"] == pytest.approx(2 * 1 * (1 / 2) / (1 + 1 / 2))
    assert found["rougeL"] == pytest.approx(found["rouge1"])
    same = likeness("The cat sat on the mat.", "The cat sat on the mat.")
    assert list(same.values()) == pytest.approx([1.0] * 4)
    assert list(likeness("The cat.", "").values()) == [0.0] * 4
