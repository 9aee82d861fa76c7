"""The files of a model's folder that say what it is: read once before the host does, so that what is wrong
with one is said of that file. (The host takes a broken `generation_config.json` for none, and speaks of the
others in the words of whatever line of its code met them.)"""

from __future__ import annotations

import json
from pathlib import Path

from dola.errors import ModelError

_SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
)
_OTHERS = ("tokenizer.json", "chat_template.jinja", "model.safetensors", "model.safetensors.index.json")


def check_described(folder: Path) -> None:
    """See that the files which are there are files, and those with settings JSON objects.

    Raises:
        ModelError: one that is not.
    """
    for name in (*_SETTINGS, *_OTHERS):
        path = folder / name
        if (path.exists() or path.is_symlink()) and not path.is_file():
            raise ModelError(f"{path} is not a file (a folder, or a link to nowhere): save the model again")
    for name in _SETTINGS:
        if (folder / name).is_file():
            _check_settings(folder / name)


def _check_settings(path: Path) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelError(f"{path} is nested too deeply: expected a JSON object of settings") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: expected a JSON object of settings ({error})") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds a JSON {type(found).__name__}: expected an object of settings")
