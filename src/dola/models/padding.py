"""Whether rows of different lengths may form one batch without changing one another."""

from transformers import PreTrainedModel

from dola.errors import ModelError
from dola.models.parts import take_apart
from dola.models.prefix import rotates_by_length

# Their recurrence runs through the padding: the mask reaches nothing but their attention.
_RECUR_THROUGH_PADDING = frozenset({"recurrent_gemma"})


def can_pad(model: PreTrainedModel) -> bool:
    """Whether padding on the left leaves every row as it is alone.

    Shown by test for the architectures of the layout table; of others it is not known, so not done.
    """
    try:
        listed = take_apart(model).listed
    except ModelError:
        return False
    return (
        listed
        and model.config.model_type not in _RECUR_THROUGH_PADDING
        and not rotates_by_length(model.config)
    )
