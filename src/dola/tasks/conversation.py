"""The released conversation templates: their texts are read out of the released `conversation.py`, and how a
question is put into one of them is here.

The released script fills a template by the model's name, and knows nothing of the model's own chat template.
One definition in it (made up), as the file writes them:

    conv_plain = Conversation(system="A chat.", roles=("Human", "Assistant"), messages=(("Human", "Hi."),),
                              offset=0, sep_style=SeparatorStyle.SINGLE, sep="###", sep2=None)
    conv_templates = {"plain": conv_plain}
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dola.errors import DataError
from dola.tasks.fetch import Progress, fetch, told_to_log
from dola.tasks.prompts import ENVIRONMENT
from dola.tasks.sources import CONVERSATION_SCRIPT
from dola.tasks.text_files import bytes_of, text_of

Style = Literal["SINGLE", "TWO", "DOLLY"]

# Turns in order; None: the text that the model is to write.
_Turn = tuple[str, str | None]

FILENAME = "conversation.py"
# The first whose text is in the model's id, in this order; `output` is where fine-tuned checkpoints lie.
_CHOICE = (
    ("vicuna", "vicuna_v1.1"),
    ("output", "vicuna_v1.1"),
    ("koala", "koala_v1"),
    ("dolly", "dolly"),
    ("gar", "gar"),
)
_OTHERWISE = "conv_one_shot"


@dataclass(frozen=True)
class Conversation:
    """One template.

    Attributes:
        messages: turns that stand before the question: role and text.
        style: how role, text and separators are joined.
        source: where it was read from, in words for a report.
    """

    name: str
    system: str
    roles: tuple[str, str]
    messages: tuple[tuple[str, str], ...]
    style: Style
    sep: str
    sep2: str
    source: str = ""

    def prompt(self, question: str) -> str:
        """The question in the template, up to where its answer is to start."""
        turns: list[_Turn] = [*self.messages, (self.roles[0], question), (self.roles[1], None)]
        return _JOINED[self.style](self, turns)


def template_name(model_id: str) -> str:
    """Which template the released script takes for a model of this name."""
    lowered = model_id.lower()
    return next((name for part, name in _CHOICE if part in lowered), _OTHERWISE)


def conversation_for(
    model_id: str, path: Path | None = None, *, progress: Progress = told_to_log
) -> Conversation:
    """The template that the released script takes for a model of this name.

    `path` is the released `conversation.py` or a folder with it; None: the folder that DOLA_PROMPTS names, if
    it is there, else fetched on first use.

    Raises:
        DataError: no such file, one in another form, or a failed download.
    """
    file = _given(path)
    source = str(file)
    if file is None:
        script = CONVERSATION_SCRIPT
        file, source = fetch(script, option="--prompts", progress=progress), script.url
    text = text_of(bytes_of(file, "the released conversation.py"), file)
    return read_conversation(text, template_name(model_id), path=file, source=source)


def read_conversation(text: str, name: str, *, path: Path, source: str = "") -> Conversation:
    """The template of that name in a `conversation.py`, of which nothing is executed; `path` is for messages.

    Raises:
        DataError: no Python, no such template, or one that is not made of literals.
    """
    try:
        tree = ast.parse(text)
    except (RecursionError, MemoryError):
        raise DataError("is not a Python script that can be read: nested too deep", path=path) from None
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        raise DataError(f"is not a Python script: {error.args[0]}", path=path, line=line) from None
    assigned = {
        statement.targets[0].id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    call = assigned.get(_variables(assigned).get(name, ""))
    if not isinstance(call, ast.Call):
        raise DataError(
            f"expected the released conversation.py with a template {name!r}; there is none", path=path
        )
    return _conversation(name, call, path, source)


def _given(path: Path | None) -> Path | None:
    """The user's file, where there is one."""
    if path is not None:
        return path / FILENAME if path.is_dir() else path
    folder = os.environ.get(ENVIRONMENT)
    found = Path(folder).expanduser() / FILENAME if folder else None
    # Whoever has the other prompts there need not have this one.
    return found if found and found.is_file() else None


def _variables(assigned: Mapping[str, ast.expr]) -> dict[str, str]:
    """Template name -> the variable that holds it, from the dictionary `conv_templates`."""
    table = assigned.get("conv_templates")
    if not isinstance(table, ast.Dict):
        return {}
    return {
        str(key.value): value.id
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Name)
    }


def _conversation(name: str, call: ast.Call, path: Path, source: str) -> Conversation:
    try:
        found = {str(each.arg): _value(each.value) for each in call.keywords}
        roles, style = found["roles"], found.get("sep_style", "SINGLE")
        if len(roles) != 2 or style not in get_args(Style):
            raise ValueError
        return Conversation(
            name=name,
            system=_text(found["system"]),
            roles=(_text(roles[0]), _text(roles[1])),
            messages=tuple((_text(role), _text(text)) for role, text in found["messages"]),
            style=style,
            sep=_text(found.get("sep", "###")),
            sep2=_text(found.get("sep2") or ""),
            source=source,
        )
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"the template {name!r} is not written as in the released conversation.py: expected system,"
            f" roles, messages and separators as literals, and a style of {', '.join(get_args(Style))}",
            path=path,
            line=call.lineno,
        ) from None


def _value(node: ast.expr) -> Any:
    """A literal's value, or the last name of `SeparatorStyle.SINGLE`."""
    return node.attr if isinstance(node, ast.Attribute) else ast.literal_eval(node)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


# The three ways to join. An empty text is joined as one that is still to be written, as released.


def _single(template: Conversation, turns: Sequence[_Turn]) -> str:
    joined = (f"{template.sep} {role}: {text}" if text else f"{template.sep} {role}:" for role, text in turns)
    return template.system + "".join(joined)


def _two(template: Conversation, turns: Sequence[_Turn]) -> str:
    ends = (template.sep, template.sep2)
    joined = (f"{role}: {text}{ends[i % 2]}" if text else f"{role}:" for i, (role, text) in enumerate(turns))
    return template.system + template.sep + "".join(joined)


def _dolly(template: Conversation, turns: Sequence[_Turn]) -> str:
    ends = (template.sep, f"{template.sep2}\n\n")
    joined = (f"{role}:\n{text or ''}{ends[i % 2] if text else ''}" for i, (role, text) in enumerate(turns))
    return template.system + "".join(joined)


_JOINED: dict[Style, Callable[[Conversation, Sequence[_Turn]], str]] = {
    "SINGLE": _single,
    "TWO": _two,
    "DOLLY": _dolly,
}
