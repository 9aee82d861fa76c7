"""Models that have Vanilla attached as soon as they are there."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from transformers import PreTrainedModel

import dola


@contextmanager
def born_attached(kind: type[PreTrainedModel]) -> Iterator[Counter[str]]:
    """Within it every model of this class has Vanilla attached, whoever makes it, from a configuration
    (`model_class(config)`, `AutoModelForCausalLM.from_config`) or from files (`from_pretrained`): then when
    it is loaded, as a user would. Gives how many were `attached`."""
    count: Counter[str] = Counter()
    make, load = kind.__init__, kind.from_pretrained.__func__
    loading = False

    def attach(model: PreTrainedModel) -> None:
        if type(model) is kind:  # a subclass is not whole yet
            dola.attach(model, dola.Vanilla())
            count["attached"] += 1

    @wraps(make)
    def making(self: PreTrainedModel, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        if not loading:
            attach(self)

    @wraps(load)
    def from_files(cls: type[PreTrainedModel], *args: Any, **kwargs: Any) -> Any:
        nonlocal loading
        loading = True
        try:
            loaded = load(cls, *args, **kwargs)
        finally:
            loading = False
        attach(loaded[0] if isinstance(loaded, tuple) else loaded)  # a tuple: with what was missing in them
        return loaded

    with (
        patch.object(kind, "__init__", making),
        patch.object(kind, "from_pretrained", classmethod(from_files)),
    ):
        yield count
