"""How often each premature layer was chosen: layer to tokens, None where nothing is contrasted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LayerCounts = dict[str, int]


def added_layers(counts: Iterable[Mapping[str, int] | None]) -> LayerCounts | None:
    """All counts together, the layers in rising order; None where one of them is not contrasted."""
    total: dict[int, int] = {}
    for each in counts:
        if each is None:
            return None
        for layer, count in each.items():
            total[int(layer)] = total.get(int(layer), 0) + count
    return {str(layer): total[layer] for layer in sorted(total)}
