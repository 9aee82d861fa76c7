"""`dola eval vicuna`: answers to the Vicuna questions, in the released answer file, for judges to compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import click

from dola.cli.answer_files import answer_path, check_answer_file, suffix_of, write_answers
from dola.cli.eval_generation import DEFAULT_LAYERS, generation_options, show
from dola.cli.generating import Generating, run_generation
from dola.cli.generation_options import DecodingOptions, GenerationOutput
from dola.cli.options import ModelOptions, option_group
from dola.cli.scoring_options import ContrastOptions, RowOptions
from dola.result import Result
from dola.runs.results import check_writable
from dola.tasks.conversation import conversation_for
from dola.tasks.presets import PRESETS
from dola.tasks.vicuna import Vicuna

TEMPLATES = ("own", "released")


@dataclass(frozen=True)
class AnswerOptions:
    """The files of questions and answers, and under which name the answers are written."""

    model_id: str | None
    question_file: Path | None
    answer_file: Path | None
    template: str
    prompts: Path | None


answer_options = option_group(
    "answering",
    AnswerOptions,
    click.option(
        "--model-id",
        metavar="NAME",
        help="The model's name in the answer file; a second strategy's is followed by that strategy."
        "  [default: from --model-name]",
    ),
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
    click.option(
        "--template",
        type=click.Choice(TEMPLATES),
        default="own",
        show_default=True,
        help="The model's own chat template, or the released script's for the model's name (--model-id).",
    ),
    click.option(
        "--prompts",
        type=click.Path(path_type=Path),
        help="With --template released: the released conversation.py, or its folder.",
    ),
)


@click.command("vicuna")
@generation_options
@answer_options
def vicuna(
    *,
    layers: tuple[str, ...],
    model: ModelOptions,
    contrast: ContrastOptions,
    rows: RowOptions,
    decoding: DecodingOptions,
    output: GenerationOutput,
    answering: AnswerOptions,
) -> None:
    """Vicuna QA: eighty open questions, sampled answers. `dola judge pairwise` compares answer files.

    The released answer file is --answer-file; the result, with token counts and layers, lies beside it.
    """
    if rows.shard_id is not None:
        raise click.UsageError("vicuna has no shards, as released: leave out --parallel and --shard-id")
    answers = answering.answer_file or Path(PRESETS["vicuna"].output_path)
    check_writable(answers)
    path = output.output_path or _result_path(answers)
    asked = contrast.strategies(layers or (DEFAULT_LAYERS,), Vicuna.name)
    for place, (label, _) in enumerate(asked):
        check_answer_file(answer_path(answers, place, label), path, overwrite=output.overwrite)
    task = _task(answering, model.model_name)
    rows = replace(rows, data_path=answering.question_file or rows.data_path)
    path, result = run_generation(
        Generating(
            task=task,
            model=model,
            rows=rows,
            output=output,
            decoding=decoding,
            preset=contrast.preset,
            strategies=lambda _: asked,
            writer=lambda place, label: replace(task, model_id=task.model_id + suffix_of(place, label)),
            settings=(("template", answering.template),),
        ),
        path,
    )
    show(path, result)
    for written in _write(result, answers):
        click.echo(f"answers: {written}", err=True)


def _write(result: Result, answers: Path) -> list[Path]:
    """The answer file of every strategy; the first one's is `answers`."""
    written = []
    for row in result.rows:
        place = row.strategy or 0
        path = answer_path(answers, place, row.label)
        write_answers(path, result.strategies[place].released)
        written.append(path)
    return written


def _task(answering: AnswerOptions, model_name: str) -> Vicuna:
    # A folder's name is enough to tell models apart, and its path is nobody else's business.
    model_id = answering.model_id or Path(model_name).name or model_name
    template = conversation_for(model_id, answering.prompts) if answering.template == "released" else None
    return Vicuna(model_id, template)


def _result_path(answers: Path) -> Path:
    """Where the result of this answer file lies: `answer.jsonl` has `answer.json`."""
    beside = answers.with_suffix(".json")
    return beside if beside != answers else answers.with_name(f"{answers.name}.json")
