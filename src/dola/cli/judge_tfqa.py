"""`dola judge tfqa`: %Truth, %Info, %Truth×Info and %Reject of answers to TruthfulQA's questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dola.cli.asking import (
    EndpointOptions,
    asking,
    endpoint_options,
    judge_config,
    tell_calls,
    tell_estimate,
    written,
)
from dola.cli.judge_options import (
    AgainOptions,
    JudgeOptions,
    again_options,
    judge_options,
    judges_of,
    judges_of_config,
    read_references_for,
)
from dola.cli.judge_similarity import show_similarity
from dola.cli.options import PlacementOptions, placement_options
from dola.judges.card import KINDS
from dola.judges.truthful import METRICS, TITLES
from dola.runs.answers import Answers, read_answers
from dola.runs.results import check_writable
from dola.runs.summary import percent, points

if TYPE_CHECKING:
    from dola.runs.rating import Judges, Rating
    from dola.statistics import Difference, Interval

_DEBUG_ROWS = 10


@click.command("tfqa")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--input-file", type=click.Path(path_type=Path), hidden=True)
@judge_options
@endpoint_options
@placement_options
@click.option(
    "--output-file",
    "--output",
    type=click.Path(path_type=Path),
    help="The released rating file.  [default: PATH.rating.json]",
)
@click.option("--dry-run", is_flag=True, help="Say how many calls and tokens it would take, and stop.")
@click.option("--debug", is_flag=True, help=f"The first {_DEBUG_ROWS} questions only.")
@again_options
def tfqa(
    *,
    path: Path | None,
    input_file: Path | None,
    who: JudgeOptions,
    endpoint: EndpointOptions,
    placing: PlacementOptions,
    output_file: Path | None,
    dry_run: bool,
    debug: bool,
    again: AgainOptions,
) -> None:
    """Rate the answers of `dola eval tfqa` (or of the released tfqa_eval.py) in PATH.

    \b
    dola judge tfqa out.json --gpt3-config gpt3.config.json
    dola judge tfqa out.json --base-url http://localhost:8000/v1 --truth-model T --info-model I
    dola judge tfqa out.json --judge chat --judge-model gpt-4o
    dola judge tfqa out.json --local-truth allenai/truthfulqa-truth-judge-llama2-7B \\
                             --local-info allenai/truthfulqa-info-judge-llama2-7B
    dola judge tfqa out.json --similarity

    The figures are added to PATH, each strategy compared with the first; the released rating file goes
    beside it, and so do the verdicts, which are kept as they arrive: nothing is paid for twice.
    """
    given = path or input_file
    if given is None:
        raise click.UsageError("expected the file to rate: dola judge tfqa PATH")
    answers = read_answers(given)
    if debug:
        answers = answers.first(_DEBUG_ROWS)
    config = judge_config(who.gpt3_config)
    references = read_references_for(answers, who)
    if who.similarity and not dry_run:
        show_similarity(given, answers, references)
    if who.similarity and not who.named:
        return
    judges = judges_of(who, config, endpoint, placing, references=references, keyless=dry_run)
    if dry_run:
        _tell_what_it_takes(given, answers, judges, again)
        return
    _rate(given, answers, judges, output_file, again)


def rate_result(path: Path, config_path: Path | None = None) -> dict[str, Any]:
    """Rate the result in `path` by the judges of a released config file: what `--do-rating` does.

    The figures are added to the result and shown; gives the result with them.

    Raises:
        DataError: a result or a config that is none.
        JudgeError: the judges cannot be asked; what they said so far is kept.
    """
    return _rate(path, read_answers(path), judges_of_config(config_path), None, AgainOptions())


def _tell_what_it_takes(path: Path, answers: Answers, judges: Judges, again: AgainOptions) -> None:
    from dola.runs.rating import missing
    from dola.runs.verdicts import recorded_verdicts

    done = {} if again.overwrite else recorded_verdicts(path)
    for kind in KINDS:
        judge = judges.of(kind)
        everything = missing(answers, judge, {})
        left = missing(answers, judge, done, ask_malformed_again=again.ask_malformed_again)
        tell_calls(f"{kind} ({judge.name})", left, len(everything), max_reply=judge.longest_reply)
    tell_estimate()


def _rate(
    path: Path, answers: Answers, judges: Judges, output: Path | None, again: AgainOptions
) -> dict[str, Any]:
    from dola.runs.rate import Again, run_rating, write_rating

    released = output or path.with_name(f"{path.name}.rating.json")
    check_writable(path)
    check_writable(released, inputs=[path])
    rating = run_rating(answers, judges, path, Again(again.ask_malformed_again, again.overwrite), asking)
    result = write_rating(path, answers, rating, released)
    show(rating)
    written(*([released] if answers.result is None else [path, released]))
    return result


def show(rating: Rating) -> None:
    """The figures with their intervals, what they say, and the released script's last lines."""
    console = Console(emoji=False)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("in %, 95% intervals")
    for metric in METRICS:
        table.add_column(TITLES[metric], no_wrap=True)
    for row in rating.summary.rows:
        cells = (_cell(row.intervals[metric], (row.differences or {}).get(metric)) for metric in METRICS)
        table.add_row(Text(row.row.label), *cells)
    console.print(table, "", sep="\n")
    for line in rating.findings:
        console.print(f"• {line}", highlight=False, markup=False)
    means = [rating.summary.rows[0].intervals[metric].mean for metric in ("truth", "info", "truth_info")]
    figures = ", ".join(f"{mean:.10f}" for mean in means)
    console.print(f"\nAverage judge/info accuracy:\n{figures}", highlight=False, soft_wrap=True)


def _cell(interval: Interval, difference: Difference | None) -> Text:
    """Mean and interval, and below them the difference from the first row, a line each."""
    text = Text.assemble((percent(interval.mean), "bold"), (_range(interval, percent), "dim"))
    if difference is not None:
        style = "cyan" if difference.distinguishable else "dim"
        text.append(f"\n{points(difference.interval.mean)}, p {difference.p:.3f}", style=style)
        text.append(_range(difference.interval, points), style="dim")
    return text


def _range(interval: Interval, shown: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"\n{shown(interval.low)} to {shown(interval.high)}"
