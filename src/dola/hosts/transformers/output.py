"""The logits in what a model returns: an output by name, a mapping, an object, a tuple."""

from collections.abc import MutableMapping
from typing import Any

from torch import Tensor

from dola.errors import ModelError


def with_logits(output: Any, scores: Tensor) -> Any:
    """The output with these scores `[..., V]` for its logits: changed in place, but for a tuple.

    Raises:
        ModelError: nothing in it has the shape of logits.
    """
    if isinstance(output, tuple):
        at = _place(output, scores)
        return type(output)((*output[:at], _moved(scores, output[at]), *output[at + 1 :]))
    found = _moved(scores, logits_in(output, scores))
    if isinstance(output, MutableMapping):
        output["logits"] = found
    else:
        output.logits = found
    return output


def logits_in(output: Any, scores: Tensor) -> Tensor:
    """The logits in an output of a model whose head gave these scores; see `with_logits`."""
    if isinstance(output, tuple):
        found = output[_place(output, scores)]
    elif isinstance(output, MutableMapping):
        found = output.get("logits")
    else:
        found = getattr(output, "logits", None)
    if not isinstance(found, Tensor):
        raise ModelError(f"expected a model's output with logits, found {type(output).__name__} without")
    return found


def _place(output: tuple[Any, ...], scores: Tensor) -> int:
    """Of the logits in a tuple; a loss of the experts' balance may come before them."""
    for at, each in enumerate(output):
        if each is scores:
            return at
    for at, each in enumerate(output):
        if isinstance(each, Tensor) and each.shape == scores.shape:
            return at
    raise ModelError(f"expected a tuple with logits of shape {list(scores.shape)}, found none in it")


def _moved(scores: Tensor, like: Tensor) -> Tensor:
    """On the device that the host moved its logits to."""
    return scores.to(like.device)
