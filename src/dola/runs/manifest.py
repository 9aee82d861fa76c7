"""A run's manifest: what its records depend on, compared field by field when it is resumed or merged."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dola.errors import RunError

# What each field is, for the message that says it differs.
FIELDS = {
    "task": "the task",
    "data_sha256": "the data file",
    "requests_sha256": "the prompts, or the answers that are scored",
    "rows": "the rows that are scored",
    "model": "the model",
    "dtype": "the dtype of the weights",
    "strategies": "the strategies",
    "strategy_versions": "the strategies' own versions",
    "truncate": "--truncate",
    "repetition_penalty": "the repetition penalties, one a strategy",
    "max_new_tokens": "--max-new-tokens",
    "do_sample": "--do_sample",
    "temperature": "--temperature",
    "top_p": "--top_p",
    "top_k": "--top_k",
    "seed": "--seed",
    "batch_size": "--batch-size",  # of results from when it decided what is drawn
    "stop": "the texts that end a completion",
    "attempts": "--retry",
    "code": "the version of dola",
}
# The fields in which the shards of one run differ.
OF_A_SHARD = ("rows", "requests_sha256")


def differences(
    recorded: Mapping[str, Any], asked: Mapping[str, Any], *, ignoring: tuple[str, ...] = ()
) -> list[str]:
    """Each field that is not the same, in words: `the model: recorded ..., now ...`."""
    return [
        f"{FIELDS[field]}: recorded {_shown(recorded.get(field))}, now {_shown(asked.get(field))}"
        for field in FIELDS
        if field not in ignoring and recorded.get(field) != asked.get(field)
    ]


def check_same_run(recorded: Mapping[str, Any], asked: Mapping[str, Any], *, where: str) -> None:
    """Refuse to go on with another run's records.

    Raises:
        RunError: with every field that differs.
    """
    found = differences(recorded, asked)
    if found:
        raise RunError(
            f"{where} holds records of another run; {'; '.join(found)}."
            " Give another --output-path, or --overwrite to start anew"
        )


def environment() -> dict[str, str]:
    """What the run was made with; recorded, but not compared: a run may be resumed on another machine."""
    return {"python": platform.python_version(), "platform": platform.platform(terse=True)} | {
        name: found for name in ("torch", "transformers", "scipy") if (found := _version(name))
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."
