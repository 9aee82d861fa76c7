"""Tokens per second: plain transformers against the contrastive head, in one process, interleaved.

    python benchmarks/decode.py                        # SmolLM2, float32, CPU, 2 threads, batch 1
    python benchmarks/decode.py --batch 8 --prompt 256
    python benchmarks/decode.py --model random:llama-7b --dtype bfloat16 --device cuda --compile

Each round runs every contender once, in turn, so that a slow stretch of the machine hits all of them. A
contender's ratio is plain's time per token over its own in the same round, the median over the rounds.
The first token, and with it the reading of the prompt, is timed on its own (a run of one token); time per
token is the rest, divided by its tokens; tokens/s counts both.

`--former PYTHON` adds transformers' former built-in (`dola_layers=`, 4.44 to 4.55), run with the
interpreter of an environment that has it (`pip install transformers==4.53.3 torch`), one process a round.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from models import load_benchmark_model
from transformers import AutoTokenizer, PreTrainedModel

import dola


@dataclass(frozen=True)
class Timing:
    first_token_s: float
    per_token_s: float
    tokens_per_s: float  # of the whole batch, the first token included


def strategies(model: PreTrainedModel) -> dict[str, dola.Strategy | None]:
    """The contenders by name. DoLa and SLED read 8 candidates over the lower half, static one layer, DeLTa
    the last fifth of the layers."""
    n = model.config.num_hidden_layers
    step = max(1, n // 2 // 8)
    candidates = tuple(range(0, n // 2, step))[:8]
    return {
        "plain transformers": None,
        "vanilla, attached": dola.Vanilla(),
        "DoLa static": dola.DoLaStatic(candidates[-1]),
        f"DoLa, {len(candidates)} candidates": dola.DoLa(candidates),
        f"SLED, {len(candidates)} candidates": dola.SLED(candidates),
        "DeLTa": dola.DeLTa(M=n - max(1, n // 5), L=n + 1),
    }


def generate(model: PreTrainedModel, ids: torch.Tensor, new_tokens: int, extra: dict[str, Any]) -> float:
    """Seconds to generate exactly `new_tokens` greedily."""
    _wait(model)
    start = time.perf_counter()
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
        **extra,
    )
    _wait(model)
    return time.perf_counter() - start


def _wait(model: PreTrainedModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def measure(
    model: PreTrainedModel,
    strategy: dola.Strategy | None,
    ids: torch.Tensor,
    new_tokens: int,
    extra: dict[str, Any],
) -> Timing:
    with nullcontext() if strategy is None else dola.attach(model, strategy):
        first = generate(model, ids, 1, extra)
        whole = generate(model, ids, new_tokens, extra)
    return Timing(first, (whole - first) / (new_tokens - 1), ids.shape[0] * new_tokens / whole)


def run_rounds(contenders: dict[str, Callable[[], Timing]], rounds: int) -> dict[str, list[Timing]]:
    """One uncounted round, then `rounds` of every contender in turn."""
    results: dict[str, list[Timing]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            timing = contender()
            if number:
                results[name].append(timing)
            print(f"round {number}  {name:24} {timing.tokens_per_s:9.2f} tokens/s", file=sys.stderr)
    return results


def table(results: dict[str, list[Timing]]) -> str:
    """A Markdown table; ratios are of decoding speed against the first contender, round by round."""
    first, *_ = results.values()
    lines = [
        "| contender | tokens/s | ratio (min .. max) | first token, ms | per token, ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, timings in results.items():
        ratios = [plain.per_token_s / mine.per_token_s for mine, plain in zip(timings, first, strict=True)]
        median = statistics.median
        lines.append(
            f"| {name} | {median(t.tokens_per_s for t in timings):.2f}"
            f" | {median(ratios):.3f} ({min(ratios):.3f} .. {max(ratios):.3f})"
            f" | {1e3 * median(t.first_token_s for t in timings):.1f}"
            f" | {1e3 * median(t.per_token_s for t in timings):.1f} |"
        )
    return "\n".join(lines)


def former_built_in(python: Path, folder: str, ids: torch.Tensor, new_tokens: int, threads: int) -> Timing:
    """The former built-in's timing, from `former.py` in an interpreter that has it."""
    command = [str(python), str(Path(__file__).with_name("former.py")), folder, str(new_tokens), str(threads)]
    done = subprocess.run(command, input=json.dumps(ids.tolist()), capture_output=True, text=True, check=True)
    return Timing(**json.loads(done.stdout))


# Prompt lookup guesses from what the text said before, so it is timed on a text that says things again.
REPEATING = """Answer each question with one plain, true sentence.

Q: What colour is fresh snow?
A: Fresh snow is white.

Q: How many legs does a spider have?
A: A spider has eight legs.

Q: What is the capital of Italy?
A:"""


def repeating_prompt(model: PreTrainedModel) -> torch.Tensor:
    """`REPEATING` as ids `[1, T]`."""
    tokenizer = AutoTokenizer.from_pretrained(model.config.name_or_path)
    return tokenizer(REPEATING, return_tensors="pt")["input_ids"].to(model.device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2", help="alias, folder, hub id, or random:SHAPE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--new-tokens", type=int, default=33)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="static cache, compiled by the host")
    parser.add_argument(
        "--lookup",
        type=int,
        help="instead: DoLa with prompt lookup of this many tokens, on a text that repeats itself",
    )
    parser.add_argument("--former", type=Path, help="python of an environment with transformers 4.53.3")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    model = load_benchmark_model(args.model, dtype=getattr(torch, args.dtype), device=args.device)
    torch.manual_seed(1)
    ids = torch.randint(10, model.config.vocab_size - 10, (args.batch, args.prompt), device=args.device)
    extra: dict[str, Any] = {"cache_implementation": "static"} if args.compile else {}

    def contender(
        strategy: dola.Strategy | None, ids: torch.Tensor, extra: dict[str, Any]
    ) -> Callable[[], Timing]:
        return lambda: measure(model, strategy, ids, args.new_tokens, extra)

    contenders = {name: contender(strategy, ids, extra) for name, strategy in strategies(model).items()}
    if args.lookup:
        dynamic = list(strategies(model).values())[-1]
        repeated, guess = repeating_prompt(model), extra | {"prompt_lookup_num_tokens": args.lookup}
        contenders = {
            "plain, repeating text": contender(None, repeated, extra),
            "DoLa, repeating text": contender(dynamic, repeated, extra),
            "DoLa, prompt lookup": contender(dynamic, repeated, guess),
        }
    if args.former:
        folder = model.config.name_or_path
        contenders["former built-in, low"] = lambda: former_built_in(
            args.former, folder, ids, args.new_tokens, args.threads
        )
    results = run_rounds(contenders, args.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{args.model}, {args.dtype}, {args.device}, {args.threads} threads, batch {args.batch},"
        f" prompt {args.prompt}, {args.new_tokens} new tokens, {args.rounds} rounds"
        f"{', compiled' if args.compile else ''}; torch {torch.__version__};"
        f" peak resident memory {peak:.0f} MiB\n"
    )
    print(table(results))
    if model.device.type == "cuda":
        print(f"\npeak device memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
