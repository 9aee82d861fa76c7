"""A conversation as a model's chat template writes it. A template is a program that came with the model: the
host keeps it in a sandbox, but not from failing in any way that Python knows, nor from never ending."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import ModelError

# Lines of a template's program. A long conversation takes some tens of thousands.
_MOST_LINES = 3_000_000
_COMPILED = "<template>"  # what jinja calls the file of every program that it makes


class _EndlessError(Exception):
    """More lines than any conversation takes."""


def render_chat(tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], name: str) -> str:
    """The conversation and the beginning of the next answer, as text that can be tokenised.

    Raises:
        ModelError: no chat template, or one that refuses these messages, fails, or does not end.
    """
    if tokenizer.chat_template is None:
        raise ModelError(f"{name} has no chat template: it is a base model; give it a plain prompt")
    try:
        with _bounded_lines():
            text = tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
            )
        str(text).encode()
    except _EndlessError:
        raise ModelError(
            f"the chat template of {name} does not end: stopped after {_MOST_LINES:,} of its lines"
        ) from None
    except MemoryError as error:
        raise ModelError(f"the chat template of {name} writes more than memory holds") from error
    except Exception as error:  # a program's failures are of every type; many templates know no system role
        said = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"the chat template of {name} refuses these messages: {said}") from error
    return str(text)


@contextmanager
def _bounded_lines() -> Iterator[None]:
    """Ends a template's program that runs too long. Under a debugger nothing is bounded."""
    if sys.gettrace() is not None:
        yield
        return
    left = _MOST_LINES

    def line(_: FrameType, event: str, __: Any) -> Any:
        nonlocal left
        left -= event == "line"
        if left < 0:
            raise _EndlessError
        return line

    def called(frame: FrameType, _: str, __: Any) -> Any:
        return line if frame.f_code.co_filename == _COMPILED else None

    sys.settrace(called)
    try:
        yield
    finally:
        sys.settrace(None)
