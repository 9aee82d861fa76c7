"""`dola eval vicuna`: answers to the Vicuna questions, in the released answer file, for judges to compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from dola.cli.flags import settings
from dola.cli.loading import tell
from dola.cli.options import option_group
from dola.cli.run_options import OutputOptions, output_options
from dola.cli.tables import show_result
from dola.result.files import check_writable
from dola.runs.answer_files import check_answer_files, write_answer_files
from dola.runs.asked_strategies import ContrastSettings
from dola.runs.evaluate import run
from dola.runs.spec import RunSpec, settings_for
from dola.tasks.vicuna import BENCHMARK


@dataclass(frozen=True)
class AnswerOptions:
    """The files of questions and answers."""

    question_file: Path | None
    answer_file: Path | None


answer_options = option_group(
    "answering",
    AnswerOptions,
    click.option(
        "--question-file",
        type=click.Path(path_type=Path),
        help="JSON lines with the questions, each in `text` or `turns`.  [default: fetched on first use]",
    ),
    click.option(
        "--answer-file",
        type=click.Path(path_type=Path),
        help="JSON lines as released, for the first strategy; further ones get a file each beside it."
        "  [default: answer.jsonl]",
    ),
)


@click.command(BENCHMARK.name)
@output_options
@answer_options
@click.option("--parallel", is_flag=True, hidden=True)
@click.option("--total-shard", type=int, hidden=True)
@click.option("--shard-id", type=int, hidden=True)
@settings(*settings_for(BENCHMARK))
def vicuna(
    *,
    said: dict[str, Any],
    output: OutputOptions,
    answering: AnswerOptions,
    parallel: bool,
    total_shard: int | None,
    shard_id: int | None,
) -> None:
    """Vicuna QA: eighty open questions, sampled answers. `dola judge pairwise` compares answer files.

    The released answer file is --answer-file; the result, with token counts and layers, lies beside it.
    """
    if parallel or shard_id is not None or total_shard is not None:
        raise click.UsageError("vicuna has no shards, as released: leave out --parallel and --shard-id")
    spec = RunSpec(BENCHMARK.name, **said)
    if answering.question_file is not None:
        spec = replace(spec, data_path=answering.question_file)
    answers = answering.answer_file or Path(BENCHMARK.preset.output_path)
    check_writable(answers)
    way = output.way(spec, _result_path(answers))
    asked = ContrastSettings.of(spec).strategies(spec.strategies, spec.task)
    labels = [label for label, _ in asked]
    if way.output is not None:
        check_answer_files(answers, labels, way.output, overwrite=way.overwrite)
    result = run(spec, way)
    written = write_answer_files(result, answers)
    show_result(result, way)
    for path in written:
        tell(f"answers: {path}")


def _result_path(answers: Path) -> Path:
    """Where the result of this answer file lies: `answer.jsonl` has `answer.json`."""
    beside = answers.with_suffix(".json")
    return beside if beside != answers else answers.with_name(f"{answers.name}.json")
