"""A trained judge and what it must beat, on the same held-out questions, as `judge.json` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dola.judges.accuracy import agreements
from dola.judges.baselines import bag_of_words, majority
from dola.judges.training_data import JudgeExample, Split, questions_of

JUDGE = "this judge"
MAJORITY = "majority class"
BAG = "bag of words"
BAG_OF_ALL = "bag of words, all training examples"


def held_out_figures(
    verdicts: Sequence[bool],
    held_out: Sequence[JudgeExample],
    train: Sequence[JudgeExample],
    split: Split,
    *,
    seed: int,
) -> dict[str, Any]:
    """The judge's verdicts on `held_out` beside the baselines', each trained on `train` as the judge was.

    Where the judge saw only some of the training side, one more bag of words has seen all of it: it takes
    seconds, so it is what the time could have bought instead.
    """
    rows: dict[str, Sequence[bool]] = {
        JUDGE: verdicts,
        MAJORITY: majority(train, held_out),
        BAG: bag_of_words(train, held_out),
    }
    if len(train) < len(split.train):
        rows[BAG_OF_ALL] = bag_of_words(split.train, held_out)
    people, questions = [example.yes for example in held_out], questions_of(held_out)
    return {
        "examples": len(held_out),
        "questions": len(set(questions)),
        "people_say_yes": sum(people),
        "judges": [asdict(each) for each in agreements(rows, people, questions, seed=seed)],
    }


def split_figures(
    split: Split, train: Sequence[JudgeExample], held_out: Sequence[JudgeExample]
) -> dict[str, Any]:
    """How many questions and examples are on each side, and how many of them were used."""
    return {
        side: {
            "questions": len(set(questions_of(whole))),
            "examples": len(whole),
            "used_questions": len(set(questions_of(used))),
            "used_examples": len(used),
        }
        for side, whole, used in (("train", split.train, train), ("held_out", split.held_out, held_out))
    }
