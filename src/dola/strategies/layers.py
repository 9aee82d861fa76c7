"""Which layers a name or a list stands for in a model of a given depth, and what is refused."""

from collections.abc import Sequence

from dola.errors import LayerError
from dola.strategies.base import Depth

BUCKETS = ("low", "high", "auto")


def bucket(name: str, depth: Depth) -> tuple[int, ...]:
    """The candidate premature layers that `low`, `high` or `auto` stand for.

    `low` and `high` follow the rule of the former built-in `dola_layers=` of transformers (4.44 to 4.55)
    to the digit; with tied embeddings `low` leaves out the embedding output, whose early exit is the input
    token itself. `auto` is both together: the divergence chooses among every second layer.

    Raises:
        LayerError: an unknown name, or a model too shallow to have the bucket.
    """
    n = depth.num_layers
    start = 0
    if depth.tied_embeddings:
        start = {0: 0, 1: 0, 2: 1}.get(n, 2)
    low = tuple(range(start, n // 2 if n <= 40 else 20, 2))
    high = tuple(range(n // 2 if n <= 40 else n - 20, n, 2))
    layers = {"low": low, "high": high, "auto": tuple(sorted({*low, *high}))}.get(name)
    if layers is None:
        raise LayerError(f"unknown layer bucket {name!r}: expected one of {', '.join(BUCKETS)}")
    if not layers:
        raise LayerError(
            f"the bucket {name!r} is empty in this model of {n} layers: name the layers, as in '0,{n}'"
        )
    return layers


def mature_layer(requested: int | None, depth: Depth) -> int:
    """The mature layer as a number: `None` and -1 mean the last one, N."""
    n = depth.num_layers
    layer = n if requested in (None, -1) else requested
    if not 0 < layer <= n:
        raise LayerError(f"mature layer {requested}: this model has {n} layers, so it must be in 1..{n}")
    return layer


def check_candidates(candidates: Sequence[int], mature: int, depth: Depth) -> tuple[int, ...]:
    """The candidates as given, if the model has them all below the mature layer, once each, in order."""
    n = depth.num_layers
    found = ",".join(map(str, candidates))
    if not candidates:
        raise LayerError(f"no candidate premature layer given; this model has {n} layers (0..{n})")
    for layer in candidates:
        if not 0 <= layer <= n:
            raise LayerError(f"layer {layer} of {found!r}: this model has {n} layers, numbered 0..{n}")
    if len(set(candidates)) < len(candidates):
        raise LayerError(f"candidate layers {found!r} repeat a layer; this model has {n} layers (0..{n})")
    if list(candidates) != sorted(candidates):
        raise LayerError(
            f"candidate layers {found!r} are not in rising order; this model has {n} layers (0..{n})"
        )
    if mature in candidates:
        raise LayerError(f"layer {mature} is the mature layer and also a candidate in {found!r} (N = {n})")
    if candidates[-1] > mature:
        raise LayerError(
            f"candidate layer {candidates[-1]} lies above the mature layer {mature} (this model has {n})"
        )
    return tuple(candidates)
