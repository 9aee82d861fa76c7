"""Every combination of the settings that `low`, `high` and `auto` could stand for, in one pass.

    run="python benchmarks/defaults.py run"
    $run --model smollm2 --task tfqa-mc --data TruthfulQA.csv --output out/smollm2-tfqa.json
    $run --model smollm2 --task factor --every 1 --data expert_factor.csv --output out/smollm2-factor.json
    python benchmarks/defaults.py table out/*.json      # the tables of docs/defaults.md

Of the data, every fourth (`--every`) row: TruthfulQA's file is sorted by category. The command that is run is
printed first: it is a plain `dola eval`, resumable as any.
"""

import argparse
import csv
import itertools
import json
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BUCKETS = ("low", "high")
SWITCHES = {  # the settings that are tried, each off and on; all off is the released code's TruthfulQA
    "norm": ("early_exit_norm=false", "early_exit_norm=true"),
    "divergence": ("divergence=released", "divergence=js"),
    "constraint": ("alpha=0.0", "alpha=0.1"),
    "renormalised": ("post_softmax=false", "post_softmax=true"),
}


def strategies(*, few: bool) -> Iterator[str]:
    """Every combination; `few` leaves out the textbook divergence of exits that are not normed."""
    for bucket, *settings in itertools.product(BUCKETS, *SWITCHES.values()):
        if not (few and settings[:2] == ["early_exit_norm=false", "divergence=js"]):
            yield f"{bucket}:{','.join(settings)}"


def every(path: Path, step: int, folder: Path) -> Path:
    """The file with every `step`-th of its rows, under its own name."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    taken = rows[1::step]
    random.Random(0).shuffle(taken)  # so that the first few are a fair sample too
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / path.name).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([rows[0], *taken])
    return folder / path.name


def run(args: argparse.Namespace) -> None:
    data = every(args.data, args.every, args.output.parent / f"every-{args.every}")
    given = [word for text in ("-1", *strategies(few=args.few)) for word in ("--early-exit-layers", text)]
    command = ["dola", "eval", args.task, "--model-name", args.model, "--data-path", str(data)]
    command += ["--device", "cpu", "--preset", "own", "--output-path", str(args.output), *given]
    if args.prompts:
        command += ["--prompts", str(args.prompts)]
    print(shlex.join(command), flush=True)
    subprocess.run([sys.executable, "-m", *command], check=True)


def table(args: argparse.Namespace) -> None:
    for path in args.results:
        ours = json.loads(path.read_text(encoding="utf-8"))["dola"]
        print(
            f"\n{ours['settings']['model']}, {ours['settings']['task_title']}, {len(ours['examples'])} rows\n"
        )
        print(_table(ours))


def _table(ours: dict[str, Any]) -> str:
    metrics = ours["metrics"]
    lines = [_line(["", *metrics]), _line(["---", *("---:" for _ in metrics)])]
    for row in ours["rows"]:
        cells = [_cell(row, metric) for metric in metrics]
        lines.append(_line([row["label"], *cells]))
    return "\n".join(lines)


def _cell(row: dict[str, Any], metric: str) -> str:
    mean = f"{100 * row['measures'][metric]['mean']:.1f}"
    difference = row["difference"] and row["difference"][metric]
    if not difference:
        return mean
    beyond = difference["p"] < 0.05 and (difference["low"] > 0 or difference["high"] < 0)
    return f"{mean} ({100 * difference['mean']:+.1f}{'*' if beyond else ''})".replace("-", "−")


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
    running.add_argument("--few", action="store_true", help="24 combinations for 32: see strategies()")
    running.add_argument("--every", type=int, default=4)
    running.add_argument("--prompts", type=Path)
    running.set_defaults(run=run)
    showing = commands.add_parser("table")
    showing.add_argument("results", type=Path, nargs="+")
    showing.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
