"""`judge.json`: what a trained judge is, was made from, and was measured at. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dola.errors import DataError

Kind = Literal["truth", "info"]

FORMAT = 1
FILENAME = "judge.json"
KINDS: tuple[Kind, ...] = ("truth", "info")
YES, NO = " yes", " no"
# The released judges' question, which the released data is written in.
FORMS: dict[Kind, str] = {
    "truth": "Q: {question}\nA: {answer}\nTrue:",
    "info": "Q: {question}\nA: {answer}\nHelpful:",
}


def judge_prompt(kind: Kind, question: str, answer: str) -> str:
    """What the judge is asked; it answers " yes" or " no"."""
    return FORMS[kind].format(question=question, answer=answer)


@dataclass(frozen=True)
class JudgeCard:
    """A judge that was trained here.

    Attributes:
        kind: what it judges.
        base_model: the model that the adapter goes on: an alias, a hub id or a folder.
        identity: which weights that was, by their content.
        dtype: of the base model's weights in training and when the figures were taken.
        yes_token, no_token: token ids that the answers begin with.
        threshold: P(" yes") from which on the answer is yes.
        data: the file's name, SHA-256 and counts.
        split: seed, share, and how many questions and examples are on each side.
        settings: of the training.
        held_out: the figures on the held-out questions, the baselines' beside them.
        made_by: versions of the programs.
        seconds: of training alone.
    """

    kind: Kind
    base_model: str
    identity: str
    dtype: str
    yes_token: int
    no_token: int
    threshold: float
    data: dict[str, Any]
    split: dict[str, Any]
    settings: dict[str, Any]
    held_out: dict[str, Any]
    made_by: dict[str, str]
    seconds: float

    def write(self, folder: Path) -> None:
        """Put it into the folder, whole or not at all."""
        partial = folder / f".{FILENAME}"
        content = {"format": FORMAT, "form": FORMS[self.kind], **asdict(self)}
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(folder / FILENAME)


def is_judge(folder: Path) -> bool:
    """Whether `dola judge train` made this folder, and came to its end."""
    return (folder / FILENAME).is_file()


def read_card(folder: Path) -> JudgeCard:
    """The card of a judge's folder.

    Raises:
        DataError: no such file, or not one that `dola judge train` wrote.
    """
    path = folder / FILENAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file: expected a folder that `dola judge train` made", path=path) from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error}): train the judge again", path=path) from None
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        raise DataError(f"expected a judge's card of format {FORMAT}, found {found!r}", path=path)
    content.pop("form", None)
    try:
        card = JudgeCard(**content)
    except TypeError as error:
        raise DataError(f"not a judge's card ({error}): train the judge again", path=path) from None
    if card.kind not in KINDS:
        raise DataError(f"expected a truth or an info judge, found {card.kind!r}", path=path)
    return card
