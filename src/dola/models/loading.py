"""From a name to a model: an alias, a hub id, a local folder, or a GGUF file."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import DolaError, ModelError, in_one_line
from dola.models.aliases import ALIASES, resolve_alias
from dola.models.described import check_described
from dola.models.filled import check_filled, unfit
from dola.models.parts import depth_of
from dola.models.placement import Placement
from dola.models.promised import check_counts, no_larger_than
from dola.models.saved import Saved, read_saved
from dola.models.unpacked import unpacked_folder
from dola.models.vocabulary import check_ends
from dola.strategies import Depth

Progress = Callable[[str], None]
Config = Any  # a transformers configuration: its attributes differ by architecture


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


@dataclass(frozen=True)
class ModelSource:
    """Where `from_pretrained` finds a model: a folder or hub id, and the GGUF file in it if it is one."""

    name: str
    location: str
    gguf_file: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The source as `from_pretrained` takes it."""
        gguf = {} if self.gguf_file is None else {"gguf_file": self.gguf_file}
        return {"pretrained_model_name_or_path": self.location, **gguf}


def find_source(name: str, *, progress: Progress) -> ModelSource:
    """What `name` stands for; an alias is fetched first.

    Raises:
        ModelError: a path that is not there, or not a model.
    """
    weights = resolve_alias(name)
    if weights is not None:
        return ModelSource(name, str(unpacked_folder(weights, progress=progress)))
    try:
        path = Path(name).expanduser()
        path.stat()
    except FileNotFoundError:
        pass  # a hub id
    except (OSError, RuntimeError) as error:  # a name too long, no right to look, no such user's home
        raise ModelError(f"no such model file or folder: {name} ({error})") from error
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelError(
                f"{name} is a file but not a .gguf file: expected a model folder or a .gguf file"
            )
        return ModelSource(name, str(path.parent), path.name)
    if path.is_dir():
        _check_folder(name, path)
        return ModelSource(name, str(path))
    if name.endswith(".gguf") or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"no such model file or folder: {name}")
    return ModelSource(name, name)


def _check_folder(name: str, path: Path) -> None:
    if (path / "adapter_config.json").exists():
        raise ModelError(
            f"{name} holds an adapter (adapter_config.json), which the host would put on another model:"
            " merge the two and save that (peft's merge_and_unload), or attach DoLa to the model with both"
        )
    check_described(path)
    if not (path / "config.json").is_file():
        raise ModelError(f"{name} has no config.json: expected a folder saved by save_pretrained")


def _config_of(source: ModelSource, *, trust_remote_code: bool) -> Config:
    """The model's configuration, all of whose layers can be counted to."""
    with _failures_explained(source):
        if source.gguf_file is not None:
            file = (Path(source.location) / source.gguf_file).stat()
            return _gguf_config(source, file.st_size, file.st_mtime_ns)
        settings, _ = PretrainedConfig.get_config_dict(source.location)
        check_counts(settings, source.name)
        return AutoConfig.from_pretrained(**source.arguments, trust_remote_code=trust_remote_code)


@lru_cache  # its metadata takes ten seconds to read
def _gguf_config(source: ModelSource, _size: int, _changed: int) -> Config:
    return AutoConfig.from_pretrained(**source.arguments)


def _saved_of(source: ModelSource, *, trust_remote_code: bool) -> Saved | None:
    """What the weights' files say that they hold; None of a hub id that is not fetched yet."""
    config = _config_of(source, trust_remote_code=trust_remote_code)
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


def load_model(
    source: ModelSource,
    placement: Placement,
    *,
    trust_remote_code: bool = False,
    progress: Progress = _silent,
) -> tuple[PreTrainedModel, Tokenizer]:
    """The model, in evaluation mode and where `placement` puts it, and its tokenizer.

    `progress` is told the dtype and the device that were taken, and what of the weights is not used.

    Raises:
        ModelError: not found, not reachable, not a causal language model, or not whole: weights that are
            missing, misshapen or left over (`check_filled`), more model than its files can fill.
    """
    saved_as = saved_dtype(source, trust_remote_code=trust_remote_code)
    placed = placement.load_arguments_here(saved_as)
    saved = _saved_of(source, trust_remote_code=trust_remote_code)
    arguments = source.arguments | {"trust_remote_code": trust_remote_code}
    with _failures_explained(source, "the tokenizer of "):
        tokenizer = AutoTokenizer.from_pretrained(**arguments)
    with _failures_explained(source), no_larger_than(saved, source.name), unfit(source.name):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            **arguments, **placed, output_loading_info=True, ignore_mismatched_sizes=True
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
