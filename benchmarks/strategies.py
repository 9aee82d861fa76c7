"""What DoLa, SLED and DeLTa are worth: one `dola eval` of all of them in one pass, and its table.

    run="python benchmarks/strategies.py run"
    $run --model smollm2 --task tfqa-mc --data TruthfulQA.csv --output out/smollm2-tfqa.json
    $run --model smollm2 --task factor --every 1 --data expert_factor.csv --output out/smollm2-factor.json
    python benchmarks/strategies.py table out/*.json     # Markdown: means, intervals, differences

Each strategy has its released settings for the task (`--preset released`); DeLTa's M and L are shares of the
model's depth, or given by `--delta M,L`. Of the data, every fourth (`--every`) row, in random order:
TruthfulQA's file is sorted by category. The command that is run is printed first: a plain `dola eval`,
resumable as any; with `--shard 0/4` a part of it.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from defaults import sample

from dola.loader import depth_of_model

DOLA = ("low", "high")
SLED = ("sled:all", "sled:low", "sled:high")


def strategies(num_layers: int, delta: Sequence[tuple[int, float]]) -> tuple[str, ...]:
    """Vanilla first. DeLTa: the upper half, the upper quarter and the last four layers, read one beyond."""
    lines = delta or [(first, num_layers + 1) for first in _starts(num_layers)]
    return ("-1", *DOLA, *SLED, *(f"delta:M={first},L={at:g}" for first, at in lines))


def _starts(num_layers: int) -> list[int]:
    return sorted({num_layers // 2, 3 * num_layers // 4, max(0, num_layers - 3)})


def run(args: argparse.Namespace) -> None:
    data = sample(args.data, args.every, args.output.parent / f"every-{args.every}")
    depth = depth_of_model(args.model)
    texts = args.strategy or strategies(depth.num_layers, args.delta or [])
    given = [word for text in texts for word in ("--early-exit-layers", text)]
    command = ["dola", "eval", args.task, "--model-name", args.model, "--data-path", str(data)]
    command += ["--device", "cpu", "--output-path", str(args.output), *given]
    if args.limit:
        command += ["--limit", str(args.limit)]
    if args.shard:
        shard, total = args.shard.split("/")
        command += ["--parallel", "--total-shard", total, "--shard-id", shard]
    if args.prompts:
        command += ["--prompts", str(args.prompts)]
    print(shlex.join(command), flush=True)
    subprocess.run([sys.executable, "-m", *command], check=True)


def table(args: argparse.Namespace) -> None:
    for path in args.results:
        ours = json.loads(path.read_text(encoding="utf-8"))["dola"]
        settings = ours["settings"]
        print(f"\n{settings['model']}: {len(ours['examples'])} rows of {settings['task_title']}\n")
        print("\n".join(_lines(ours)))
    print(
        "\nIn percent with 95% intervals; below, the difference from vanilla on the same rows. Starred: its"
        " interval leaves out zero and p < 0.05."
    )


def _lines(ours: Mapping[str, Any]) -> Iterator[str]:
    metrics = ours["metrics"]
    yield _line(["", *metrics])
    yield _line(["---", *("---:" for _ in metrics)])
    for row in ours["rows"]:
        yield _line([row["label"], *(_cell(row, metric) for metric in metrics)])


def _cell(row: Mapping[str, Any], metric: str) -> str:
    found, apart = row["measures"][metric], (row["difference"] or {}).get(metric)
    text = f"{100 * found['mean']:.1f}{_interval(found, '.1f')}"
    if apart is None:
        return text
    beyond = apart["low"] is not None and not apart["low"] <= 0 <= apart["high"] and apart["p"] < 0.05
    return f"{text}<br>{100 * apart['mean']:+.1f}{_interval(apart, '+.1f')}{'*' if beyond else ''}"


def _interval(found: Mapping[str, Any], form: str) -> str:
    if found["low"] is None:
        return ""
    return f" ({100 * found['low']:{form}} to {100 * found['high']:{form}})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _point(text: str) -> tuple[int, float]:
    first, at = text.split(",")
    return int(first), float(at)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("--model", required=True)
    running.add_argument("--task", choices=["tfqa-mc", "factor"], required=True)
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--output", type=Path, required=True)
    running.add_argument("--every", type=int, default=4)
    running.add_argument("--limit", type=int, help="the first rows of these only, to try it")
    running.add_argument("--delta", type=_point, action="append", metavar="M,L", help="may be repeated")
    running.add_argument(
        "--strategy", action="append", metavar="TEXT", help="these instead, the baseline first; repeated"
    )
    running.add_argument("--shard", metavar="K/N", help="one of N parts of the rows, from 0")
    running.add_argument("--prompts", type=Path)
    running.set_defaults(call=run)
    showing = commands.add_parser("table")
    showing.add_argument("results", type=Path, nargs="+")
    showing.set_defaults(call=table)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
