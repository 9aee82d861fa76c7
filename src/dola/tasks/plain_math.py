"""What a calculation says without its typesetting: LaTeX, markdown, HTML and GSM8K's own `<<9*2=18>>`.

A text becomes one in which a number stands as `numbers` reads it: `9{,}500` is "9,500", `\\frac{36}{2}` is
"36/2", `2 \\times 9` "2 × 9", `**18**` "18". What is boxed is put between two marks, for it is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

BOX, BOX_END = "\ue000", "\ue001"

_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5",
    "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅒": "1/10",
}  # fmt: skip
_WHOLE = re.compile(r"\s*\$?\s*(\d[\d,]*)\s*")


def _fraction(match: re.Match[str]) -> str:
    """Of two whole numbers "36/2", after a whole number " 1/2"; of anything else "(9 × 4)/(2)"."""
    over, under = _WHOLE.fullmatch(match["over"]), _WHOLE.fullmatch(match["under"])
    if not (over and under):
        return f"({match['over']})/({match['under']})"
    space = " " if match.string[match.start() - 1 : match.start()].isdigit() else ""
    return f"{space}{over[1].replace(',', '')}/{under[1].replace(',', '')}"


def _vulgar(match: re.Match[str]) -> str:
    space = " " if match.string[match.start() - 1 : match.start()].isdigit() else ""
    return space + _VULGAR[match[0]]


_FONTS = "text|mathrm|mathbf|mathit|mathsf|mbox|emph|boldsymbol|underline"
_SEPARATORS = r"\{\\?,\}|\\[,;:! ]|,\\!|\\thinspace ?|[\u00a0\u2007\u2009\u202f'’_]"
_UNITS = r"(?:mm|cm|dm|km|m|ft|feet|inches|inch|in|yards|yd|miles|mi|met(?:er|re)s?|units?)"
# In this order. Each looks a bounded way ahead, so the time grows with the text's length and no faster.
_STEPS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # GSM8K's calculator: the result stands behind it as well, or only in it.
        (r"<<[^<>\n]{0,200}>>(?=[ $-]{0,3}\d)", ""),
        (r"<<(?:[^<>\n=]{0,200}=)*+([^<>\n=]{0,200})>>", r"\1"),
        (r"[\ue000\ue001]", " "),
        (rf"\\(?:{_FONTS})[a-z]{{0,3}}\s?\{{([^{{}}]{{0,200}})\}}", r"\1"),
        # Thousands.
        (rf"(?<=\d)(?:{_SEPARATORS})(?=\d{{3}}(?!\d))", ","),
        (r"\\([$%€£#&_])", r"\1"),
        (r"\\[dtc]?frac\s?\{(?P<over>[^{}]{1,100})\}\s?\{(?P<under>[^{}]{1,100})\}", _fraction),
        (r"\\[dtc]?frac\s?(?P<over>\d)\s?(?P<under>\d)", _fraction),
        (rf"[{''.join(_VULGAR)}]", _vulgar),
        (r"⁄", "/"),
        (r"\\f?boxed\s?\{((?:[^{}]|\{[^{}]{0,100}\}){0,300})\}", rf"{BOX}\1{BOX_END}"),
        (r"\\times(?![a-z])", "×"),
        (r"\\(?:cdot|ast)(?![a-z])", "·"),
        (r"\\div(?![a-z])", "÷"),
        (r"\\(?:approx|simeq|approxeq|sim)(?![a-z])", "≈"),
        (r"\\\[|\\\]|\$\$", "\n"),
        (r"\\[A-Za-z]++|\\[^A-Za-z]|\\", " "),
        # What a unit or a name is raised to is no number of its own: "18 m^2", "18 cm2".
        (r"(?<=[A-Za-z)\]])[ ]?\^[ ]?\{?-?\d{1,4}\}?", ""),
        (rf"(?<=\d)([ ]?{_UNITS})[23](?!\d)", r"\1"),
        (r"[{}]", ""),
        (r"\*\*([^*\n]{1,300})\*\*", r"\1"),
        (r"(?<![\w*])\*(?=\S)([^*\n]{1,300})(?<=\S)\*(?![\w*])", r"\1"),
        (r"(?<!\w)__([^_\n]{1,300})__(?!\w)", r"\1"),
        (r"</?(?:b|i|em|strong|u|p|br|span|code|div|h\d)(?:\s[^<>\n]{0,80})?/?>", " "),
        (r"[`~]", " "),
    )
)  # fmt: skip


def plain_math(text: str) -> str:
    """The text without its typesetting; `BOX` and `BOX_END` are around what was boxed."""
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text
