"""Per token: which premature layer was contrasted, and how far each candidate was from the mature layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dola.language_model import Generation, LanguageModel
    from dola.scoring.trace import TokenTrace
    from dola.strategies import Strategy

_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " .:-=+*#@"


def trace_of(lm: LanguageModel, generation: Generation, strategy: Strategy) -> tuple[TokenTrace, ...]:
    """The generated tokens, traced; empty where nothing was contrasted or generated."""
    if not generation.premature_layers:
        return ()
    return lm.trace(generation.prompt, strategy, top_k=1, continuation=generation.token_ids).tokens


def layers_table(tokens: Sequence[TokenTrace], console: Console) -> RenderableType:
    """One row a token: the layer, its divergence, and a bar for every candidate, the chosen one marked."""
    candidates = list(tokens[0].divergence)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("token", overflow="ellipsis", no_wrap=True, max_width=18)
    table.add_column("layer", justify="right")
    if not candidates:
        for token in tokens:
            table.add_row(shown(token.token), str(token.premature_layer))
        return Group(table, Text("The layer is fixed, so no divergence was computed.", style="dim"))
    table.add_column("nats", justify="right")
    width = max(len(str(layer)) for layer in candidates)
    table.add_column(" ".join(f"{layer:>{width}}" for layer in candidates), no_wrap=True)
    for token in tokens:
        table.add_row(
            shown(token.token),
            Text(str(token.premature_layer), style="bold"),
            nats(token.divergence[token.premature_layer or 0]),
            _bars(token, width, console),
        )
    notes = ["Bars: each candidate layer's divergence from the last layer; the tallest was contrasted."]
    left_out = sum(math.isnan(divergence) for token in tokens for divergence in token.divergence.values())
    if left_out:
        notes.append(f"{left_out:,} candidate exits held NaN or infinity and were left out of the choice.")
    return Group(table, *(Text(note, style="dim") for note in notes))


def layers_strip(tokens: Sequence[TokenTrace], width: int) -> RenderableType:
    """The tokens side by side, the layer and its divergence below each, in as many bands as `width` takes."""
    label = 9
    cells = [
        (
            shown(token.token),
            str(token.premature_layer),
            nats(token.divergence.get(token.premature_layer or 0)),
        )
        for token in tokens
    ]
    bands: list[RenderableType] = []
    while cells:
        taken, used = 0, label
        while taken < len(cells) and (not taken or used + _cell_width(cells[taken]) <= width):
            used += _cell_width(cells[taken])
            taken += 1
        bands.append(_band(cells[:taken], label))
        cells = cells[taken:]
    return Group(*bands)


def nats(divergence: float | None) -> str:
    """A divergence in a few characters, whatever its size."""
    if divergence is None or math.isnan(divergence):
        return "-"
    if divergence >= 100:
        return f"{divergence:.0f}"
    return f"{divergence:.1f}" if divergence >= 10 else f"{divergence:.2f}"


def shown(token: str) -> str:
    """A token's text on one line, with what cannot be seen made visible."""
    visible = token.strip(" ").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    visible = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in visible)
    return visible or "' '"


def _band(cells: Sequence[tuple[str, str, str]], label: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
    table.add_column(width=label - 1, style="dim")
    for cell in cells:
        table.add_column(justify="right", no_wrap=True, width=_cell_width(cell) - 1)
    table.add_row("token", *(Text(token) for token, _, _ in cells))
    table.add_row("layer", *(Text(layer, style="bold cyan") for _, layer, _ in cells))
    table.add_row("nats", *(Text(apart, style="magenta") for _, _, apart in cells))
    return table


def _cell_width(cell: Sequence[str]) -> int:
    return max(Text(text).cell_len for text in cell) + 1


def _bars(token: TokenTrace, width: int, console: Console) -> Text:
    """A bar a candidate, on the scale of this token's largest divergence."""
    bars = _ASCII_BARS if console.options.ascii_only else _BARS
    finite = [divergence for divergence in token.divergence.values() if math.isfinite(divergence)]
    largest = max(finite, default=0.0)
    text = Text()
    for layer, divergence in token.divergence.items():
        share = divergence / largest if largest > 0 and math.isfinite(divergence) else 0.0
        bar = bars[round(share * (len(bars) - 1))]
        text.append(f"{bar:>{width}}", style="bold cyan" if layer == token.premature_layer else "dim")
        text.append(" ")
    return text
