"""Milliseconds of the head alone, by strategy: real weights, real states of one text, no trunk.

    python benchmarks/heads.py                             # SmolLM2, float32, 2 threads, batch 1 and 8
    python benchmarks/heads.py --model gemma3-270m --strategy sled:low --strategy delta:M=12,L=20

Each round takes the next positions of the text and lets every strategy score them once, in turn, so that a
slow stretch of the machine hits all of them. Given are medians over the rounds: the time of a position, and
the ratio to vanilla's in the same round.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from models import load_benchmark_model
from torch import Tensor
from transformers import AutoTokenizer

import dola
from dola.head import ContrastiveHead
from dola.models.parts import ModelParts, take_apart
from dola.models.projection import head_of
from dola.models.trunk import hidden_states
from dola.strategies import OWN, ResolvedStrategy, all_reads, exits_of, resolve_all, strategy_label

TEXT = (
    "The deepest part of the ocean is the Challenger Deep in the Mariana Trench, nearly eleven kilometres"
    " below the surface of the western Pacific. Two people reached it first in 1960. The pressure"
    " there is more than a thousand times that of the air at sea level, and yet there is life: amphipods, sea"
    " cucumbers and single-celled organisms as large as a hand live in the mud of the trench."
)


def strategies(num_layers: int) -> list[str]:
    """DoLa and SLED on 8 candidates of the lower half, SLED on all layers, DeLTa on the upper half."""
    candidates = ",".join(map(str, [*range(0, num_layers // 2, max(1, num_layers // 2 // 8))][:8]))
    lower = f"{candidates},-1"
    return [
        *("-1", f"{num_layers // 2},-1", lower, "low", "high"),
        *(f"sled:{lower}", "sled:all", "sled:all:scale=75,steps=10"),
        f"delta:M={num_layers // 2},L={num_layers + 1}",
    ]


def states_of(parts: ModelParts, ids: Tensor, strategies: Sequence[ResolvedStrategy]) -> list[Tensor]:
    """For each strategy the states `[E, T, D]` at what it reads."""
    exits = exits_of(all_reads(each.reads for each in strategies))
    states = hidden_states(parts, ids, exits)[:, 0]
    return [states[[exits.index(exit) for exit in exits_of(each.reads)]].clone() for each in strategies]


@torch.inference_mode()
def measure(
    head: ContrastiveHead,
    strategies: Sequence[ResolvedStrategy],
    states: Sequence[Tensor],
    *,
    batch: int,
    rounds: int,
) -> list[list[float]]:
    """Of each strategy, each round's seconds; the first rounds, which warm up, are left out."""
    seconds: list[list[float]] = [[] for _ in strategies]
    positions = states[0].shape[1] - batch
    for turn in range(-2, rounds):
        first = (turn * batch) % positions
        for strategy, of_strategy, taken in zip(strategies, states, seconds, strict=True):
            hidden = of_strategy[:, first : first + batch]
            start = time.perf_counter()
            head.score(hidden, [strategy])
            if turn >= 0:
                taken.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--strategy", action="append", help="as in --early-exit-layers; several times")
    parser.add_argument("--batch", type=int, action="append", help="positions at once; default: 1 and 8")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_benchmark_model(args.model, dtype=getattr(torch, args.dtype), device="cpu")
    parts = take_apart(model)
    tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    texts = args.strategy or strategies(parts.depth.num_layers)
    asked = [dola.parse_strategy(text) for text in dict.fromkeys(["-1", *texts])]
    resolved = resolve_all(asked, {OWN: parts.depth})
    batches = args.batch or [1, 8]
    with torch.inference_mode():
        states = states_of(parts, ids, resolved)
    found = [measure(head_of(parts), resolved, states, batch=batch, rounds=args.rounds) for batch in batches]
    print(
        f"{args.model}, {args.dtype}, {args.threads} threads, {args.rounds} rounds: ms of the head a position"
    )
    print()
    print("| strategy | exits |", " | ".join(f"batch {batch} | to vanilla" for batch in batches), "|")
    print("| --- | ---: |", " | ".join("---: | ---:" for _ in batches), "|")
    for at, (strategy, each) in enumerate(zip(asked, resolved, strict=True)):
        cells = []
        for batch, seconds in zip(batches, found, strict=True):
            ratios = [one / plain for one, plain in zip(seconds[at], seconds[0], strict=True)]
            cells.append(f"{1000 * statistics.median(seconds[at]) / batch:.2f}")
            cells.append(f"{statistics.median(ratios):.2f}")
        print(f"| {strategy_label(strategy, '')} | {len(exits_of(each.reads))} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
