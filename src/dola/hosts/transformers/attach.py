"""A contrastive head on a loaded model, in place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import LogitsProcessorList, PreTrainedModel

from dola.contrast import are_distributions, are_finite
from dola.errors import ModelError, StrategyError
from dola.head import ContrastiveHead
from dola.hosts.transformers.onlooker import Onlooker
from dola.hosts.transformers.plug import Plug, Socket
from dola.hosts.transformers.processors import for_contrast, refuse_early_drafts
from dola.hosts.transformers.watch import Watch
from dola.models.capabilities import Capabilities
from dola.models.parts import take_apart
from dola.models.tap import Keep, kept_positions
from dola.models.turns import turn
from dola.models.wrappers import unwrapped
from dola.strategies import OWN, Strategy, exits_of, resolve_all

_MARK = "_dola_attachment"


@dataclass(frozen=True)
class LastPass:
    """What the latest forward pass was contrasted with, at the positions `[B, T]` whose logits it gave.

    Attributes:
        premature: the layers' numbers `[B, T]`, -1 where there is none; None where none is ever chosen.
        details: with one strategy, by name, what its scores were made from: `[B, T]`, or `[K, B, T]` of its
            K candidates.
    """

    premature: Tensor | None
    details: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def left_out(self) -> Tensor | None:
        """How many candidates held NaN or infinity `[B, T]`, and were left out of the choice."""
        return self.details.get("left_out")


class Attachment:
    """A contrastive head on a model, until `detach` or the end of the `with` block.

    Attributes:
        model: the model, changed in place.
        resolved: the strategies with the model's own layer numbers.
        last: what the latest forward pass was contrasted with; None before the first, and after `detach`.
        which: of each position of the next pass the strategy, an index into them that expands to `[B, T]`.
            None: as many neighbouring rows of the batch each as there are for one, so that the beams of a row
            have its strategy.
    """

    def __init__(self, model: PreTrainedModel, strategies: Sequence[Strategy | str]) -> None:
        parts = take_apart(model)
        if attached(model) is not None:
            raise ModelError(f"{type(model).__name__} has a strategy attached already: detach that one first")
        self.model = model
        self._depths = {OWN: parts.depth}
        self.resolved = tuple(resolve_all(strategies, self._depths))
        if not self.resolved:
            raise StrategyError("no strategy given: expected one, or one for each row")
        Capabilities(model, parts).ensure_pictured()
        self.last: LastPass | None = None
        self.which: Tensor | None = None
        self._keep: Keep = 0
        exits = exits_of(read for each in self.resolved for read in each.reads)
        self._watch = Watch(model, exits)
        self._plug: Plug | Onlooker
        if all(each.plain for each in self.resolved):
            self._plug = Onlooker(model, parts, self._begin, self._look)
        else:
            self._plug = Plug(model, parts, Socket(exits, self._begin, self._score, _for_contrast))
        setattr(model, _MARK, self)

    @property
    def strategy(self) -> Strategy:
        """The strategy, or the first of them, with the model's own layer numbers."""
        return self.resolved[0].strategy

    def _begin(self, arguments: Mapping[str, Any]) -> None:
        self.last = None
        self._keep = arguments.get("logits_to_keep", 0)
        self._watch.begin(arguments)

    def _score(self, head: ContrastiveHead, hidden: Tensor, logits: Tensor | None) -> Tensor:
        """States `[E, B, T, D]`, and their logits where they are known, -> scores `[B, T, V]`."""
        scores = head.score(hidden, self.resolved, self._index(hidden), logits)
        self._watch.look(scores.finite, scores.unusable)
        self.last = LastPass(scores.contrast.premature, scores.contrast.details)
        return scores.contrast.scores

    def _look(self, hidden: Tensor, logits: Tensor) -> None:
        """At the states `[B, T, D]` and logits `[B, T, V]` of a pass in which nothing is contrasted."""
        self._watch.look(are_finite(hidden)[None], ~are_distributions(logits)[None])
        self.last = LastPass(None)

    def _index(self, hidden: Tensor) -> Tensor | None:
        """Of each position its strategy `[B, T]`; None where all have the same."""
        count, positions = len(self.resolved), hidden.shape[1:-1]
        if count == 1:
            return None
        if self.which is not None:
            _check_index(self.which, count)
            try:
                return self.which.to(hidden.device).expand(positions)
            except RuntimeError:
                raise StrategyError(
                    f"attachment.which has shape {list(self.which.shape)}, and the pass has positions"
                    f" {list(positions)}: expected an index that expands to them"
                ) from None
        mask = self._keep if isinstance(self._keep, Tensor) and self._keep.dtype == torch.bool else None
        batch = positions if mask is None or mask.ndim < 2 else mask.shape
        if batch[0] % count:
            raise StrategyError(
                f"{count} strategies for a batch of {batch[0]} rows: expected one for each row (or for"
                " the beams of each), or an index of the positions in attachment.which"
            )
        rows = torch.arange(batch[0], device=hidden.device) // (batch[0] // count)
        index = rows.view(-1, *[1] * (len(batch) - 1)).expand(batch)
        return index if batch is positions else kept_positions(index, self._keep)

    def detach(self) -> None:
        """Put the model back as it was. Detaching twice does nothing.

        Raises:
            NumericsError: the last forward pass read what is no number, and nobody has said so yet.
        """
        if attached(self.model) is not self:
            return
        self._plug.remove()
        delattr(self.model, _MARK)
        self.last = None
        self._watch.settle()

    def __getstate__(self) -> dict[str, Any]:
        """Without what the strategies resolve to, functions: a copied or pickled model has its own."""
        return {**vars(self), "resolved": tuple(each.strategy for each in self.resolved)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.resolved = tuple(resolve_all(state["resolved"], self._depths))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # which is not to be hidden by what it may well have come from
            self._watch.forget()
        self.detach()


def _check_index(which: Tensor, count: int) -> None:
    whole = not which.is_floating_point() and which.dtype != torch.bool
    if torch.compiler.is_compiling() or (whole and bool(((which >= 0) & (which < count)).all())):
        return
    raise StrategyError(
        f"attachment.which chooses among {count} strategies: expected whole numbers in 0..{count - 1}, found"
        f" {sorted(set(which.flatten().tolist()))}"
    )


def attach(model: nn.Module, strategy: Strategy | str | Sequence[Strategy | str]) -> Attachment:
    """Give a loaded model a contrastive head, in place.

        with dola.attach(model, dola.DoLa("high")):
            model.generate(**inputs, max_new_tokens=64)

    Its logits are then the strategy's scores `[B, T, V]` in float32; tokens that are ruled out lie finitely
    below all others. The weights are not touched. With `Vanilla` alone the model stays what it is, to the
    bit, and is only watched for NaN. With a list of strategies each row of the batch has its own;
    `Attachment.which` gives one to each position. One attachment at a time, and for one thread: while it
    is attached, the model's own calls are not kept apart (those of `LanguageModel` are, and refuse to
    generate meanwhile). `generate` refuses `guidance_scale` and `assistant_early_exit` while a contrasting
    strategy is attached.

    The contrast goes through the head that the model has in each pass, whatever has become of it since, with
    all that hangs on it: adapters, hooks, quantised weights. A copy of an attached model has an attachment of
    its own, `attached(copy)`.

    Where NaN, +inf or a row of nothing but -inf is read, padding aside, the forward pass raises
    NumericsError; on CUDA, so that nothing waits, the next pass or `detach` does. A candidate of `DoLa` is
    left out instead, and counted in `last.left_out`.

    Args:
        model: a transformers model, or what PEFT, torch.compile or a parallel wrapper has made of one.
        strategy: or its text form (`"high"`, `"sled:low"`), or one of either for each row.

    Raises:
        ModelError: not a decoder-only language model with a head, one already attached, or an unlisted
            architecture whose logits are not reproduced; or the call comes from within a batch of it.
        LayerError: a layer that the model lacks.
        StrategyError: no such strategy; of a misspelt one the nearest is said.
    """
    several = isinstance(strategy, Sequence) and not isinstance(strategy, str)
    strategies: Any = strategy if several else [strategy]  # each of which is checked
    inside = unwrapped(model)
    with turn(inside):
        return Attachment(inside, strategies)


def attached(model: nn.Module) -> Attachment | None:
    """The attachment on this model, if there is one."""
    found: Attachment | None = vars(unwrapped(model)).get(_MARK)
    return found


def _for_contrast(generation_config: Any, prepared: LogitsProcessorList) -> LogitsProcessorList:
    refuse_early_drafts(generation_config)
    return for_contrast(prepared, beams=(generation_config.num_beams or 1) > 1)
