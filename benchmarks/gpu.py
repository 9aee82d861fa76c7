"""The decoding benchmark on a CUDA device: random:llama-7b in bfloat16, compiled with a static cache.

    python benchmarks/gpu.py [--model random:llama-7b] [--rounds 5] [--new-tokens 129] [--eager]

Beside the ratios it reports the bytes per second that each contender achieves (the weights are read once a
token, and the head's once more by nobody: all exits share one product) against the device's own bandwidth,
measured here as a large device-to-device copy (bytes read plus bytes written).
"""

import argparse
import statistics

import torch
from decode import measure, run_rounds, strategies, table
from models import load_benchmark_model


def copy_bandwidth() -> float:
    """Bytes per second of a device-to-device copy of 4 GiB, the median of 10."""
    source = torch.empty(4 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    seconds = []
    for _ in range(12):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return 2 * source.numel() / statistics.median(seconds[2:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="random:llama-7b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=129)
    parser.add_argument("--eager", action="store_true", help="dynamic cache, nothing compiled")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "benchmarks/gpu.py needs a CUDA device, and PyTorch sees none\n")

    bandwidth = copy_bandwidth()
    model = load_benchmark_model(args.model, dtype=torch.bfloat16, device="cuda")
    ids = torch.randint(10, model.config.vocab_size - 10, (args.batch, args.prompt), device="cuda")
    extra = {} if args.eager else {"cache_implementation": "static"}
    contenders = {
        name: (lambda strategy=strategy: measure(model, strategy, ids, args.new_tokens, extra))
        for name, strategy in strategies(model).items()
    }
    results = run_rounds(contenders, args.rounds)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    read = weights - model.get_input_embeddings().weight.numel() * 2  # a row of the embedding, not all of it
    print(
        f"{torch.cuda.get_device_name()}, {args.model}, bfloat16, batch {args.batch}, prompt {args.prompt},"
        f" {args.new_tokens} new tokens, {args.rounds} rounds,"
        f" {'eager' if args.eager else 'compiled, static cache'};"
        f" torch {torch.__version__}\n"
    )
    print(table(results))
    print(f"\ncopy bandwidth {bandwidth / 1e12:.2f} TB/s; weights read a token {read / 1e9:.2f} GB")
    for name, timings in results.items():
        achieved = read / statistics.median(t.per_token_s for t in timings)
        print(f"  {name:24} {achieved / 1e12:.2f} TB/s, {achieved / bandwidth:.0%} of the copy")
    print(f"peak device memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
