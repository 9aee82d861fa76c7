"""A chat model on this machine as a judge: its template, its replies kept one by one, nothing asked twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from dola import LanguageModel
from dola.errors import ModelError
from dola.models.placement import Placement
from dola.runs.chat_judges import ChatCall, LocalChat
from dola.runs.verdicts import Verdict, open_verdicts, unanswered
from tiny_language_model import tiny_language_model

WITH_SYSTEM = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
WITHOUT_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + (WITH_SYSTEM)
)


def call(text: str, *, temperature: float = 0.0, max_tokens: int = 4) -> ChatCall:
    messages = ({"role": "system", "content": "Judge."}, {"role": "user", "content": text})
    return ChatCall(messages, temperature, max_tokens)


def model(template: str | None) -> LanguageModel:
    lm = tiny_language_model()
    lm.tokenizer.chat_template = template
    return lm


def judge(lm: LanguageModel, folder: Path) -> LocalChat:
    return LocalChat(str(folder), Placement("cpu"), lambda: lm)


CALLS = [call("Which?"), call("Which of these two?", max_tokens=3), call("And now?", temperature=0.7)]


def replied(lm: LanguageModel, folder: Path, calls: list[ChatCall]) -> dict[str, Verdict]:
    local = judge(lm, folder)
    with open_verdicts(folder / "o.jsonl") as verdicts:
        left = unanswered([local.asked(each) for each in calls], verdicts.done)
        by_key = {local.asked(each): each for each in calls}
        told: list[Verdict] = []
        local.reply([by_key[each] for each in left], verdicts, told.append)
        assert {verdict.key for verdict in told} == {each.key for each in left}
        return dict(verdicts.done)


def test_replies_are_those_of_the_model_alone_and_resumed_ones_the_same(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    lm = model(WITH_SYSTEM)
    once = replied(lm, tmp_path / "one", CALLS)
    replied(lm, tmp_path / "two", CALLS[1:2])
    assert {v.prompt: v.reply for v in replied(lm, tmp_path / "two", CALLS).values()} == {
        v.prompt: v.reply for v in once.values()
    }
    alone = lm.generate("<system>Judge.<user>Which?<assistant>", max_new_tokens=4)[0].text
    assert next(v.reply for v in once.values() if v.prompt == CALLS[0].text) == alone


def test_a_model_without_a_system_role_is_told_by_the_user(tmp_path: Path) -> None:
    lm = model(WITHOUT_SYSTEM)
    (verdict,) = replied(lm, tmp_path, [CALLS[0]]).values()
    assert verdict.reply == lm.generate("<user>Judge.\n\nWhich?<assistant>", max_new_tokens=4)[0].text


def test_a_base_model_is_refused_before_anything_is_generated(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        replied(model(None), tmp_path, CALLS)


def test_a_reply_depends_on_its_settings_and_is_asked_for_again_under_others(tmp_path: Path) -> None:
    local = judge(model(WITH_SYSTEM), tmp_path)
    keys = {
        local.asked(each).key
        for each in (call("a"), call("a", temperature=0.5), call("a", max_tokens=9), call("b"))
    }
    assert len(keys) == 4
