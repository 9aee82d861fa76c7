"""The few-shot prompts: the examples are benchmark data and read from elsewhere, how they are joined is here.

One prompt file, as JSON (`tfqa.json`, `gsm8k.json`, `strqa.json`; a made-up example, `chain` and
`instruction` only where a task has them):

    {"instruction": "Answer truthfully.", "question": ["Is ice cold?"], "answer": ["Yes, ice is cold."]}
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dola.errors import DataError
from dola.tasks.fetch import Progress, fetch, told_to_log
from dola.tasks.json_text import json_of
from dola.tasks.released_script import read_demonstrations
from dola.tasks.sources import PROMPT_SCRIPTS
from dola.tasks.text_files import bytes_of, text_of, unfit

PromptName = Literal["tfqa", "gsm8k", "strqa"]

ENVIRONMENT = "DOLA_PROMPTS"


@dataclass(frozen=True)
class Demonstrations:
    """The worked examples before a question.

    Attributes:
        chains: the reasoning before each answer, or None for a task without.
        instruction: the line above them, or None.
        source: where they were read from, in words for a report.
    """

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    chains: tuple[str, ...] | None
    instruction: str | None
    source: str

    @property
    def sha256(self) -> str:
        """Of what is in them, whatever file and form it came in."""
        content = [self.instruction, self.questions, self.chains, self.answers]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def load_demonstrations(
    name: PromptName, path: Path | None = None, *, progress: Progress = told_to_log
) -> Demonstrations:
    """The demonstrations of a task: from `path`, else from where DOLA_PROMPTS says, else out of the released
    script, fetched on first use.

    `path` is a file, or a folder with `<name>.json` in it; a released script in place of the JSON will do.

    Raises:
        DataError: no such file, one in another form, or a failed download.
    """
    if path is None and os.environ.get(ENVIRONMENT):
        path = Path(os.environ[ENVIRONMENT]).expanduser()
    if path is None:
        script = PROMPT_SCRIPTS[name]
        return _of_script(fetch(script, option="--prompts", progress=progress), script.url)
    file = _file_in(path, name) if path.is_dir() else path
    return _of_script(file, str(file)) if file.suffix == ".py" else _of_json(file)


def few_shot_prompt(demonstrations: Demonstrations, question: str, *, conclusion: str = "") -> str:
    """`instruction`, the worked examples, and the question, up to where its answer is to start.

    `conclusion` leads from a chain of reasoning to the answer ("The answer is"); unused without chains.
    """
    answers = demonstrations.answers
    if demonstrations.chains is not None:
        pairs = zip(demonstrations.chains, answers, strict=True)
        answers = tuple(f"{chain} {conclusion} {answer}." for chain, answer in pairs)
    shots = (f"Q: {q}\nA: {a}\n\n" for q, a in zip(demonstrations.questions, answers, strict=True))
    head = f"{demonstrations.instruction}\n\n" if demonstrations.instruction else ""
    return f"{head}{''.join(shots)}Q: {question}\nA:"


def shuffled(demonstrations: Demonstrations, seed: str) -> Demonstrations:
    """The same worked examples in an order that the seed decides."""
    order = list(range(len(demonstrations.questions)))
    random.Random(seed).shuffle(order)
    chains = demonstrations.chains
    return replace(
        demonstrations,
        questions=tuple(demonstrations.questions[at] for at in order),
        answers=tuple(demonstrations.answers[at] for at in order),
        chains=None if chains is None else tuple(chains[at] for at in order),
    )


def _file_in(folder: Path, name: PromptName) -> Path:
    script = PROMPT_SCRIPTS[name].path.name
    for candidate in (folder / f"{name}.json", folder / script):
        if candidate.is_file():
            return candidate
    raise DataError(f"expected {name}.json (or the released script {script}) in this folder", path=folder)


def _text_of(path: Path) -> str:
    names = ", ".join(f"{name}.json" for name in get_args(PromptName))
    return text_of(bytes_of(path, f"one of {names}, or their folder"), path)


def _of_script(path: Path, source: str) -> Demonstrations:
    return _checked(read_demonstrations(_text_of(path), path), path, source)


def _of_json(path: Path) -> Demonstrations:
    found = json_of(_text_of(path), path)
    if not isinstance(found, dict):
        raise DataError("expected a JSON object with 'question' and 'answer' lists", path=path)
    return _checked(found, path, str(path))


def _checked(found: dict[str, Any], path: Path, source: str) -> Demonstrations:
    """The object as demonstrations, once every list is one of texts and all are as long."""
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("question", "answer", "chain"):
        if key == "chain" and key not in found:
            continue
        texts = found.get(key)
        if not isinstance(texts, list) or not texts:
            raise DataError("expected a list of texts, at least one", path=path, column=key)
        for number, text in enumerate(texts, 1):
            wrong = unfit(text) if isinstance(text, str) else f"expected a text, found {str(text)[:40]!r}"
            if wrong:
                raise DataError(f"expected a list of texts, entry {number}: {wrong}", path=path, column=key)
        lists[key] = tuple(texts)
    if len({len(texts) for texts in lists.values()}) > 1:
        lengths = ", ".join(f"{len(texts)} in {key!r}" for key, texts in lists.items())
        raise DataError(f"expected as many in each list, found {lengths}", path=path)
    instruction = found.get("instruction")
    if instruction is not None and not isinstance(instruction, str):
        raise DataError("expected a text", path=path, column="instruction")
    return Demonstrations(lists["question"], lists["answer"], lists.get("chain"), instruction or None, source)
