"""Every combination of the settings that `low`, `high` and `auto` could stand for, in one pass.

    run="python benchmarks/defaults.py run"
    $run --model smollm2 --task tfqa-mc --data TruthfulQA.csv --output out/smollm2-tfqa.json
    $run --model smollm2 --task factor --every 1 --data expert_factor.csv --output out/smollm2-factor.json
    python benchmarks/defaults.py table out/*.json      # the tables of docs/defaults.md

Of the data, every fourth (`--every`) row, in random order: TruthfulQA's file is sorted by category. The
command that is run is printed first: a plain `dola eval`, resumable as any; with `--shard 0/4` a part of it.
"""

import argparse
import csv
import itertools
import json
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dola.runs.statistics import Difference, paired_differences

BUCKETS = ("low", "high")
SWITCHES = {  # the settings that are tried, each off and on; all off is the released code's TruthfulQA
    "normed exits": ("early_exit_norm=false", "early_exit_norm=true"),
    "textbook divergence": ("divergence=released", "divergence=js"),
    "constraint 0.1": ("alpha=0.0", "alpha=0.1"),
    "renormalised": ("post_softmax=false", "post_softmax=true"),
}
PER_TOKEN = " · per token"


def strategies(*, vary: Sequence[str], few: bool) -> Iterator[str]:
    """Every combination of the switches that vary, the others off; `few` leaves out the textbook divergence
    of exits that are not normed."""
    positions = [both if name in vary else both[:1] for name, both in SWITCHES.items()]
    for bucket, *settings in itertools.product(BUCKETS, *positions):
        if not (few and settings[:2] == ["early_exit_norm=false", "divergence=js"]):
            yield f"{bucket}:{','.join(settings)}"


def sample(path: Path, step: int, folder: Path) -> Path:
    """The file with every `step`-th of its rows, under its own name."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = csv.reader(stream)
    taken = rows[::step]
    random.Random(0).shuffle(taken)  # so that a shard is a fair sample too
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / path.name).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *taken])
    return folder / path.name


def run(args: argparse.Namespace) -> None:
    data = sample(args.data, args.every, args.output.parent / f"every-{args.every}")
    given = [
        word
        for text in ("-1", *strategies(vary=args.vary or list(SWITCHES), few=args.few))
        for word in ("--early-exit-layers", text)
    ]
    command = ["dola", "eval", args.task, "--model-name", args.model, "--data-path", str(data)]
    command += ["--device", "cpu", "--preset", "own", "--output-path", str(args.output), *given]
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
        print(
            f"\n{ours['settings']['model']}, {ours['settings']['task_title']}, {len(ours['examples'])} rows"
        )
        print(_rows(ours))
        print(_effects(ours))


def _rows(ours: Mapping[str, Any]) -> str:
    """A line a combination: the figures of sums, then those of means per token."""
    rows = {row["label"]: row for row in ours["rows"]}
    metrics = ours["metrics"]
    lines = [
        _line(["bucket", *SWITCHES, *metrics, *(f"{metric} per token" for metric in metrics)]),
        _line(["---"] * (1 + len(SWITCHES)) + ["---:"] * 2 * len(metrics)),
    ]
    for label, row in rows.items():
        if row["kind"] == "variant":
            continue
        bucket, _, settings = label.partition(":")
        on = [
            "x" if pair[1] in settings else "" for pair in SWITCHES.values() if row["kind"] == "strategy"
        ] or [""] * len(SWITCHES)
        both = [row, rows.get(label + PER_TOKEN)]
        cells = [_cell(each, metric) if each else "" for each in both for metric in metrics]
        lines.append(_line([bucket if row["kind"] == "strategy" else label, *on, *cells]))
    return "\n".join(lines)


def _cell(row: Mapping[str, Any], metric: str) -> str:
    """In percent; starred where it differs from vanilla beyond chance."""
    difference = row["difference"] and row["difference"][metric]
    beyond = difference and difference["p"] < 0.05 and (difference["low"] > 0 or difference["high"] < 0)
    return f"{100 * row['measures'][metric]['mean']:.1f}{'*' if beyond else ''}"


def _effects(ours: Mapping[str, Any]) -> str:
    """What each switch does, on the average of all combinations that have it both ways."""
    values = {
        row["label"]: row["per_example"]
        for row in ours["rows"]
        if row["kind"] == "strategy" or row["label"].endswith(PER_TOKEN)
    }
    sums = [label for label in values if ":" in label and not label.endswith(PER_TOKEN)]
    found = ["", _line(["switched on", *ours["metrics"]]), _line(["---", *("---:" for _ in ours["metrics"])])]
    for name, (off, on) in SWITCHES.items():
        pairs = [(label.replace(off, on), label) for label in sums if off in label]
        both_ways = [pair for pair in pairs if pair[0] in values]
        if both_ways:
            found.append(_effect(name, both_ways, values, ours["metrics"]))
    by_token = [(label + PER_TOKEN, label) for label in sums]
    found.append(_effect("mean per token", by_token, values, ours["metrics"]))
    return "\n".join(found)


def _effect(
    name: str, pairs: Sequence[tuple[str, str]], values: Mapping[str, Any], metrics: Sequence[str]
) -> str:
    columns = [
        tuple(np.mean([values[pair[side]][metric] for pair in pairs], axis=0).tolist() for side in (0, 1))
        for metric in metrics
    ]
    return _line([name, *(_shown(each) for each in paired_differences(columns, seed=0))])


def _shown(found: Difference) -> str:
    mean, low, high = found.interval.mean, found.interval.low or 0.0, found.interval.high or 0.0
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})".replace("-", "−")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


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
    running.add_argument("--vary", action="append", choices=SWITCHES, help="may be repeated; default: all")
    running.add_argument("--few", action="store_true", help="24 combinations for 32: see strategies()")
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
