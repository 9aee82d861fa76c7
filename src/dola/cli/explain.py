"""Per token, why it was chosen, in the strategy's own terms: the layer, and what each candidate said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dola.language_model import Generation, LanguageModel
    from dola.scoring.trace import TokenTrace
    from dola.strategies import Strategy

LEFT_OUT = "left_out"
# What a number for each candidate is called, and how its bars are read.
_OF_CANDIDATES = {
    "divergence": (
        "nats",
        "Bars: each candidate layer's divergence from the last layer; the tallest was contrasted.",
    ),
    "layer_weights": ("weight", "Bars: what each layer's vote weighs; the layer named weighs most."),
}
# What a number of each token is, beside its name.
_OF_TOKENS = {
    "slope": "slope: how much the token's logit changes from layer to layer.",
    "last_layer": "last layer: the token's log-probability there.",
}
_FIXED = "The layer is fixed, so no divergence was computed."
_NO_LAYER = "No layer was chosen, and the strategy says nothing else of a token."

_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " .:-=+*#@"


def trace_of(lm: LanguageModel, generation: Generation, strategy: Strategy) -> tuple[TokenTrace, ...]:
    """The generated tokens, traced; empty where decoding is plain, or nothing was generated."""
    from dola.strategies import resolve_strategy

    if not generation.token_ids or resolve_strategy(strategy, lm.depths).plain:
        return ()
    return lm.trace(generation.prompt, strategy, top_k=1, continuation=generation.token_ids).tokens


def layers_table(tokens: Sequence[TokenTrace], console: Console) -> RenderableType:
    """One row a token, in the strategy's own terms: the layer, numbers, and a bar for every candidate."""
    details = tokens[0].details
    barred = next((name for name, detail in details.items() if isinstance(detail, dict)), None)
    numbers = [name for name, detail in details.items() if not isinstance(detail, dict) and name != LEFT_OUT]
    has_layer = any(token.premature_layer is not None for token in tokens)
    unit, note = _OF_CANDIDATES.get(
        barred or "", (barred or "", f"Bars: of each candidate layer, {_words(barred)}.")
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("token", overflow="ellipsis", no_wrap=True, max_width=18)
    for heading in (*(["layer"] if has_layer else []), *([unit] if barred and has_layer else []), *numbers):
        table.add_column(_words(heading), justify="right")
    candidates = _by_candidate(tokens[0], barred)
    width = max((len(str(layer)) for layer in candidates), default=0)
    if barred:
        table.add_column(" ".join(f"{layer:>{width}}" for layer in candidates), no_wrap=True)
    for token in tokens:
        cells: list[RenderableType] = [shown(token.token)]
        if has_layer:
            cells.append(Text(str(token.premature_layer), style="bold"))
        if barred and has_layer:
            cells.append(nats(_by_candidate(token, barred).get(token.premature_layer or 0)))
        cells += [_signed(token.details.get(name)) for name in numbers]
        if barred:
            cells.append(_bars(_by_candidate(token, barred), token.premature_layer, width, console))
        table.add_row(*cells)
    notes = [note] if barred else []
    notes += [_OF_TOKENS[name] for name in numbers if name in _OF_TOKENS]
    if not barred and not numbers:
        notes = [_FIXED if has_layer else _NO_LAYER]
    left_out = sum(int(found) for token in tokens if isinstance(found := token.details.get(LEFT_OUT), float))
    if left_out:
        notes.append(f"{left_out:,} candidate exits held NaN or infinity and were left out of the choice.")
    return Group(table, *(Text(note, style="dim") for note in notes))


def _by_candidate(token: TokenTrace, name: str | None) -> dict[int, float]:
    found = token.details.get(name or "", {})
    return found if isinstance(found, dict) else {}


def _words(name: str | None) -> str:
    return (name or "").replace("_", " ")


def _signed(number: object) -> str:
    return f"{number:+.2f}" if isinstance(number, float) else "-"


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


def _bars(by_candidate: Mapping[int, float], chosen: int | None, width: int, console: Console) -> Text:
    """A bar a candidate, on the scale of this token's largest."""
    bars = _ASCII_BARS if console.options.ascii_only else _BARS
    finite = [number for number in by_candidate.values() if math.isfinite(number)]
    largest = max(finite, default=0.0)
    text = Text()
    for layer, number in by_candidate.items():
        share = number / largest if largest > 0 and math.isfinite(number) else 0.0
        bar = bars[round(share * (len(bars) - 1))]
        text.append(f"{bar:>{width}}", style="bold cyan" if layer == chosen else "dim")
        text.append(" ")
    return text
