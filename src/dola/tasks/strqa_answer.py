"""Whether a StrategyQA completion says yes or no: the released script's rule, and the corrected one.

The demonstrations end with "So the answer is yes.", and so does an answer that follows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dola.tasks.reply import replies

_RELEASED_TRIGGER = "answer is"

# What is around a yes or no and says nothing of it: emphasis, quotes, brackets, LaTeX's and HTML's names.
_DRESS = re.compile(
    r"\\(?:boxed|fbox|text[a-z]{0,3}|math[a-z]{0,3}|mbox|emph)\b|</?(?:b|i|em|strong|u|p|br|span|code|div)/?>"
    r"|[*`~\"“”«»„{}$\\]|(?<![A-Za-z0-9])_{1,3}|_{1,3}(?![A-Za-z0-9])|(?<![A-Za-z])['‘’]|['’](?![A-Za-z])"
)
_BOXED = re.compile(r"\\f?boxed\s?\{")
_CONCLUSION = re.compile(
    r"\banswer\b(?:(?:[ ]to\b|,|[ ]\()[^.!?:=\n]{0,80}?)??\s{0,20}"
    r"(?:\b(?:is|was|(?:would|should|must|will) be)\b|[:=])|\ue000",
    re.IGNORECASE,
)
# "I do not think that the answer is", "If the answer is", "It is unclear whether the answer is": no answer.
_DOUBTED = re.compile(
    r"(?:\b(?:not|never|cannot|hardly|doubt|unlikely|unclear|wrong|false|incorrect|untrue|if|whether|unless|until"
    r"|why|suppose|assum(?:e|ing)|pretend|than|nobody|neither)\b|n['’]t\b)"
    r"(?:\s+(?:that|to|say|think|believe|true|sure|clear|certain|know|mean|conclude|case|agree|imply|follow|is|it"
    r"|be|the|a|was|claim|said|says|thinks|believes|do|we|you|i|he|she|they)){0,6}"
    r"\s+(?:(?:the|my|our|his|her|their)\s+)?(?:(?:final|correct|right)\s+)?\Z",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]*+(?:[.!?](?!\s|\Z)[^.!?\n]*+)*+(?P<end>[.!?]?)")
_EITHER = re.compile(r"\b(?:yes\s*(?:or|and|/|-)\s*no|no\s*(?:or|and|/|-)\s*yes)\b", re.IGNORECASE)
_WORD = re.compile(r"(?<![\w/-])(?<!\w['’])(?P<word>yes|no)(?![\w/-])(?!['’]\w)", re.IGNORECASE)
# A clause starts anew after these.
_CLAUSE = re.compile(r"[,;:()–—]|\b(?:but|so|thus|hence|therefore|then|because|since)\b", re.IGNORECASE)
_NEGATED = re.compile(
    r"(?:\b(?:not|never|cannot|without|neither|nor|hardly|barely|less|than|instead of|non|if|whether)\b"
    r"|n['’]t\b|\bno(?:\s+(?:clear|definite|simple|straightforward|real|single|possible))?\s*\Z)"
    r"(?:\s+\w+){0,4}\s*\Z",
    re.IGNORECASE,
)
# Of two answers one that is plainly denied leaves the other; "not no" may mean less.
_DENIED = re.compile(r"(?:\bnot|n['’]t|\bnot\s+a)\s+\Z", re.IGNORECASE)
# "No. 1" counts; "no frost", "no one" and "no doubt" say how many.
_NUMBERED = re.compile(r"\.?[ \t]*(?:#[ \t]*)?\d")
# "No because": before one of these "no" is an answer, before any other word it says how many.
_AFTER_NO = re.compile(
    r"\s*(?:[^\s\w]|\Z)|\s*\n|\s+(?:because|since|as|for|due|but|and|or|if|unless|although|though|it|he|she|they|we|you"
    r"|i|this|that|these|those|there|the|to|in|on|at|so|thus|therefore|when|while|based|given|not)\b",
    re.IGNORECASE,
)
# What a yes or no that stands as an answer, without an "answer is", comes after and before.
_STANDS_AFTER = re.compile(
    r"(?:\A|[.,;:!?()\n–—]|\b(?:so|thus|hence|therefore|then|is|be|clearly|definitely|certainly|probably|simply"
    r"|obviously|a|doubt|question|short)\b)\s*\Z",
    re.IGNORECASE,
)
_STANDS_BEFORE = re.compile(r"\s*(?:[.,;:!)–—\n]|\Z|(?:because|since|as)\b)", re.IGNORECASE)


def released_answer(completion: str) -> bool | None:
    """The released rule, to the letter: what stands between the first "answer is" and the next full stop, if
    that is "yes" or "no" and nothing else; None otherwise, when the script tries again if it may.

    (Its other way, "Thus, yes.", is looked for in a text in small letters, so it is never found.)
    """
    _, trigger, rest = completion.lower().partition(_RELEASED_TRIGGER)
    said = rest.split(_RELEASED_TRIGGER)[0].split(".")[0].strip()
    return said == "yes" if trigger and said in ("yes", "no") else None


def released_guess(completion: str) -> bool:
    """What the released rule takes where it finds no answer and may not try again: no, if there was an
    "answer is"; without one, no if the letters "no" occur anywhere, in "know" or "not" too; else yes."""
    lowered = completion.lower()
    return _RELEASED_TRIGGER not in lowered and "no" not in lowered


def answer(text: str) -> bool | None:
    """The corrected rule: what the first sentence says that concludes ("the answer is", "Answer:", a box) and
    says yes or no, and not both; without one, the last yes or no that stands as an answer ("Thus, yes.");
    else None. Of what replies to the question: not of a thought in `<think>`, nor of a question asked next.

    "Not yes" is no. No answer is a yes or no that is negated otherwise ("neither yes nor no"), asked
    ("yes?"), doubted ("if the answer is yes"), one of two ("yes or no"), nor a "no" that counts ("no one",
    "no doubt", "No. 1").
    """
    for reply in replies(text):
        plain = _EITHER.sub(" ", _DRESS.sub("", _BOXED.sub("\ue000", reply)))
        said = _concluded(plain)
        if said is None:
            said = _standing(plain.replace("\ue000", " "))
        if said is not None:
            return said
    return None


def _concluded(text: str) -> bool | None:
    read = 0
    for match in _CONCLUSION.finditer(text):
        if match.end() <= read or _is_doubted(text, match):
            continue
        start = _after_blanks(text, match.end())
        sentence, asked = _sentence_at(text, start)
        read = start + len(sentence)
        said = {found for found, _ in _said(sentence + text[read : read + _AHEAD], len(sentence))}
        if len(said) == 1 and not asked:
            return said.pop()
    return None


def _standing(text: str) -> bool | None:
    last = None
    at = 0
    while at < len(text):
        sentence, asked = _sentence_at(text, at)
        if not asked and not _CONCLUSION.search(sentence):
            ahead = text[at : at + len(sentence) + _AHEAD]
            for said, word in _said(ahead, len(sentence)):
                stands_after = _STANDS_AFTER.search(ahead[max(0, word.start() - 20) : word.start()])
                if stands_after and _STANDS_BEFORE.match(ahead, word.end()):
                    last = said
        at += max(1, len(sentence))
    return last


# How far behind a sentence it is looked whether its "no" is a number's ("No. 1").
_AHEAD = 8
# A sentence is read no further than this.
_LONGEST = 2000


def _sentence_at(text: str, start: int) -> tuple[str, bool]:
    """The sentence from here on, its full stop included, and whether it is a question."""
    match = _SENTENCE.match(text, start, start + _LONGEST)
    return (match[0], match["end"] == "?") if match else ("", False)


def _after_blanks(text: str, start: int) -> int:
    return start + len(text[start : start + 100]) - len(text[start : start + 100].lstrip())


def _is_doubted(text: str, match: re.Match[str]) -> bool:
    clause = _CLAUSE.split(text[max(0, match.start() - 80) : match.start()])[-1]
    return _DOUBTED.search(clause) is not None


def _said(text: str, end: int) -> Iterator[tuple[bool, re.Match[str]]]:
    """Each yes or no before `end` that is one, with where it is."""
    for word in _WORD.finditer(text, 0, end):
        clause = _CLAUSE.split(text[max(0, word.start() - 60) : word.start()])[-1]
        yes = word["word"].lower() == "yes"
        counts = not yes and (_NUMBERED.match(text, word.end()) or not _AFTER_NO.match(text, word.end()))
        if yes and _DENIED.search(clause):
            yield False, word
        elif not counts and not _NEGATED.search(clause):
            yield yes, word
