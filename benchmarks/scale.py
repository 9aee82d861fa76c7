"""What many records cost: to write them, to go on from them, to sum them up, to show them.

    python benchmarks/scale.py --records 10000 --records 100000 --records 1000000

Every step of every size is a process of its own, so that its peak memory is its own:

    journal   append the records but for the last; up to 10,000 each waits for the disk, as in a run
    resume    plan the run, read the records back, and find that one is missing
    result    the same, and what comes after the last record: figures, controls, intervals, tests, the file
    report    the result file read, and its page

The run is FACTOR's with made-up rows, two strategies that a model of eight layers would have scored, and
scores out of a generator: no model is needed.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

from dola.reports.page import page
from dola.result import Result, Settings
from dola.runs.execute import missing
from dola.runs.manifest import environment
from dola.runs.measured import measure, scores_of
from dola.runs.plan import Plan, RunConfig, make_plan
from dola.runs.records import Record, open_records
from dola.runs.results import result_of
from dola.runs.summary import summarise
from dola.runs.variants import Lineup, line_up
from dola.strategies import DoLa, Vanilla
from dola.tasks.factor import COMPLETIONS, TRUNCATED, Factor

WORDS = ("water", "leaves", "pot", "pour", "warm", "cold", "over", "the", "cook", "flour")
SEED = 42
SYNCED = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, action="append", help="[default: 10000, 100000]")
    parser.add_argument("--step", choices=STEPS, action="append", help="[default: all]")
    parser.add_argument("--folder", type=Path, help="where the files stay")
    parser.add_argument("--within", help=argparse.SUPPRESS)  # a step, in a process of its own
    args = parser.parse_args()
    if args.within:
        STEPS[args.within](args.folder, args.records[0])
        return
    print("| records | step | s | CPU s | peak MiB | file MiB |\n| ---: | --- | ---: | ---: | ---: | ---: |")
    for count in args.records or (10_000, 100_000):
        with tempfile.TemporaryDirectory() as made:
            folder = args.folder / str(count) if args.folder else Path(made)
            write_data(folder, count)
            for step in args.step or STEPS:
                print(f"| {count:,} | {step} | {' | '.join(measured(step, folder, count))} |", flush=True)


def measured(step: str, folder: Path, count: int) -> tuple[str, ...]:
    """Seconds, the processor's and peak memory of a step, and the size of the largest file that there is."""
    command = [sys.executable, __file__, "--within", step, "--folder", str(folder), "--records", str(count)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    largest = max(path.stat().st_size for path in folder.iterdir())
    seconds = f"{told['seconds']:.1f}", f"{told['processor']:.1f}"
    return *seconds, f"{told['peak'] / 1024:,.0f}", f"{largest / 2**20:,.0f}"


def timed(step: Callable[[Path, int], None]) -> Callable[[Path, int], None]:
    """The step, which then tells what it took."""

    def run(folder: Path, count: int) -> None:
        since, processor = time.perf_counter(), time.process_time()
        step(folder, count)
        told = {
            "seconds": time.perf_counter() - since,
            "processor": time.process_time() - processor,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # KiB on Linux
        }
        print(json.dumps(told))

    return run


@timed
def journal(folder: Path, count: int) -> None:
    plan, lineup = planned(folder)
    waiting = nullcontext() if count <= SYNCED else mock.patch("os.fsync")
    with waiting, open_records(folder / "out.json", plan.manifest, overwrite=True) as records:
        for index in range(count - 1):
            records.append(made_up(index, len(lineup.scored)))


@timed
def resume(folder: Path, count: int) -> None:
    plan, _ = planned(folder)
    with open_records(folder / "out.json", plan.manifest) as records:
        left = missing(plan, records)
    if len(left) != 1 or len(plan.examples) != count:
        raise SystemExit(f"expected one of {count} records to be missing, found {len(left)}")


@timed
def result(folder: Path, count: int) -> None:
    plan, lineup = planned(folder)
    with open_records(folder / "out.json", plan.manifest) as records:
        records.done[count - 1] = made_up(count - 1, len(lineup.scored))
        found = measure(plan, lineup, records.done, seed=SEED)
        done = [records.done[example.index] for example in plan.examples]
        released = {
            row.strategy: plan.task.released_json(plan.examples, [scores_of(row, one) for one in done])
            for row in lineup.asked
        }
        settings = Settings("FACTOR", "made-up", "made-up rows", count, "own", SEED)
        made = result_of(
            found,
            summarise(found, seed=SEED),
            released,
            manifest=plan.manifest,
            settings=settings,
            environment=environment(),
        )
        made.save(folder / "out.json")


@timed
def report(folder: Path, count: int) -> None:  # noqa: ARG001
    (folder / "page.html").write_text(page([Result.load(folder / "out.json")]), encoding="utf-8")


STEPS = {"journal": journal, "resume": resume, "result": result, "report": report}


def planned(folder: Path) -> tuple[Plan, Lineup]:
    lineup = line_up([("-1", Vanilla()), ("low", DoLa((0, 2)))])
    config = RunConfig("made up", "float32", tuple(str(strategy) for strategy in lineup.scored))
    task = Factor()
    return make_plan(task, task.load(folder / "expert_factor.csv"), config), lineup


def made_up(index: int, strategies: int) -> Record:
    """What a model would have scored."""
    drawn = random.Random(index)
    return Record(
        index=index,
        tokens=tuple(drawn.randint(5, 12) for _ in COMPLETIONS),
        prefix=(True,) * len(COMPLETIONS),
        truncated=0,
        scores=tuple(tuple(drawn.gauss(-20, 5) for _ in COMPLETIONS) for _ in range(strategies)),
        layers=(None, *({"0": drawn.randint(0, 20), "2": 20} for _ in range(strategies - 1))),
    )


def write_data(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(SEED)
    with (folder / "expert_factor.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow((TRUNCATED, *COMPLETIONS))
        for index in range(count):
            prefix = f"Question {index}: {' '.join(drawn.choices(WORDS, k=30))}. "
            rows.writerow((prefix, *(f"{' '.join(drawn.choices(WORDS, k=8))}." for _ in COMPLETIONS)))


if __name__ == "__main__":
    main()
