"""What ties do for a length control where a tie counts as correct, as the released FACTOR script has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dola.result import Answer, Result

_CONTROLS: dict[str, Callable[[int, Sequence[int]], bool]] = {
    "longest": lambda true, false: true > max(false),
    "shortest": lambda true, false: true < min(false),
}


def tied_lengths(result: Result) -> list[str]:
    """A sentence for each length control that ties help: its accuracy with a tie counted as wrong (the task's
    `accuracy_strict`). A model's scores hardly ever tie."""
    if result.task != "factor":
        return []
    lengths = [_by_label(example.answers) for example in result.scored]
    found = []
    for row in result.rows:
        control = next((name for name in _CONTROLS if row.label == f"control: {name} answer"), None)
        if control is None:
            continue
        counted = row.measures["accuracy"].mean
        strict = sum(_CONTROLS[control](true, false) for true, false in lengths) / len(lengths)
        if strict < counted:
            found.append(
                f"{row.label}: {100 * counted:.1f} counts a tie in length as correct, as released; with a"
                f" tie counted as wrong it is {100 * strict:.1f} (accuracy_strict). A model's scores hardly"
                " ever tie, so what length alone is worth lies between the two."
            )
    return found


def _by_label(answers: Sequence[Answer]) -> tuple[int, list[int]]:
    """Tokens of the true answer, and of the false ones."""
    (true,) = (answer.tokens for answer in answers if answer.label == "best")
    return true, [answer.tokens for answer in answers if answer.label != "best"]
