"""A result's table as plain text: what `print` shows."""

from __future__ import annotations

from collections.abc import Sequence

from dola.result.rows import Row

_NONE = "–"


def plain_table(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """The means in percent with 95% intervals, each difference from the first row behind its mean.

    Rows of a sweep or of variants are left out: `Result.rows` has them.
    """
    shown = [row for row in rows if row.kind in ("strategy", "control")]
    lines = [["in %, 95% intervals; *: beyond chance", *metrics]]
    lines += [[row.label, *(_cell(row, metric) for metric in metrics)] for row in shown]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def _cell(row: Row, metric: str) -> str:
    measure, apart = row.measures.get(metric), (row.differences or {}).get(metric)
    if measure is None:
        return _NONE
    text = f"{100 * measure.mean:.1f}"
    if measure.low is not None and measure.high is not None:
        text += f" ({100 * measure.low:.1f}–{100 * measure.high:.1f})"
    if apart is None:
        return text
    changed = f"{100 * apart.mean:+.1f}".replace("-", "−")
    return f"{text} {changed}{'*' if apart.distinguishable else ''}"
