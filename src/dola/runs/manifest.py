"""A run's manifest: what its records depend on, compared field by field when it is resumed or merged."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dola.errors import RunError
from dola.runs.versions import first_alike

# What each field is, for the message that says it differs.
FIELDS = {
    "task": "the task",
    "task_version": "the task's own version",
    "data_sha256": "the data file",
    "requests_sha256": "the prompts, or the answers that are scored",
    "rows": "the rows that are scored",
    "model": "the model",
    "dtype": "the dtype of the weights",
    "strategies": "the strategies",
    "strategy_versions": "the strategies' own versions",
    "method_version": "the version of how dola scores or generates",
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
# Said, and no reason to refuse anything: whether the code records the same, the versions say.
SAID = ("code",)
# The fields in which the shards of one run differ.
OF_A_SHARD = ("rows", "requests_sha256")
# What manifests of before versions count as; the strategies' are as many as they are.
_FIRST = {"task_version": 1, "method_version": 1}


def differences(
    recorded: Mapping[str, Any], asked: Mapping[str, Any], *, ignoring: tuple[str, ...] = ()
) -> list[str]:
    """Each field that is not the same, in words: `the model: recorded ..., now ...`."""
    pairs = {
        field: (_value(recorded, field, beside=asked), _value(asked, field, beside=recorded))
        for field in FIELDS
        if field not in ignoring
    }
    return [
        f"{FIELDS[field]}: recorded {_shown(one)}, now {_shown(other)}"
        for field, (one, other) in pairs.items()
        if one != other
    ]


def _value(manifest: Mapping[str, Any], field: str, *, beside: Mapping[str, Any]) -> Any:
    """A field's value; of a manifest of before there were versions, the first of each."""
    if field != "strategy_versions" or field in manifest:
        return manifest.get(field, _FIRST.get(field))
    return [first_alike(version) for version in beside.get(field, ())] or None


def check_same_run(recorded: Mapping[str, Any], asked: Mapping[str, Any], *, where: str) -> None:
    """Refuse to go on with another run's records.

    Raises:
        RunError: with every field that differs.
    """
    found = differences(recorded, asked, ignoring=SAID)
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
