"""What a model can: everything that decides which way of working is exact for it, asked in one place."""

import inspect
from dataclasses import dataclass
from typing import Self
from weakref import WeakKeyDictionary

from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from dola.errors import ModelError
from dola.models.parts import ModelParts, take_apart
from dola.models.probe import probe
from dola.models.tree import follows_trees

# Their recurrence runs through the padding: the mask reaches nothing but their attention.
_RECUR_THROUGH_PADDING = frozenset({"recurrent_gemma"})

# Rotary embeddings whose frequencies depend on how long the whole text is: a prefix computed for a shorter
# text is then not the prefix of a longer one.
_LENGTH_DEPENDENT = ("dynamic", "longrope")

# By trunk: its way to attend when it was asked, and the answer.
_FOLLOWS_TREES: WeakKeyDictionary[nn.Module, tuple[object, bool]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Capabilities:
    """What a model can. Nothing is kept: each answer is that of the model as it is when asked.

    Attributes:
        parts: the model taken apart; None where that cannot be, and then the least is assumed of it.
    """

    model: PreTrainedModel
    parts: ModelParts | None

    @classmethod
    def of(cls, model: PreTrainedModel) -> Self:
        """Of any model, also one that no strategy but plain decoding works with."""
        try:
            return cls(model, take_apart(model))
        except ModelError:
            return cls(model, None)

    @property
    def context(self) -> int | None:
        """How many tokens it can hold, or None where its configuration sets no limit."""
        text = self.model.config.get_text_config(decoder=True)
        context: int | None = getattr(text, "max_position_embeddings", None)
        return context

    @property
    def tested(self) -> bool:
        """Whether its class is one of the layout table, for each of which tests show what is said here."""
        return self.parts is not None and self.parts.listed

    def ensure_pictured(self) -> None:
        """See to it that our picture of its parts is right: one that is not `tested` is probed.

        Raises:
            ModelError: the picture does not give the model's own logits, or there is none.
            NumericsError: the logits are no numbers.
        """
        if not self.tested:
            probe(self.model, take_apart(self.model) if self.parts is None else self.parts)

    @property
    def pads(self) -> bool:
        """Whether padding on the left leaves every row as it is alone."""
        recurs = self.model.config.model_type in _RECUR_THROUGH_PADDING
        return self.tested and not recurs and not self.rotates_by_length

    @property
    def rotates_by_length(self) -> bool:
        """Whether a position's rotary embedding depends on how long the text, or the batch's longest, is."""
        text = self.model.config.get_text_config(decoder=True)
        rope = getattr(text, "rope_parameters", None) or {}
        nested = [value for value in rope.values() if isinstance(value, dict)]  # one a kind of layer
        return any(each.get("rope_type") in _LENGTH_DEPENDENT for each in (rope, *nested))

    @property
    def shares_prefixes(self) -> bool:
        """Whether a text's keys and values may be computed once and gone on from several times.

        Not so for a model that keeps a recurrent state, or keeps its cache in a form of its own.
        """
        if self.parts is None or self.rotates_by_length:
            return False
        if "past_key_values" not in inspect.signature(self.parts.trunk.forward).parameters:
            return False
        kinds = {type(layer) for layer in DynamicCache(config=self.model.config).layers}
        return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}

    @property
    def shares_prefixes_of_rows(self) -> bool:
        """Whether one prefix may be laid under rows of different lengths, beneath their padding."""
        return self.pads and self.shares_prefixes

    @property
    def reads_trees(self) -> bool:
        """Whether its trunk takes positions and a mask and does what they say, so that branches of a text
        may lie in one row.

        It is asked with a small tree, once a model and way to attend. That is too small to show a window:
        those of the cache, which a tree's mask replaces, are the caller's care, and a model that counts
        columns, or that nobody has looked at, is not asked.

        Raises:
            torch.OutOfMemoryError: there is not even room for the small tree.
        """
        if self.parts is None or self.parts.by_columns or not self.tested or not self.shares_prefixes:
            return False
        trunk = self.parts.trunk
        attention: object = getattr(self.model.config, "_attn_implementation", None)
        known = _FOLLOWS_TREES.get(trunk)
        if known is None or known[0] != attention:
            known = _FOLLOWS_TREES[trunk] = attention, follows_trees(self.model, self.parts)
        return known[1]
