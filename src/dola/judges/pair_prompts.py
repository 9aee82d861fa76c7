"""What a judge of two answers is told: the texts are read from FastChat's files, their filling is here.

Two forms, each one JSON object a line (texts made up):

* `scores`, the review that the paper used. The reviewer of the question's category, else the first, names the
  prompt; the judge gives both answers a score on its first line. Of several turns it sees all at once.

      {"prompt_id": 1, "system_prompt": "...", "prompt_template": "{question} {answer_1} {answer_2} {prompt}",
       "defaults": {"prompt": "Score both."}, "category": "general"}
      {"reviewer_id": "r", "prompt_id": 1, "category": "general",
       "metadata": {"temperature": 0.2, "max_tokens": 1024}}

* `verdict`, the pair judgement of MT-bench: `pair-v2`, and where there are reference answers `pair-math-v1`
  for the categories that need them, both with `-multi-turn` for a second turn. The judge ends with [[A]],
  [[B]] or [[C]].

      {"name": "pair-v2", "type": "pairwise", "system_prompt": "...", "output_format": "[[A]]",
       "prompt_template": "{question} {answer_a} {answer_b}"}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from dola.errors import DataError
from dola.judges.pair_files import Answer, Question, json_lines

Form = Literal["scores", "verdict"]

# FastChat's: the categories that a judge is shown a reference answer for.
REFERENCED = frozenset({"math", "reasoning", "coding", "arena-hard-200"})

Message = dict[str, str]


@dataclass(frozen=True)
class PairPrompt:
    """One prompt with the settings that it is asked with.

    Attributes:
        reviewer: the reviewer's row in its file from 1, which is FastChat's `reviewer_id`; 0 where none is.
        turn: which of the user's turns is judged, from 1.
        whole: the template has one place for a question and one for each answer, and all turns go into them.
    """

    name: str
    path: Path = field(repr=False)
    system: str = field(repr=False)
    template: str = field(repr=False)
    defaults: Mapping[str, str] = field(repr=False, default_factory=dict)
    temperature: float = 0.0
    max_tokens: int = 2048
    reviewer: int = 0
    turn: int = 1
    whole: bool = False

    def messages(
        self, question: Question, first: Answer, second: Answer, reference: Answer | None = None
    ) -> tuple[Message, ...]:
        """The conversation that shows the judge `first` and then `second`.

        Raises:
            DataError: the template names something that there is not.
        """
        shown = {"question": question.turns[0], **dict(self.defaults)}
        for name, texts in (
            ("question", question.turns),
            ("ref_answer", reference.turns if reference else ()),
        ):
            shown |= {f"{name}_{turn}": text for turn, text in enumerate(texts, start=1)}
        for letter, answer in (("a", first), ("b", second)):
            shown |= {f"answer_{letter}_{turn}": text for turn, text in enumerate(answer.turns, start=1)}
        shown |= {"answer_1": first.turns[0], "answer_2": second.turns[0]}
        shown |= {"answer_a": first.turns[0], "answer_b": second.turns[0]}
        if self.whole and len(question.turns) > 1:
            asked = len(question.turns)
            shown |= {"question": _in_turns(question.turns)}
            shown |= {f"answer_{name}": _in_turns(first.turns[:asked]) for name in ("1", "a")}
            shown |= {f"answer_{name}": _in_turns(second.turns[:asked]) for name in ("2", "b")}
        try:
            text = self.template.format_map(shown)
        except (AttributeError, IndexError, KeyError, ValueError) as error:
            raise DataError(
                f"the template of {self.name!r} asks for {error}, which question_id {question.id!r} has not;"
                f" it may name {', '.join(sorted(shown))}",
                path=self.path,
            ) from None
        return ({"role": "system", "content": self.system}, {"role": "user", "content": text})


class PairPrompts(Protocol):
    """The prompts of one form, one for each category."""

    @property
    def form(self) -> Form: ...

    def for_question(self, question: Question, *, referenced: bool) -> tuple[PairPrompt, ...]:
        """The prompt for each turn that is judged; `referenced`: a reference answer is there."""


@dataclass(frozen=True)
class ReviewPrompts:
    """The FastChat review: each reviewer's category and prompt."""

    reviewers: tuple[tuple[str, PairPrompt], ...]
    form: Form = "scores"

    def for_question(self, question: Question, *, referenced: bool) -> tuple[PairPrompt, ...]:  # noqa: ARG002
        named = (prompt for category, prompt in self.reviewers if category == question.category)
        return (next(named, self.reviewers[0][1]),)


@dataclass(frozen=True)
class VerdictPrompts:
    """The pair judgement: prompts by name."""

    prompts: Mapping[str, PairPrompt]
    path: Path
    form: Form = "verdict"

    def for_question(self, question: Question, *, referenced: bool) -> tuple[PairPrompt, ...]:
        """
        Raises:
            DataError: the file lacks a prompt that the question needs.
        """
        base = "pair-math-v1" if referenced and question.category in REFERENCED else "pair-v2"
        names = (base, f"{base}-multi-turn") if len(question.turns) > 1 else (base,)
        missing = [name for name in names if name not in self.prompts]
        if missing:
            raise DataError(
                f"question_id {question.id!r} is to be judged with {missing[0]!r}, and there is no such"
                f" pairwise prompt; found {', '.join(self.prompts)}",
                path=self.path,
            )
        return tuple(self.prompts[name] for name in names)


def read_prompts(path: Path, reviewers: Path | None = None) -> PairPrompts:
    """The prompts of a file in either form; the review needs its reviewers too.

    Raises:
        DataError: not readable, in neither form, or reviewers missing or naming a prompt that is not there.
    """
    rows = list(json_lines(path))
    if rows and all("prompt_id" in row for _, row in rows):
        if reviewers is None:
            raise DataError(
                "is of the FastChat review, which needs reviewers too: name their file with --reviewer-file",
                path=path,
            )
        return _review(path, rows, reviewers)
    pairwise = [(line, row) for line, row in rows if row.get("type") == "pairwise"]
    if not pairwise:
        raise DataError(
            "expected FastChat's review prompts (with prompt_id) or its judge prompts of type pairwise",
            path=path,
        )
    prompts = (_verdict_prompt(path, line, row) for line, row in pairwise)
    return VerdictPrompts({prompt.name: prompt for prompt in prompts}, path)


def _in_turns(texts: Sequence[str]) -> str:
    """The texts of several turns as one."""
    return "\n\n".join(f"Turn {number}: {text}" for number, text in enumerate(texts, start=1))


def _review(path: Path, rows: Sequence[tuple[int, dict[str, Any]]], reviewer_path: Path) -> ReviewPrompts:
    prompts = {str(row["prompt_id"]): _prompt(path, line, row, str(row["prompt_id"])) for line, row in rows}
    reviewers: list[tuple[str, PairPrompt]] = []
    for line, row in json_lines(reviewer_path):
        prompt = prompts.get(str(row.get("prompt_id")))
        if prompt is None:
            raise DataError(
                f"names prompt_id {row.get('prompt_id')!r}, and {path} has {', '.join(prompts)}",
                path=reviewer_path,
                line=line,
            )
        settings = row.get("metadata")
        settings = settings if isinstance(settings, dict) else {}
        reviewer = replace(
            prompt,
            name=str(row.get("reviewer_id", prompt.name)),
            temperature=_number(settings, "temperature", 0.2, reviewer_path, line),
            max_tokens=int(_number(settings, "max_tokens", 1024, reviewer_path, line)),
            reviewer=len(reviewers) + 1,
            whole=True,
        )
        reviewers.append((str(row.get("category", "")), reviewer))
    if not reviewers:
        raise DataError("expected reviewers, one JSON object a line; the file is empty", path=reviewer_path)
    return ReviewPrompts(tuple(reviewers))


def _verdict_prompt(path: Path, line: int, row: Mapping[str, Any]) -> PairPrompt:
    if row.get("output_format") != "[[A]]":
        raise DataError(
            f"expected '[[A]]', found {row.get('output_format')!r}",
            path=path,
            line=line,
            column="output_format",
        )
    return _prompt(path, line, row, str(row.get("name")))


def _prompt(path: Path, line: int, row: Mapping[str, Any], name: str) -> PairPrompt:
    for key in ("system_prompt", "prompt_template"):
        if not isinstance(row.get(key), str):
            raise DataError(f"expected a text, found {row.get(key)!r}", path=path, line=line, column=key)
    defaults = row.get("defaults", {})
    if not isinstance(defaults, dict) or not all(isinstance(text, str) for text in defaults.values()):
        raise DataError("expected an object of texts", path=path, line=line, column="defaults")
    return PairPrompt(
        name=name,
        path=path,
        system=row["system_prompt"],
        template=row["prompt_template"],
        defaults=defaults,
        turn=2 if name.endswith("-multi-turn") else 1,
    )


def _number(row: Mapping[str, Any], key: str, otherwise: float, path: Path, line: int) -> float:
    value = row.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise DataError(f"expected a number of at least 0, found {value!r}", path=path, line=line, column=key)
    return value
