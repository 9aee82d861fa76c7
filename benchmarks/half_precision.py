"""The head in half precision: its own type's product, against float32 by blocks and by a float32 copy.

    python benchmarks/half_precision.py                     # SmolLM2's head, bfloat16 and float16, 1 thread
    python benchmarks/half_precision.py --shape 262144,640  # Gemma 3 270M's

A batch of B with K candidates is (K + 1) B rows. Each figure comes from a process of its own: seconds are the
least of several turns, memory is what the process held at most beyond weights, rows and result.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dola.models.projection import _half_in_float32

CONTENDERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "its own type, rounded": lambda rows, weight: linear(rows, weight).float(),
    "float32, a copy made and dropped": lambda rows, weight: linear(rows.float(), weight.float()),
    "float32 by blocks (ours)": _half_in_float32,
}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def measure(name: str, shape: tuple[int, int], rows: int, dtype: torch.dtype, threads: int) -> list[float]:
    """The least seconds of a product, and the bytes beyond what it is given and gives."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        weight = nn.Parameter(torch.randn(shape, dtype=dtype), requires_grad=False)
        hidden = torch.randn(rows, shape[1], dtype=dtype)
        CONTENDERS[name](hidden[:1], weight[:64])  # what a first product loads
        before = peak_bytes()
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            result = CONTENDERS[name](hidden, weight)
            seconds.append(time.perf_counter() - start)
            given = result.nbytes
            del result
    return [min(seconds), max(0, peak_bytes() - before - given)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="49152,576", help="vocabulary,width of the head")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    vocabulary, width = map(int, args.shape.split(","))

    print(
        f"{vocabulary} x {width}, {args.candidates} candidates, {args.threads} threads;"
        f" torch {torch.__version__}\n"
    )
    print("| dtype | batch | product | ms | MiB beside the result |")
    print("| --- | ---: | --- | ---: | ---: |")
    for dtype in (torch.bfloat16, torch.float16):
        for batch in (1, 8):
            rows = (args.candidates + 1) * batch
            for name in CONTENDERS:
                job = partial(measure, name, (vocabulary, width), rows, dtype, args.threads)
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    seconds, beyond = pool.apply(job)
                label = str(dtype).removeprefix("torch.")
                print(
                    f"| {label} | {batch} | {name} | {1e3 * seconds:.1f} | {beyond / 2**20:.0f} |", flush=True
                )


if __name__ == "__main__":
    main()
