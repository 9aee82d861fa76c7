"""Where a model is: an alias, a hub id, a local folder, or a GGUF file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dola.errors import ModelError
from dola.models.aliases import resolve_alias
from dola.models.described import check_described
from dola.models.unpacked import unpacked_folder

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Hub:
    """What `from_pretrained` takes for a hub id: a branch, tag or commit, who asks, and which folder."""

    revision: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    subfolder: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Those that are set, as `from_pretrained` takes them."""
        given = {"revision": self.revision, "token": self.token, "subfolder": self.subfolder or None}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class ModelSource:
    """Where `from_pretrained` finds a model: a folder or hub id, and the GGUF file in it if it is one.

    Attributes:
        hub: which of a hub id's files, and in whose name; nothing of what is here.
    """

    name: str
    location: str
    gguf_file: str | None = None
    hub: Hub = Hub()

    @property
    def arguments(self) -> dict[str, Any]:
        """The source as `from_pretrained` takes it."""
        gguf = {} if self.gguf_file is None else {"gguf_file": self.gguf_file}
        return {"pretrained_model_name_or_path": self.location, **gguf, **self.hub.arguments}


def find_source(name: str, *, progress: Progress, hub: Hub = Hub()) -> ModelSource:
    """What `name` stands for; an alias is fetched first.

    Args:
        hub: its `subfolder` may be one of a folder here too.

    Raises:
        ModelError: no name, a path that is not there, or not a model, or a revision of what has none.
    """
    if not name.strip():
        raise ModelError(
            "no model name: expected an alias (dola models lists them), a hub id, a folder or a file"
        )
    weights = resolve_alias(name)
    source = _found_here(name, hub.subfolder) if weights is None else None
    if weights is not None:
        source = ModelSource(name, str(unpacked_folder(weights, progress=progress)))
    if source is None:
        return ModelSource(name, name, hub=hub)
    if hub.revision is not None or (hub.subfolder and weights is not None):
        what = "subfolder" if hub.revision is None else "revision"
        raise ModelError(f"{name} is not on the hub, and has no {what} {getattr(hub, what)!r}: leave it out")
    return source


def _found_here(name: str, subfolder: str) -> ModelSource | None:
    """A folder or a file; None where there is nothing of that name, so that it may be a hub id."""
    try:
        path = Path(name).expanduser()
        path.stat()
    except FileNotFoundError:
        pass  # a hub id
    except (OSError, RuntimeError) as error:  # a name too long, no right to look, no such user's home
        raise ModelError(f"no such model file or folder: {name} ({error})") from error
    path = path / subfolder
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
    return None


def _check_folder(name: str, path: Path) -> None:
    if (path / "adapter_config.json").exists():
        raise ModelError(
            f"{name} holds an adapter (adapter_config.json), which the host would put on another model:"
            " load the two together, as in dola.load(base, adapter={name!r})"
        )
    check_described(path)
    if not (path / "config.json").is_file():
        raise ModelError(f"{name} has no config.json: expected a folder saved by save_pretrained")
