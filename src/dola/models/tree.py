"""Several branches of a text in one row, where each token sees its own branch and nothing of the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from dola.models.parts import ModelParts, input_device


class TreeArguments(TypedDict):
    """What tells a trunk of a tree: positions `[1, T]`, and what is added to the attention's scores, 0 where
    a token may look, `[1, 1, T, past + T]`."""

    position_ids: Tensor
    attention_mask: Tensor


@dataclass(frozen=True)
class Tree:
    """How the tokens of a row follow one another.

    Attributes:
        parents: of each token, the place in the row of the one before it, which lies further left; -1 where
            that is the last token of the common past.
    """

    parents: Sequence[int]

    def arguments(self, past: int, *, dtype: torch.dtype, device: torch.device) -> TreeArguments:
        """For a row after `past` tokens, all of which every token sees."""
        count = len(self.parents)
        positions: list[int] = []
        sees = torch.eye(count, dtype=torch.bool)
        for place, parent in enumerate(self.parents):
            positions.append(past if parent < 0 else positions[parent] + 1)
            if parent >= 0:
                sees[place] |= sees[parent]
        # Additive: every way to attend takes it, where a mask of booleans is for one of them alone.
        mask = torch.zeros(1, 1, count, past + count, dtype=dtype)
        mask[0, 0, :, past:].masked_fill_(~sees, torch.finfo(dtype).min)
        return {"position_ids": torch.tensor([positions], device=device), "attention_mask": mask.to(device)}


# Lengths of the small tree that it is asked with: of the common past, and of each of two branches.
_PAST, _BRANCH = 4, 6


def follows_trees(model: PreTrainedModel, parts: ModelParts) -> bool:
    """Whether the trunk, which can share prefixes, gives the same for a small tree branch by branch and in
    one row.

    Raises:
        torch.OutOfMemoryError: there is not even room for the small tree.
    """
    count = _PAST + 2 * _BRANCH
    device = input_device(model)
    # Of the lower half of the vocabulary, as the ids of padding and of images are at its ends.
    ids = torch.arange(1, count + 1, device=device)[None] * parts.vocab_size // (2 * count)
    past, first, second = torch.split(ids, [_PAST, _BRANCH, _BRANCH], dim=1)
    tree = Tree([*range(-1, _BRANCH - 1), -1, *range(_BRANCH, 2 * _BRANCH - 1)])

    def states(row: Tensor, cache: DynamicCache, **arguments: Tensor) -> Tensor:
        output = parts.trunk(input_ids=row, past_key_values=cache, use_cache=True, **arguments)
        hidden: Tensor = output.last_hidden_state[0]
        return hidden.float()

    with torch.inference_mode():
        rows = (torch.cat([past, branch], dim=1) for branch in (first, second))
        apart = torch.cat([states(row, DynamicCache(config=model.config))[_PAST:] for row in rows])
        cache = DynamicCache(config=model.config)
        states(past, cache)
        arguments = tree.arguments(_PAST, dtype=model.dtype, device=device)
        try:
            together = states(torch.cat([first, second], dim=1), cache, **arguments)
        except torch.OutOfMemoryError:
            raise  # which says nothing of the model
        except Exception:  # noqa: BLE001 - whatever a model says to a mask that it does not know
            return False
    # A token that sees too much, or stands elsewhere, is off by far more than the order of summation makes.
    tolerance = max(1e-4, 8 * torch.finfo(model.dtype).eps)
    return bool(((together - apart).norm(dim=-1) <= tolerance * apart.norm(dim=-1)).all())
