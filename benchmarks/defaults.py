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

from dola.statistics import Difference, paired_differences

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
    results = [json.loads(path.read_text(encoding="utf-8"))["dola"] for path in args.results]
    print(_effects(results))
    for model, its in itertools.groupby(results, key=_model):
        of_model = list(its)
        rows = (f"{len(ours['examples'])} rows of {ours['settings']['task_title']}" for ours in of_model)
        print(f"\n{model}: {', '.join(rows)}\n")
        print(_rows(of_model))


def _model(ours: Mapping[str, Any]) -> str:
    return str(ours["settings"]["model"])


def _columns(ours: Mapping[str, Any]) -> list[str]:
    """The metrics' names; FACTOR's one is its own."""
    metrics = ours["metrics"]
    return list(metrics) if len(metrics) > 1 else [ours["settings"]["task_title"]]


def _rows(results: Sequence[Mapping[str, Any]]) -> str:
    """A line a combination: of each result the figures of sums, then those of means per token."""
    names = [
        name for ours in results for name in (*_columns(ours), *(f"{n} per token" for n in _columns(ours)))
    ]
    lines = [
        _line(["bucket", *SWITCHES, *names]),
        _line(["---"] * (1 + len(SWITCHES)) + ["---:"] * len(names)),
    ]
    shown = {
        row["label"]: row["kind"] for ours in results for row in ours["rows"] if row["kind"] != "variant"
    }
    for label, kind in sorted(shown.items(), key=lambda item: item[1] == "control"):
        bucket, _, settings = label.partition(":") if kind == "strategy" else (label, "", "")
        on = ["x" if pair[1] in settings else "" for pair in SWITCHES.values()]
        cells = [cell for ours in results for cell in _cells(ours, label)]
        lines.append(_line([bucket, *on, *cells]))
    return "\n".join(lines)


def _cells(ours: Mapping[str, Any], label: str) -> Iterator[str]:
    """In percent; starred where it differs beyond chance from vanilla that is scored in the same way."""
    rows = {row["label"]: row for row in ours["rows"]}
    for scoring in ("", PER_TOKEN):
        row, vanilla = rows.get(label + scoring), rows["vanilla" + scoring]
        for metric in ours["metrics"]:
            star = ""
            if row and row["difference"]:
                pair = row["per_example"][metric], vanilla["per_example"][metric]
                star = "*" if paired_differences([pair], seed=0)[0].distinguishable else ""
            yield f"{100 * row['measures'][metric]['mean']:.1f}{star}" if row else ""


def _effects(results: Sequence[Mapping[str, Any]]) -> str:
    """What each switch does, on the average of all combinations that have it both ways."""
    names = [f"{_model(ours)} {name}" for ours in results for name in _columns(ours)]
    lines = [_line(["switched on", *names]), _line(["---", *("---:" for _ in names)])]
    effects = (
        _line([name, *(cell for ours in results for cell in _effect(name, ours))])
        for name in (*SWITCHES, "mean per token")
    )
    return "\n".join([*lines, *effects])


def _effect(name: str, ours: Mapping[str, Any]) -> list[str]:
    values = {
        row["label"]: row["per_example"]
        for row in ours["rows"]
        if row["kind"] == "strategy" or row["label"].endswith(PER_TOKEN)
    }
    sums = [label for label in values if ":" in label and not label.endswith(PER_TOKEN)]
    pairs = [(label + PER_TOKEN, label) for label in sums]
    if name in SWITCHES:
        off, on = SWITCHES[name]
        pairs = [(label.replace(off, on), label) for label in sums if off in label]
    both_ways = [pair for pair in pairs if pair[0] in values]
    if not both_ways:
        return [""] * len(ours["metrics"])
    columns = [
        tuple(np.mean([values[pair[side]][metric] for pair in both_ways], axis=0).tolist() for side in (0, 1))
        for metric in ours["metrics"]
    ]
    return [_shown(each) for each in paired_differences(columns, seed=0)]


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
