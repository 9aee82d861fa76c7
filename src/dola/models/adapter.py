"""An adapter on a loaded model, by the host's own hand (PEFT's, through transformers)."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from transformers import PreTrainedModel

from dola.errors import MissingExtraError, ModelError, in_one_line


def put_on(model: PreTrainedModel, adapter: str, name: str) -> None:
    """Put an adapter (a folder that PEFT saved, or a hub id) on the model, and switch it on.

    Args:
        name: the model's, for errors.

    Raises:
        MissingExtraError: peft is not installed.
        ModelError: not found, not of this model, or not whole.
    """
    if find_spec("peft") is None:
        raise MissingExtraError("load(adapter=...)", "judge")
    host: Any = model
    try:
        report = host.load_adapter(adapter, ignore_mismatched_sizes=True)
    except Exception as error:  # readers of damaged files raise types of their own
        raise ModelError(f"cannot put the adapter {adapter!r} on {name}: {in_one_line(error)}") from error
    wrong = {
        "lacks": report.missing_keys,
        "has, and the model does not,": report.unexpected_keys,
        "has in another shape": [key for key, *_ in report.mismatched_keys],
    }
    for what, keys in wrong.items():
        if keys:
            raise ModelError(
                f"the adapter {adapter!r} {what} {_some(keys)}: it is another model's than {name}, or not"
                " whole"
            )
    model.train(mode=False)


def _some(keys: Iterable[str]) -> str:
    first, *more = sorted(keys)
    return f"{first} and {len(more)} more" if more else first
