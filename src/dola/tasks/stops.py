"""Where a completion ends: where a new question begins, and nowhere by chance.

The released scripts end it at their stop words wherever these stand, "Q:" within "IQ: 70" too. So that both
rules can read one completion, it goes on to where a question begins; the released rule then reads it as far
as its script would have gone (`released_raw`). Each place here has a stop word of the script in it, so a
completion never ends before that.
"""

from __future__ import annotations

import re

from dola.tasks.presets import PRESETS
from dola.tasks.reply import BEGINNING

_QUESTION = re.compile(rf"{BEGINNING}Q:")
_HEADING = re.compile(
    r"\n\n##++[ \t]*+[*_]*+(?:Q[ .:]|Question|Problem|Exercise|Example|Human|User|Instruction|Task|Prompt)"
)
# By task. In the conversations of the released templates a turn may begin within a line; quoted, or as the
# end of a longer heading, its mark begins none.
STOPS: dict[str, tuple[re.Pattern[str], ...]] = {
    "gsm8k": (_QUESTION, re.compile(rf"{BEGINNING}\\end\{{code\}}")),
    "strqa": (_QUESTION, _HEADING),
    "tfqa": (_QUESTION,),
    "vicuna": (re.compile(r"(?<![#`\"'“‘(])### Human:"),),
}


def released_raw(task: str, raw: str, text: str) -> str:
    """All that the released script would have decoded of `raw`, of which `text` is what stands before the new
    question: up to its first stop word, that included.

    Raises:
        KeyError: there is no script of that name.
    """
    words = PRESETS[task].stop_words
    ends = [at + len(word) for word in words if (at := text.find(word)) >= 0]
    # Without one in the text, what came with the stop word in the same token is in `raw`, as released.
    return raw[: min(ends)] if ends else raw
