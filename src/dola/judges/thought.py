"""What a model says after it has thought: the forms in which models think aloud, taken off a reply.

    "<think>The first is longer.</think>\\n\\n9 3\\nBecause..."   ->   "9 3\\nBecause..."

A thought that has no end is all there is: what stands in it was not said.
"""

from __future__ import annotations

import re

# Of tags: DeepSeek, Qwen and most others; Magistral; Kimi; ByteDance's Seed; Cohere; gpt-oss where its server
# does not take its channels apart; models tuned after o1.
_NAMES = r"think|thinking|thought|thoughts|reason|reasoning|reflection|analysis|scratchpad|seed:think"
_OPENING = re.compile(
    rf"<\s*(?:{_NAMES})\s*>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>|<unused94>"
    r"|<\|channel\|>\s*(?:analysis|commentary)\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"<\s*/\s*(?:{_NAMES})\s*>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<unused95>"
    r"|<\|channel\|>\s*final\s*<\|message\|>",
    re.IGNORECASE,
)
# Around what is said after the thought, where anything is.
_AROUND = re.compile(
    r"<\s*/?\s*(?:answer|output|response|final_answer|solution)\s*>|<\|(?:START|END)_RESPONSE\|>"
    r"|<\|(?:begin|end)_of_solution\|>|<\|(?:return|end|im_end|eot_id)\|>",
    re.IGNORECASE,
)


def after_thought(text: str) -> str | None:
    """What is said after the last thought; None where a thought has no end."""
    closings = list(_CLOSING.finditer(text))
    begun = _OPENING.match(text.lstrip("\ufeff \t\r\n"))
    if not closings:
        return None if begun else _bare(text)
    said = text[closings[-1].end() :]
    opened_again = _OPENING.match(said.lstrip())
    return None if opened_again else _bare(said)


def thinks(text: str) -> bool:
    """Whether there is a thought in the text, with its end or without."""
    return _CLOSING.search(text) is not None or _OPENING.match(text.lstrip("\ufeff \t\r\n")) is not None


def _bare(said: str) -> str:
    """Without the tags around an answer."""
    return _AROUND.sub("", said).strip()
