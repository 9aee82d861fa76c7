"""Watches a live model's passes for states and logits that are no numbers, without keeping it waiting."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LogitsProcessor, PreTrainedModel

from dola.contrast import are_distributions, are_finite
from dola.models.numerics import refuse, tally
from dola.models.parts import depth_of, input_device
from dola.models.tap import Keep, kept_positions
from dola.strategies import Exit


class Watch:
    """Refuses what cannot be scored: on a CPU at once, elsewhere when the next pass begins or at the end, by
    when the device has the answer. Inside a compiled graph it only counts, and what it counted is read by
    whatever comes after it outside of one.
    """

    def __init__(self, model: PreTrainedModel, exits: Sequence[Exit]) -> None:
        self._model = model
        self._exits = tuple(exits)
        self._real: Tensor | None = None
        self._waiting = False
        with torch.inference_mode(mode=False):
            self._counts = torch.zeros(3, len(exits), dtype=torch.int64, device=input_device(model))
        if self._counts.device.type == "cuda":  # as a static cache's: changed in place by recorded graphs
            torch._dynamo.mark_static_address(self._counts)

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Before a pass of the model with these arguments: what the ones before it left is read.

        Raises:
            NumericsError: an earlier pass read what is no number.
        """
        if not torch.compiler.is_compiling():
            self.settle()
        self._real = _real_positions(arguments)

    def look(self, finite: Tensor, unusable: Tensor) -> None:
        """At the exits' states and logits of a pass: see `tally`. Both `[E, B, T]`, or without T.

        Raises:
            NumericsError: they are no numbers, at a position that is not padding.
        """
        real, self._real = self._real, None
        if real is None or real.shape != unusable.shape[1:]:
            real = torch.ones_like(unusable[0])
        real = real.to(unusable.device)
        unusable = unusable & real
        if _answers_at_once(unusable):
            if bool(unusable.any()):
                refuse(self._model, self._exits, tally(finite, unusable, real))
            return
        self._counts.add_(tally(finite, unusable, real).to(self._counts.device))
        self._waiting = True

    def settle(self) -> None:
        """Read what was counted.

        Raises:
            NumericsError: see `look`.
        """
        if self._waiting:
            self._waiting = False
            counts = self._counts.clone()
            self._counts.zero_()
            refuse(self._model, self._exits, counts)

    def forget(self) -> None:
        """What was counted is of no interest any more."""
        self._waiting = False
        self._counts.zero_()


def _answers_at_once(flags: Tensor) -> bool:
    return flags.device.type == "cpu" and not torch.compiler.is_compiling()


def _real_positions(arguments: Mapping[str, Any]) -> Tensor | None:
    """Which of the positions whose logits are asked for are no padding, bool `[B, T']`; None: not known."""
    ids, mask = arguments.get("input_ids"), arguments.get("attention_mask")
    ids = arguments.get("inputs_embeds") if ids is None else ids
    if isinstance(mask, dict):  # by kind of attention, as a static cache has it
        mask = next(iter(mask.values()), None)
    if not isinstance(mask, Tensor) or not isinstance(ids, Tensor) or mask.ndim not in (2, 4):
        return None
    if mask.is_floating_point():  # added to what attention makes of two positions
        mask = mask > torch.finfo(mask.dtype).min / 2
    seen = mask != 0
    real = seen if mask.ndim == 2 else seen[:, 0].any(-1)  # what is padded on the left sees nothing
    real = real[:, -ids.shape[1] :]
    keep: Keep = arguments.get("logits_to_keep", 0)
    real = kept_positions(real, keep)
    # A row of nothing but padding: the mask is not of these positions, or all of them are as good.
    return real if real.ndim == 1 else real | ~real.any(-1, keepdim=True)


class HostScores(LogitsProcessor):
    """Changes nothing; looks at the scores of a host that decodes by its own head.

    What the head itself read and gave is looked at too: a cap makes ordinary numbers of infinite ones.
    """

    def __init__(self, watch: Watch, *, guessed: bool) -> None:
        """`guessed`: several positions of a pass are scored, and not its last one alone."""
        self._watch = watch
        self._guessed = guessed
        self._finite: Tensor | None = None  # [B, T] of the latest pass
        self._sound: Tensor | None = None

    def saw(self, _head: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A forward hook on the head."""
        self._finite = self._sound = None
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor) and output.ndim == 3:
            self._finite, self._sound = are_finite(args[0]), are_distributions(output)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:  # noqa: ARG002
        self._watch.settle()
        sound = are_distributions(scores)
        finite = self._of_rows(self._finite, sound)
        unusable = ~(sound & finite & self._of_rows(self._sound, sound))
        self._watch.look(finite[None], unusable[None])
        return scores

    def _of_rows(self, flags: Tensor | None, like: Tensor) -> Tensor:
        """Flags `[B, T]` of the positions that are scored, as `[B]`; True where nothing is known."""
        if flags is None or flags.shape[0] != like.shape[0]:
            return torch.ones_like(like)
        return (flags.all(1) if self._guessed else flags[:, -1]).to(like.device)


@contextmanager
def watched_host(model: PreTrainedModel, *, guessed: bool) -> Iterator[HostScores]:
    """The first of the logits processors to decode with, while the model's own head is in its place.

    Raises:
        NumericsError: at the end, what the last pass left.
    """
    watch = Watch(model, [Exit(depth_of(model.config).num_layers, norm=False)])
    scores = HostScores(watch, guessed=guessed)
    get_head: Callable[[], nn.Module | None] = model.get_output_embeddings
    head = get_head()
    handle = None if head is None else head.register_forward_hook(scores.saw)
    try:
        yield scores
    finally:
        if handle is not None:
            handle.remove()
    watch.settle()
