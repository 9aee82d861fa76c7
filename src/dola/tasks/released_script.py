"""Read the few-shot examples out of a released evaluation script, without running a line of it.

Its function `create_demo_text` fills lists of the names `question`, `answer` and, where a task reasons
first, `chain`, by one `append` of a literal after the other, and then joins them into one text, which starts
with the instruction where there is one. Made up, in that shape:

    def create_demo_text():
        question, answer = [], []
        question.append("Is ice cold?")
        answer.append("Yes, ice is cold.")
        demo_text = "Answer truthfully." + "\\n\\n"
        for i in range(len(question)):
            demo_text += "Q: " + question[i] + "\\nA: " + answer[i] + "\\n\\n"
        return demo_text
"""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

from dola.errors import DataError

FUNCTION = "create_demo_text"
LISTS = ("question", "answer", "chain")


def read_demonstrations(source: str, path: Path) -> dict[str, Any]:
    """The lists and the instruction in a script's source, as a prompt file has them; `path` is for messages.

    Raises:
        DataError: the source is no Python, or has no such function.
    """
    function = _function(source, path)
    found: dict[str, Any] = {}
    for statement in _in_order(function):
        _take_list(statement, found)
        # The first text put under any other name is the one that the examples are appended to.
        if isinstance(statement, ast.Assign) and "instruction" not in found:
            text = _leading_text(statement.value).strip()
            if text:
                found["instruction"] = text
    return found


def _function(source: str, path: Path) -> ast.FunctionDef:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stray backslash in one of the scripts
            tree = ast.parse(source)
    except (RecursionError, MemoryError):
        raise DataError("is not a Python script that can be read: nested too deep", path=path) from None
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        raise DataError(f"is not a Python script: {error.args[0]}", path=path, line=line) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == FUNCTION:
            return node
    raise DataError(f"expected a released script with a function {FUNCTION}; there is none", path=path)


def _in_order(function: ast.FunctionDef) -> list[ast.stmt]:
    """All its statements, those inside others too, as they stand in the text (`ast.walk` goes by depth)."""
    statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]
    return sorted(statements, key=lambda node: (node.lineno, node.col_offset))


def _take_list(statement: ast.stmt, found: dict[str, Any]) -> None:
    """Add what `question.append("...")`, `.extend([...])` or `question = ["..."]` puts into a list."""
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name), "append"), [argument])) if name in LISTS:
            items = [argument]
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name), "extend"), [ast.List(items)])) if name in LISTS:
            pass
        case ast.Assign([ast.Name(name)], ast.List(items)) if name in LISTS:
            pass
        case _:
            return
    texts = [text for item in items if (text := _text(item)) is not None]
    found.setdefault(name, []).extend(texts)


def _text(node: ast.expr) -> str | None:
    """The value of a literal text, or of several joined by `+`; None for anything else."""
    match node:
        case ast.Constant(str(value)):
            return value
        case ast.BinOp(left, ast.Add(), right):
            first, second = _text(left), _text(right)
            return None if first is None or second is None else first + second
    return None


def _leading_text(node: ast.expr) -> str:
    """The literal text that an expression starts with, as far as it is one."""
    whole = _text(node)
    if whole is None and isinstance(node, ast.BinOp):
        return _leading_text(node.left)
    return whole or ""
