"""Whether a checkpoint filled the model that its configuration describes: what it lacks is random."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from dola.errors import ModelError

_SHOWN = 3
# The host's logger, and how a line of its report begins: only there are these named.
_HOST = "transformers.modeling_utils"
_UNFIT = re.compile(r"^(\S+)\s*\| CONVERSION", re.MULTILINE)
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def check_filled(
    model: PreTrainedModel,
    report: Mapping[str, Any],
    name: str,
    *,
    whole: Collection[str] = (),
    tell: Callable[[str], None],
) -> None:
    """Refuse a model with weights that its checkpoint lacks, or has more of, by their names.

    Refused: weights that are missing or have another shape (the host has put random ones there), or are
    saved as whole numbers with no word of how to unpack them; tensors
    of layers behind the last, of modules that have other weights, or of modules of a block, which the model
    leaves out and was not trained without. Tied weights are one. What the architecture is known to leave
    out is fine; anything else that is left over (a head for other tasks) is told in one line.

    Args:
        report: what `from_pretrained(..., output_loading_info=True)` returns beside the model.
        whole: the tensors that are saved as whole numbers, of a checkpoint that says of no quantisation.

    Raises:
        ModelError: any of these.
    """
    if getattr(model, "_hf_peft_config_loaded", False):
        raise ModelError(
            f"{name} holds an adapter, not a model: load its base model, and put the adapter on it with peft"
        )
    missing = sorted(report["missing_keys"])
    misshapen = sorted(
        f"{key} (found {list(found)}, expected {list(expected)})"
        for key, found, expected in report["mismatched_keys"]
    )
    if missing:
        raise _refused(name, "lacks", missing)
    if misshapen:
        raise _refused(name, "has another shape of", misshapen)
    packed = sorted(_packed(model, whole))
    if packed:
        raise _refused(name, "has whole numbers or truth values, and no quantization_config, in", packed)
    left_over = sorted(report["unexpected_keys"])
    refused = [key for key in left_over if _belongs(model, key)]
    if refused:
        raise _refused(name, "has, and its configuration leaves out,", refused)
    if not _offloaded(model):
        empty = [key for key, weight in model.named_parameters() if weight.is_meta]
        if empty:
            raise _refused(name, "did not fill", empty)
    if left_over:
        tell(f"{name}: not used of its weights: {_some(left_over)}")


@contextmanager
def unfit(name: str) -> Iterator[None]:
    """The host's failure to make one weight of several tensors (experts, say), with the weight's name.

    Raises:
        ModelError: some of these tensors are missing or have another shape.
    """
    heard = _Heard()
    host = logging.getLogger(_HOST)
    level, passed_on = host.level, host.propagate
    host.addHandler(heard)
    host.setLevel(logging.INFO)  # whatever the user has set; from WARNING on the host checks more
    host.propagate = False  # what it reports is said by us in one line
    try:
        yield
    except RuntimeError as error:
        keys = sorted({key for text in heard.texts for key in _UNFIT.findall(text)})
        if keys:
            raise _refused(name, "lacks or misshapes parts of", keys) from error
        raise
    finally:
        host.removeHandler(heard)
        host.setLevel(level)
        host.propagate = passed_on


class _Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _packed(model: PreTrainedModel, whole: Collection[str]) -> Iterator[str]:
    """Those of the names that are weights of the model, under their own name or behind its prefix."""
    weights = {key for key, weight in model.named_parameters() if weight.is_floating_point()}
    for name in whole:
        if name in weights or f"{model.base_model_prefix}.{name}" in weights:
            yield name


def _belongs(model: PreTrainedModel, key: str) -> bool:
    """Whether a tensor that is left over would have changed what the model computes."""
    modules = dict(model.named_modules())
    parent, _, _ = key.rpartition(".")
    module = modules.get(parent)
    if module is not None:
        return any(True for _ in module.parameters(recurse=False))
    block = _NUMBER.search(key)
    blocks = modules.get(key[: block.start() - 1]) if block else None
    if block is None or not isinstance(blocks, nn.ModuleList):
        return False
    if int(block.group()) >= len(blocks):
        return int(block.group()) >= len(blocks) + _predicting(model)
    return key.endswith((".weight", ".bias"))


def _predicting(model: PreTrainedModel) -> int:
    """How many blocks behind the last predict further tokens: they are trained beside the model."""
    config = model.config.get_text_config(decoder=True)
    found = getattr(config, "num_nextn_predict_layers", None)
    return found if isinstance(found, int) else 0


def _offloaded(model: PreTrainedModel) -> bool:
    """Whether weights wait elsewhere until they are needed."""
    places: Collection[Any] = (getattr(model, "hf_device_map", None) or {}).values()
    return bool({"cpu", "disk"} & {str(place) for place in places})


def _refused(name: str, what: str, keys: list[str]) -> ModelError:
    return ModelError(
        f"the checkpoint of {name} {what} {_some(keys)}: its configuration and its weights do not belong"
        " together, or the weights are not whole; fetch or save the model again"
    )


def _some(keys: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    first = list(keys)
    more = f" and {len(first) - _SHOWN:,} more" if len(first) > _SHOWN else ""
    return ", ".join(first[:_SHOWN]) + more
