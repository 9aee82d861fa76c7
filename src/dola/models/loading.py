"""From a name to a model: an alias, a hub id, a local folder, or a GGUF file."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import DolaError, ModelError
from dola.models.aliases import ALIASES, resolve_alias
from dola.models.parts import depth_of
from dola.models.placement import Placement
from dola.models.unpacked import unpacked_folder
from dola.strategies import Depth

Progress = Callable[[str], None]


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
        if not (path / "config.json").is_file():
            raise ModelError(f"{name} has no config.json: expected a folder saved by save_pretrained")
        return ModelSource(name, str(path))
    if name.endswith(".gguf") or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"no such model file or folder: {name}")
    return ModelSource(name, name)


@lru_cache  # a GGUF file's metadata takes ten seconds to read
def load_depth(source: ModelSource, *, trust_remote_code: bool = False) -> Depth:
    """The model's depth from its configuration alone, before any weights load."""
    with _failures_explained(source):
        config = AutoConfig.from_pretrained(**source.arguments, trust_remote_code=trust_remote_code)
    return depth_of(config)


def load_model(
    source: ModelSource, placement: Placement, *, trust_remote_code: bool = False
) -> tuple[PreTrainedModel, Tokenizer]:
    """The model, in evaluation mode and where `placement` puts it, and its tokenizer.

    Raises:
        ModelError: not found, not reachable, or not a causal language model.
    """
    with _failures_explained(source):
        arguments = source.arguments | {"trust_remote_code": trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(**arguments)
        model = AutoModelForCausalLM.from_pretrained(**arguments, **placement.load_arguments_here())
    model.train(mode=False)
    return model, tokenizer


@contextmanager
def _failures_explained(source: ModelSource) -> Iterator[None]:
    """What the host says in many lines and many exception types, in one."""
    try:
        yield
    except (DolaError, MemoryError):
        raise
    except Exception as error:  # readers of damaged files raise types of their own, some plain `Exception`
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        nearest = difflib.get_close_matches(source.name, ALIASES, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise ModelError(
            f"cannot load {source.name!r}{hint}: {first.rstrip('.')}. Expected an alias"
            f" ({', '.join(ALIASES)}), a hub id, a folder saved by save_pretrained, or a .gguf file"
        ) from error
