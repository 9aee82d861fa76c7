"""A pairwise review from the matches to the judged matches: what is missing is asked for, nothing twice.

The review file is FastChat's: of a review one line for each order,

    {"review_id": "...", "question_id": 1, "answer1_id": "...", "answer2_id": "...", "reviewer_id": 1,
     "metadata": {}, "text": "8 9\\n...", "score": [8.0, 9.0]}

and of a pair judgement one line for both:

    {"question_id": 1, "model_1": "a", "model_2": "b", "g1_winner": "model_1", "g2_winner": "tie",
     "judge": ["gpt-4", "pair-v2"], "g1_user_prompt": "...", "g1_judgment": "...", ..., "turn": 1}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dola.errors import JudgeError
from dola.judges.pair_verdicts import read_reply
from dola.judges.pairwise import JudgedMatch, Match, Order, judged
from dola.judges.replies import was_cut
from dola.runs.chat_judges import ChatCall, ChatJudge, OnVerdict
from dola.runs.verdicts import Asked, Verdict, Verdicts, shown, unanswered

# FastChat's ids of reviews are 22 characters long.
_ID_LENGTH = 22
_MODELS = {"a": "model_1", "b": "model_2", "tie": "tie", None: "error"}


@dataclass(frozen=True)
class Review:
    """All matches, in these orders, before one judge."""

    matches: tuple[Match, ...]
    orders: tuple[Order, ...]
    judge: ChatJudge

    def asked(self) -> list[Asked]:
        """All that the judge is asked, each content once."""
        return list(self._calls())

    def missing(self, done: Mapping[str, Verdict], *, ask_malformed_again: bool = False) -> list[Asked]:
        """What has no reply yet; `ask_malformed_again`: or one that no verdict can be read from."""
        if not ask_malformed_again or not self.matches:
            return unanswered(self._calls(), done)
        readable = {
            key: verdict
            for key, verdict in done.items()
            if verdict.malformed is None and self._readable(verdict.reply)
        }
        return unanswered(self._calls(), readable)

    def run(
        self,
        verdicts: Verdicts,
        *,
        ask_malformed_again: bool = False,
        on_verdict: OnVerdict = lambda _: None,
    ) -> tuple[JudgedMatch, ...]:
        """Ask the judge for what is missing, and read what it said.

        Raises:
            JudgeError: it cannot be asked, or no verdict can be read from anything that it said; what it said
                is kept.
        """
        calls = self._calls()
        left = self.missing(verdicts.done, ask_malformed_again=ask_malformed_again)
        if left:
            self.judge.reply([calls[asked] for asked in left], verdicts, on_verdict, readable=self._readable)
        results = tuple(self._judged(match, verdicts.done) for match in self.matches)
        if results and not any(verdict.winner for result in results for verdict in result.verdicts.values()):
            raise self._nothing_judged(verdicts)
        return results

    def cut(self, done: Mapping[str, Verdict]) -> int:
        """How many of its replies were cut before their end."""
        return sum(was_cut(done[asked.key].malformed) for asked in self._calls())

    def lines(
        self, results: Iterable[JudgedMatch], done: Mapping[str, Verdict], labels: tuple[str, str]
    ) -> list[dict[str, Any]]:
        """The review file."""
        if self.matches and self.matches[0].form == "scores":
            return [self._review_line(result, order, done) for result in results for order in self.orders]
        return [self._pair_line(result, done, labels) for result in results]

    def _readable(self, reply: Any) -> bool:
        return isinstance(reply, str) and read_reply(self.matches[0].form, reply).winner is not None

    def _nothing_judged(self, verdicts: Verdicts) -> JudgeError:
        calls = self._calls()
        last = verdicts.done[next(reversed(calls)).key]
        remedy = "--max-tokens with more, and " if was_cut(last.malformed) else ""
        return JudgeError(
            f"{self.judge.name}: none of {len(calls)} replies holds a verdict, so there are no figures; one"
            f" of them is {shown(last)}. They are kept in {verdicts.path}: {remedy}--retry-failed asks for"
            " them again"
        )

    def _calls(self) -> dict[Asked, ChatCall]:
        calls = (_call(match, order) for match in self.matches for order in self.orders)
        return {self.judge.asked(call): call for call in calls}

    def _verdict(self, match: Match, order: Order, done: Mapping[str, Verdict]) -> Verdict:
        return done[self.judge.asked(_call(match, order)).key]

    def _judged(self, match: Match, done: Mapping[str, Verdict]) -> JudgedMatch:
        found = {order: self._verdict(match, order, done) for order in self.orders}
        return judged(match, {order: None if one.malformed else one.reply for order, one in found.items()})

    def _review_line(self, result: JudgedMatch, order: Order, done: Mapping[str, Verdict]) -> dict[str, Any]:
        match, scores = result.match, result.verdicts[order].scores
        verdict = self._verdict(match, order, done)
        first, second = (match.a, match.b) if order == "ab" else (match.b, match.a)
        return {
            "review_id": verdict.key[:_ID_LENGTH],
            "question_id": match.question.id,
            "answer1_id": first.id,
            "answer2_id": second.id,
            "reviewer_id": match.prompt.reviewer,
            "metadata": {},
            "text": _words(verdict),
            "score": [-1, -1] if scores is None else list(scores),
        }

    def _pair_line(
        self, result: JudgedMatch, done: Mapping[str, Verdict], labels: tuple[str, str]
    ) -> dict[str, Any]:
        match = result.match
        line: dict[str, Any] = {
            "question_id": match.question.id,
            "model_1": labels[0],
            "model_2": labels[1],
            "g1_winner": None,
            "g2_winner": None,
            "judge": [self.judge.name, match.prompt.name],
        }
        games: tuple[tuple[Order, str], ...] = (("ab", "g1"), ("ba", "g2"))
        for order, game in games:
            asked = order in result.verdicts
            line[f"{game}_winner"] = _MODELS[result.verdicts[order].for_side(order)] if asked else None
            line[f"{game}_user_prompt"] = match.messages(order)[-1]["content"] if asked else None
            line[f"{game}_judgment"] = _words(self._verdict(match, order, done)) if asked else None
        return {**line, "turn": match.prompt.turn}


def _words(verdict: Verdict) -> str:
    """What the judge said, or what came instead."""
    return verdict.malformed or "" if verdict.reply is None else str(verdict.reply)


def _call(match: Match, order: Order) -> ChatCall:
    prompt = match.prompt
    return ChatCall(match.messages(order), prompt.temperature, prompt.max_tokens, match.longest)
