"""What a judge must beat to be one: always the commoner answer, and a bag of words."""

from __future__ import annotations

from collections.abc import Sequence

from dola.errors import MissingExtraError
from dola.judges.training_data import JudgeExample


def majority(train: Sequence[JudgeExample], held_out: Sequence[JudgeExample]) -> list[bool]:
    """The training examples' commoner answer, whatever is asked."""
    yes = 2 * sum(example.yes for example in train) >= len(train)
    return [yes] * len(held_out)


def bag_of_words(train: Sequence[JudgeExample], held_out: Sequence[JudgeExample]) -> list[bool]:
    """Logistic regression on which words, and how often, stand in question and answer (scikit-learn's
    defaults).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise MissingExtraError("training a judge", "judge") from error
    labels = [example.yes for example in train]
    if len(set(labels)) < 2:
        return majority(train, held_out)
    # The default pattern drops words of one letter; an answer may be one.
    words = CountVectorizer(token_pattern=r"(?u)\b\w+\b")
    classifier = make_pipeline(words, LogisticRegression(max_iter=1_000))
    classifier.fit([example.prompt for example in train], labels)
    return [bool(yes) for yes in classifier.predict([example.prompt for example in held_out])]
