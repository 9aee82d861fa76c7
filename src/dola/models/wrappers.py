"""The transformers model inside what other libraries wrap around one."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

# Where they keep it: torch.compile; DistributedDataParallel, DataParallel, FSDP.
_INSIDE = ("_orig_mod", "module")


def unwrapped(model: nn.Module) -> Any:
    """The model that a wrapper runs in the end; anything else as it is, for others to refuse."""
    found: Any = model
    while isinstance(found, nn.Module) and not isinstance(found, PreTrainedModel):
        inner = _inside(found)
        if inner is None:
            return model
        found = inner
    return found


def _inside(wrapper: nn.Module) -> Any:
    get_base_model: Any = getattr(wrapper, "get_base_model", None)  # PEFT
    if get_base_model is not None:
        return get_base_model()
    modules = vars(wrapper)["_modules"]
    return next((modules[name] for name in _INSIDE if isinstance(modules.get(name), nn.Module)), None)
