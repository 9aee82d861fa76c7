"""From where a model is to the model and its tokenizer, whole and in evaluation mode."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import DolaError, ModelError, in_one_line
from dola.models.aliases import ALIASES
from dola.models.filled import check_filled, unfit
from dola.models.parts import depth_of
from dola.models.placement import Placement
from dola.models.promised import check_counts, no_larger_than
from dola.models.saved import Saved, read_saved
from dola.models.source import ModelSource as ModelSource
from dola.models.source import Progress
from dola.models.source import find_source as find_source
from dola.models.vocabulary import check_ends
from dola.strategies import Depth

Config = Any  # a transformers configuration: its attributes differ by architecture


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


def _config_of(source: ModelSource, *, trust_remote_code: bool) -> Config:
    """The model's configuration, all of whose layers can be counted to."""
    with _failures_explained(source):
        if source.gguf_file is not None:
            file = (Path(source.location) / source.gguf_file).stat()
            return _gguf_config(source, file.st_size, file.st_mtime_ns)
        settings, _ = PretrainedConfig.get_config_dict(source.location, **source.hub.arguments)
        check_counts(settings, source.name)
        return AutoConfig.from_pretrained(**source.arguments, trust_remote_code=trust_remote_code)


@lru_cache  # its metadata takes ten seconds to read
def _gguf_config(source: ModelSource, _size: int, _changed: int) -> Config:
    return AutoConfig.from_pretrained(**source.arguments)


def _saved_of(source: ModelSource, *, trust_remote_code: bool) -> Saved | None:
    """What the weights' files say that they hold; None of a hub id that is not fetched yet."""
    config = _config_of(source, trust_remote_code=trust_remote_code)
    if source.hub.revision is not None or source.hub.subfolder:  # other files than the cache has by that name
        return None
    with _failures_explained(source):
        named = getattr(config, "transformers_weights", None)
        saved = read_saved(source.location, source.gguf_file, named=named)
    quantised = getattr(config, "quantization_config", None) is not None
    return saved.packed if saved is not None and quantised else saved


def load_depth(source: ModelSource, *, trust_remote_code: bool = False) -> Depth:
    """The model's depth from its configuration alone, before any weights load."""
    return depth_of(_config_of(source, trust_remote_code=trust_remote_code))


def saved_dtype(source: ModelSource, *, trust_remote_code: bool = False) -> str | None:
    """The dtype that a checkpoint was saved in, as torch names it, before any weights load.

    What its configuration says; of a folder whose configuration says nothing, what most of its numbers are
    in. None where neither tells: a GGUF file, a hub id whose configuration says nothing.
    """
    config = _config_of(source, trust_remote_code=trust_remote_code)
    found = getattr(config, "dtype", None) or getattr(config.get_text_config(decoder=True), "dtype", None)
    named = str(found).removeprefix("torch.")
    if isinstance(getattr(torch, named, None), torch.dtype):
        return named
    if not Path(source.location).is_dir():  # else the answer would depend on what the cache holds
        return None
    saved = _saved_of(source, trust_remote_code=trust_remote_code)
    return None if saved is None else saved.dtype


def dtype_here(
    name: str, placement: Placement, *, trust_remote_code: bool = False, progress: Progress = _silent
) -> str:
    """The dtype that `load_model` would take, before any weights load; `auto` stays `auto`."""
    taken = str(placement.load_arguments_here()["dtype"])
    if taken == placement.load_arguments_here("float16")["dtype"]:  # whatever the weights are saved in
        return taken
    saved_as = saved_dtype(find_source(name, progress=progress), trust_remote_code=trust_remote_code)
    return str(placement.load_arguments_here(saved_as)["dtype"])


@dataclass(frozen=True)
class HostOptions:
    """What else the host's `from_pretrained` takes: how to attend, how to quantise, where each part goes.

    Attributes:
        device_map: in place of what `Placement` says of devices.
    """

    attn_implementation: str | None = None
    quantization_config: Any = None
    device_map: Any = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Those that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}


def load_model(
    source: ModelSource,
    placement: Placement,
    *,
    trust_remote_code: bool = False,
    options: HostOptions = HostOptions(),
    tokenizer: Tokenizer | None = None,
    progress: Progress = _silent,
) -> tuple[PreTrainedModel, Tokenizer]:
    """The model, in evaluation mode and where `placement` puts it, and its tokenizer.

    `progress` is told the dtype and the device that were taken, and what of the weights is not used.

    Args:
        tokenizer: in place of the one that comes with the model.

    Raises:
        ModelError: not found, not reachable, not a causal language model, or not whole: weights that are
            missing, misshapen or left over (`check_filled`), more model than its files can fill.
    """
    saved_as = saved_dtype(source, trust_remote_code=trust_remote_code)
    placed = placement.load_arguments_here(saved_as)
    if options.device_map is not None:
        placed = {"dtype": placed["dtype"]}
    saved = _saved_of(source, trust_remote_code=trust_remote_code)
    arguments = source.arguments | {"trust_remote_code": trust_remote_code}
    if tokenizer is None:
        with _failures_explained(source, "the tokenizer of "):
            tokenizer = AutoTokenizer.from_pretrained(**arguments)
    with _failures_explained(source), no_larger_than(saved, source.name), unfit(source.name):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            **arguments, **placed, **options.arguments, output_loading_info=True, ignore_mismatched_sizes=True
        )
    model: PreTrainedModel = loaded[0]
    report: Mapping[str, Any] = loaded[1]
    whole = saved.whole if saved is not None else ()
    check_filled(model, report, source.name, whole=whole, tell=progress)
    check_ends(model, source.name)
    model.train(mode=False)
    dtype = str(model.dtype).removeprefix("torch.")
    was = f", saved in {saved_as}" if saved_as else ""
    progress(f"{source.name}: weights in {dtype} on {_device(model)}{was}")
    return model, tokenizer


def _device(model: PreTrainedModel) -> str:
    places = (getattr(model, "hf_device_map", None) or {"": model.device}).values()
    return ", ".join(
        dict.fromkeys(f"cuda:{place}" if isinstance(place, int) else str(place) for place in places)
    )


@contextmanager
def _failures_explained(source: ModelSource, what: str = "") -> Iterator[None]:
    """What the host says in many lines and many exception types, in one."""
    try:
        yield
    except (DolaError, MemoryError):
        raise
    except Exception as error:  # readers of damaged files raise types of their own, some plain `Exception`
        nearest = difflib.get_close_matches(source.name, ALIASES, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise ModelError(
            f"cannot load {what}{source.name!r}{hint}: {in_one_line(error)}. Expected an alias"
            f" ({', '.join(ALIASES)}), a hub id, a folder saved by save_pretrained, or a .gguf file"
        ) from error
