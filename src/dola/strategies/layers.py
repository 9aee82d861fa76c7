"""Which layers a name or a list stands for in a model of a given depth, and what is refused."""

from collections.abc import Mapping, Sequence
from typing import Literal

from dola.errors import LayerError
from dola.strategies.reads import Depth

Bucket = Literal["low", "high", "auto", "all"]
BUCKETS: tuple[Bucket, ...] = ("low", "high", "auto", "all")


def bucket(name: str, depth: Depth) -> tuple[int, ...]:
    """The candidate premature layers that `low`, `high`, `auto` or `all` stand for.

    `low` and `high` follow the rule of the former built-in `dola_layers=` of transformers (4.44 to 4.55)
    to the digit; with tied embeddings `low` leaves out the embedding output, whose early exit is the input
    token itself. `auto` is both together: the divergence chooses among every second layer. `all` is every
    layer below the last, the embedding output too.

    Raises:
        LayerError: an unknown name, or a model too shallow to have the bucket.
    """
    n, layers = depth.num_layers, _buckets(depth)
    if name not in layers:
        raise LayerError(f"unknown layer bucket {name!r}: expected one of {', '.join(BUCKETS)}")
    if not layers[name]:
        raise LayerError(
            f"the bucket {name!r} is empty in this model of {n} layers: name the layers, as in '0,{n}'"
        )
    return layers[name]


def filled_buckets(depth: Depth) -> tuple[Bucket, ...]:
    """The buckets that a model of this depth has a layer for."""
    return tuple(name for name in BUCKETS if _buckets(depth)[name])


def _buckets(depth: Depth) -> Mapping[str, tuple[int, ...]]:
    n = depth.num_layers
    start = 2 if depth.tied_embeddings else 0  # the built-in's 1 and 0 of fewer than 3 layers: `low` is empty
    low = tuple(range(start, n // 2 if n <= 40 else 20, 2))
    high = tuple(range(n // 2 if n <= 40 else n - 20, n, 2))
    return {"low": low, "high": high, "auto": tuple(sorted({*low, *high})), "all": tuple(range(n))}


def checked_candidates(named: object) -> Bucket | tuple[int, ...]:
    """A bucket's name, or layer numbers as a tuple.

    Raises:
        LayerError: another name, or something else than layer numbers.
    """
    for name in BUCKETS:
        if named == name:
            return name
    if isinstance(named, str):
        raise LayerError(f"unknown layer bucket {named!r}: expected one of {', '.join(BUCKETS)}")
    if not isinstance(named, Sequence) or not all(type(layer) is int for layer in named):
        example = f"({named},)" if isinstance(named, int) else "(2, 4)"
        raise LayerError(
            f"candidates must be {', '.join(BUCKETS)} or a tuple of layer numbers, as in {example};"
            f" found {named!r}"
        )
    return tuple(named)


def candidate_layers(
    named: Bucket | tuple[int, ...], mature: int | None, depth: Depth
) -> tuple[tuple[int, ...], int]:
    """The candidates' numbers and the mature layer's, in a model of this depth.

    Raises:
        LayerError: a layer that the model lacks, or that is both.
    """
    last = mature_layer(mature, depth)
    if isinstance(named, str):
        # A bucket belongs to the model; below an earlier mature layer only a part of it is left.
        named = tuple(layer for layer in bucket(named, depth) if layer < last)
    return check_candidates(named, last, depth), last


def candidates_from(text: str) -> tuple[Bucket | tuple[int, ...], int | None]:
    """Candidates and mature layer as they are written: `low`, `low,20`, or `0,2,4,30`.

    Raises:
        LayerError: none of these.
    """
    name, comma, rest = text.strip().partition(",")
    if name.strip() in BUCKETS:
        mature = layer_numbers(rest) if comma else (-1,)
        if len(mature) > 1:
            raise LayerError(f"cannot read layers from {text!r}: after {name!r}, one mature layer")
        return checked_candidates(name.strip()), _or_last(mature[0])
    *premature, last = layer_numbers(text)
    if not premature:
        raise LayerError(f"{text!r}: expected candidate layers before the mature one, as in '2,-1'")
    return tuple(premature), _or_last(last)


def candidates_text(named: Bucket | tuple[int, ...], mature: int | None) -> str:
    """As `candidates_from` reads them."""
    if isinstance(named, str):
        return named if mature is None else f"{named},{mature}"
    return ",".join(map(str, (*named, -1 if mature is None else mature)))


def _or_last(layer: int) -> int | None:
    return None if layer == -1 else layer


def layer_numbers(text: str) -> tuple[int, ...]:
    """Layers as they are written: `0,2,4,32`, or `-1`.

    Raises:
        LayerError: something else than numbers.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise LayerError(
            f"cannot read layers from {text!r}: expected numbers as in '0,2,4,32', '-1', or one of"
            f" {', '.join(BUCKETS)}"
        ) from None


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
