"""How a run takes tokens from its strategies' scores: as it says, and else as the released script does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dola.errors import RunError
from dola.runs.generation_plan import Decoding

if TYPE_CHECKING:
    from dola.runs.spec import RunSpec
    from dola.strategies import Depth, Strategy

_SAMPLED_ONLY = {"temperature": "--temperature", "top_p": "--top_p", "top_k": "--top_k"}


def decoding_of(spec: RunSpec, tell: Callable[[str], None]) -> Decoding:
    """The run's settings; what is without effect is told."""
    released = spec.benchmark.preset
    limit = spec.max_new_tokens or released.max_new_tokens
    if limit is None:
        raise RunError(f"{spec.task} has no longest completion of its own: give max_new_tokens")
    if not spec.sampled:
        unused = [flag for name, flag in _SAMPLED_ONLY.items() if getattr(spec, name) is not None]
        if unused:
            tell(f"{', '.join(unused)}: without effect in greedy decoding (see --do_sample)")
        return Decoding(limit)
    known = released.sampling
    return Decoding(
        max_new_tokens=limit,
        do_sample=True,
        temperature=known.temperature if spec.temperature is None else spec.temperature,
        top_p=known.top_p if spec.top_p is None else spec.top_p,
        top_k=known.top_k if spec.top_k is None else spec.top_k,
        seed=spec.seed,
    )


def penalties_of(spec: RunSpec, strategies: Sequence[Strategy], depth: Depth) -> tuple[float, ...]:
    """Each strategy's repetition penalty: as said, else as released, else (preset `own`) none."""
    if spec.repetition_penalty is not None:
        return (spec.repetition_penalty,) * len(strategies)
    if spec.preset != "released":
        return (1.0,) * len(strategies)
    from dola.strategies import OWN, resolve_all

    released = spec.benchmark.preset
    return tuple(
        released.repetition_penalty_vanilla if resolved.plain else released.repetition_penalty_contrast
        for resolved in resolve_all(strategies, {OWN: depth})
    )


def attempts_of(spec: RunSpec, tell: Callable[[str], None]) -> int:
    """How often to generate at most; where asking for more is in vain, that is told."""
    if spec.retry > 1 and not spec.benchmark.retries:
        tell(f"--retry: without effect in {spec.task}, as in the released script")
        return 1
    if spec.retry > 1 and not (spec.sampled or spec.do_shuffle):
        tell(
            "--retry: greedy decoding of the same prompt gives the same text, so it is not repeated"
            " (see --do_sample and --do_shuffle)"
        )
    return spec.retry
