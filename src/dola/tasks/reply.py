"""Which part of a completion replies to the question: no thought before it, nor what the model asks next."""

from __future__ import annotations

import re
from collections.abc import Iterator

SENTENCE_END = re.compile(
    # A full stop within a number, or before the next letter at once ("e.g"), ends no sentence.
    r"(?<!\bRs)(?<!\bapprox)(?<!\bvs)[.!?](?=[\s\"”*)]|\Z)|\n|\#{4}",
    re.IGNORECASE,
)
# Where a line, the text or a sentence begins.
BEGINNING = r"(?:\A|\n|(?<=[.!?])[ \t])[ \t]*+[*_>#]*+[ \t]*+"
_NEW_QUESTION = re.compile(
    rf"(?:{BEGINNING}Q[ ]?\d{{0,3}}|\n[ \t]*+[*_>#]*+[ \t]*+"
    r"(?:Question|Problem|Exercise|Human|User|Instruction)[ ]?\d{0,3})[*_]{0,2}[ ]?:"
)
_THOUGHT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_SPACE = re.compile(r"\s")
# No sentence is read further than to the space after so many characters.
_LONGEST = 600


def replies(text: str) -> Iterator[str]:
    """The text after a thought in `<think>`, parted where a question begins: what replies to the first one,
    then the others, of which a reader takes the first that has an answer."""
    ends = [match.end() for match in _THOUGHT_END.finditer(text)]
    start = ends[-1] if ends else 0
    for match in _NEW_QUESTION.finditer(text, start):
        yield text[start : match.start()]
        start = match.start()
    yield text[start:]


def sentence_end(text: str, start: int) -> int:
    """Where the sentence, or the line, ends that `start` is in."""
    match = SENTENCE_END.search(text, start, start + _LONGEST) or _SPACE.search(text, start + _LONGEST)
    return match.start() if match else len(text)
