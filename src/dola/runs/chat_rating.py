"""A chat model as a judge of truth and information: it is shown the benchmark's reference answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dola.errors import DataError
from dola.judges.card import Kind
from dola.judges.chat_truth import MAX_TOKENS, References, read_yes_or_no, truth_messages
from dola.judges.dialect import ROOM_TO_THINK
from dola.runs.chat_judges import ChatCall, ChatJudge
from dola.runs.verdicts import Asked, Verdict, Verdicts
from dola.tasks.truthfulqa import read_truthfulqa


@dataclass(frozen=True)
class ChatTruthJudge:
    """A judge of one kind; `chat` is who replies, `references` the benchmark's by question; `longest`: the
    tokens that a reply may have with its thought."""

    kind: Kind
    chat: ChatJudge
    references: Mapping[str, References] = field(repr=False)
    longest: int | None = None

    @property
    def name(self) -> str:
        return self.chat.name

    @property
    def version(self) -> int:
        """The chat judge's: all that is asked beside stands in the conversation."""
        return self.chat.version

    @property
    def longest_reply(self) -> int:
        return self.longest or ROOM_TO_THINK

    def prepare(self) -> None:
        self.chat.prepare()

    def asked(self, question: str, answer: str) -> Asked:
        references = self.references.get(question.strip(), References())
        return self.chat.asked(self._call(truth_messages(self.kind, question, answer, references)))

    def answer(
        self, left: Sequence[Asked], verdicts: Verdicts, on_verdict: Callable[[Verdict], None]
    ) -> None:
        if left:
            calls = [self._call(tuple(json.loads(one.prompt))) for one in left]
            self.chat.reply(
                calls, verdicts, on_verdict, readable=lambda reply: self.probability(reply) is not None
            )

    def _call(self, messages: tuple[Mapping[str, str], ...]) -> ChatCall:
        return ChatCall(messages, temperature=0.0, max_tokens=MAX_TOKENS, longest=self.longest)

    def probability(self, reply: Any) -> float | None:
        yes = read_yes_or_no(reply) if isinstance(reply, str) else None
        return None if yes is None else float(yes)


def read_references(
    questions: Sequence[str], data_path: Path | None, *, version: str | None = None
) -> dict[str, References]:
    """The reference answers to these questions.

    Raises:
        DataError: malformed data, or a question that is not in it.
    """
    table, _ = read_truthfulqa(data_path, version=version)
    found = {
        row.text("Question").strip(): References(
            _answers(row.text("Correct Answers")), _answers(row.text("Incorrect Answers"))
        )
        for row in table.rows
    }
    missing = [question for question in questions if question.strip() not in found]
    if missing:
        raise DataError(
            f"has no reference answers to {len(missing)} of {len(questions)} questions, the first"
            f" {missing[0][:80]!r}: expected the TruthfulQA.csv that was answered (--data-path,"
            " --data-version)",
            path=table.path,
        )
    return found


def _answers(cell: str) -> tuple[str, ...]:
    return tuple(answer.strip() for answer in cell.split(";") if answer.strip())
