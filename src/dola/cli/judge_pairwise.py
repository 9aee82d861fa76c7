"""`dola judge pairwise`: which of two models' answers a judge finds better, each pair in both orders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dola.cli.asking import (
    EndpointOptions,
    asking,
    endpoint_options,
    judge_config,
    tell_calls,
    tell_estimate,
    written,
)
from dola.cli.loading import load_for, tell
from dola.cli.options import NOT_NEGATIVE, ModelOptions, PlacementOptions, option_group, placement_options
from dola.cli.pair_table import show
from dola.errors import DataError
from dola.judges.dialect import ROOM_TO_THINK
from dola.judges.pair_files import Answers, Id, Question, labels_of, read_answers, read_questions
from dola.judges.pair_prompts import Form, PairPrompts, read_prompts
from dola.judges.pairwise import BOTH, JudgedMatch, Match, failed_answers, matches_for
from dola.runs.results import check_writable, write_result, write_text
from dola.runs.spec import DEFAULT_SEED

if TYPE_CHECKING:
    from dola.runs.chat_judges import ChatJudge
    from dola.runs.pairwise import Review

# FastChat's, and the paper's.
DEFAULT_JUDGE = "gpt-4"
FORMS: dict[str, Form] = {"review": "scores", "pair": "verdict"}

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class PairFiles:
    """What is judged, and with which prompts."""

    question_file: Path | None
    answer_file: tuple[Path, Path]
    form: str | None
    prompt_file: Path | None
    reviewer_file: Path | None
    reference_file: Path | None
    first_n: int | None


@dataclass(frozen=True)
class AskingOptions:
    """Who judges and how; `None`: as the prompt file says."""

    judge_model: str | None
    local_judge: str | None
    judge_config: Path | None
    one_order: bool
    temperature: float | None
    max_tokens: int | None
    ask_malformed_again: bool
    compare_failed: bool
    overwrite: bool


file_options = option_group(
    "files",
    PairFiles,
    click.option(
        "--question-file",
        "-q",
        type=_PATH,
        help="JSONL with `text` or `turns`.  [default: the Vicuna questions]",
    ),
    click.option(
        "--answer-file",
        "--answer-file-list",
        "-a",
        type=_PATH,
        nargs=2,
        required=True,
        metavar="A B",
        help="The two models' answers: of `dola eval vicuna`, of the released script, or of FastChat.",
    ),
    click.option(
        "--form",
        type=click.Choice(list(FORMS)),
        help="FastChat's `review` with two scores, as in the paper, or its present `pair` judgement with"
        " [[A]], [[B]], [[C]].  [default: that of --prompt-file, else review]",
    ),
    click.option(
        "--prompt-file", "-p", type=_PATH, help="Prompts in either form, or their folder.  [default: fetched]"
    ),
    click.option("--reviewer-file", "-r", type=_PATH, help="The review's reviewers, or their folder."),
    click.option(
        "--reference-file",
        type=_PATH,
        help="Reference answers, shown with pair-math-v1 for math, reasoning and coding.",
    ),
    click.option("--first-n", type=click.IntRange(min=1), help="The first N questions only."),
)

asking_options = option_group(
    "who",
    AskingOptions,
    click.option("--judge-model", metavar="MODEL", help="At the endpoint.  [default: gpt-4]"),
    click.option(
        "--local-judge",
        metavar="MODEL",
        help="A chat model on this machine: an alias, a hub id, or a folder.",
    ),
    click.option("--judge-config", "--gpt3-config", type=_PATH, help='JSON with "api_key" and "base_url".'),
    click.option("--one-order", is_flag=True, help="A first only, as FastChat's review did."),
    click.option("--temperature", type=NOT_NEGATIVE, help="[default: the prompt's own]"),
    click.option(
        "--max-tokens",
        type=click.IntRange(min=1),
        help="Of a reply with its thought.  [default: the prompt's own; at an endpoint no fewer than"
        f" {ROOM_TO_THINK}]",
    ),
    click.option(
        "--ask-malformed-again",
        "--retry-failed",
        is_flag=True,
        help="Ask again where no verdict could be read, or the request was refused.",
    ),
    click.option(
        "--compare-failed",
        is_flag=True,
        help="Compare answers that are an error ($ERROR$), empty or cut, too; they are left out otherwise.",
    ),
    click.option("--overwrite", is_flag=True, help="Forget all verdicts, and ask (and pay) for them again."),
)


@click.command("pairwise")
@file_options
@asking_options
@endpoint_options
@placement_options
@click.option(
    "--output-path",
    "--review-file",
    "--output-review-file",
    "-o",
    type=_PATH,
    default=Path("review.jsonl"),
    show_default=True,
    help="The reviews, as FastChat writes them; the summary goes beside them.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=DEFAULT_SEED, show_default=True, help="Bootstrap's."
)
@click.option("--dry-run", is_flag=True, help="Say how many calls and tokens it would take, and stop.")
def pairwise(
    *,
    files: PairFiles,
    who: AskingOptions,
    endpoint: EndpointOptions,
    placing: PlacementOptions,
    output_path: Path,
    seed: int,
    dry_run: bool,
) -> None:
    """Have a judge compare two models' answers to the same questions.

    \b
    dola judge pairwise --question-file question.jsonl --answer-file vanilla.jsonl dola.jsonl --dry-run
    dola judge pairwise ... --judge-model gpt-4o -o review.jsonl
    dola judge pairwise ... --base-url http://localhost:8000/v1 --judge-model M --form pair

    Each pair is shown in both orders, and an answer wins where it wins in both. Every verdict is kept as it
    arrives: the same command goes on where it stopped, and pays for nothing twice.
    """
    from dola.runs.pairwise import Review
    from dola.runs.pairwise_result import pairwise_json
    from dola.runs.pairwise_summary import findings, not_compared, summarise_pairs

    a, b = (read_answers(path) for path in files.answer_file)
    questions = read_questions(_question_file(files.question_file))
    failed = {} if who.compare_failed else failed_answers(questions, a, b, first_n=files.first_n)
    review = Review(
        _compared(_matches(files, who, questions, a, b), failed),
        BOTH[:1] if who.one_order else BOTH,
        _judge(who, endpoint, placing, seed, keyless=dry_run),
    )
    if dry_run:
        for line in not_compared(failed):
            click.echo(line)
        _tell_what_it_takes(review, output_path, who)
        return
    summary_path = output_path.with_name(f"{output_path.stem}.summary.json")
    for path in (output_path, summary_path):
        check_writable(path, inputs=_read(files))
    labels = labels_of(a, b)
    review.judge.prepare()
    results, cut = _run(review, output_path, labels, who)
    summary = summarise_pairs(results, seed=seed, cut=cut)
    found = [*findings(summary, labels), *not_compared(failed)]
    write_result(summary_path, pairwise_json(review, results, summary, found, labels, (a, b), seed=seed))
    show(summary, found, labels)
    written(output_path, summary_path)


def _read(files: PairFiles) -> list[Path]:
    """The user's own files."""
    others = (files.question_file, files.prompt_file, files.reviewer_file, files.reference_file)
    return [*files.answer_file, *(path for path in others if path is not None)]


def _question_file(path: Path | None) -> Path:
    if path is not None:
        return path
    from dola.tasks.fetch import fetch
    from dola.tasks.sources import VICUNA

    return fetch(VICUNA["text"], option="--question-file", progress=tell)


def _prompts(files: PairFiles) -> PairPrompts:
    """The prompts of a file, whatever its form; of a folder or fetched, in the form that was asked for.

    Raises:
        DataError: no such file, or none of the forms.
        UsageError: the file is of the other form than the one that was asked for.
    """
    from dola.tasks.judge_files import judge_file

    given, reviewers = files.prompt_file, files.reviewer_file
    path = judge_file(
        "judge_prompts" if files.form == "pair" else "table_prompt",
        given,
        option="--prompt-file",
        progress=tell,
    )
    beside = given is None or given.is_dir()
    if files.form != "pair" and (beside or reviewers is not None):
        source = reviewers or given
        reviewers = judge_file("table_reviewer", source, option="--reviewer-file", progress=tell)
    prompts = read_prompts(path, reviewers)
    if files.form is not None and FORMS[files.form] != prompts.form:
        raise click.UsageError(f"--form {files.form} needs other prompts than those in {path}")
    return prompts


def _compared(matches: tuple[Match, ...], failed: Mapping[Id, str]) -> tuple[Match, ...]:
    """The matches of answers that are some.

    Raises:
        DataError: there are none.
    """
    compared = tuple(match for match in matches if match.question.id not in failed)
    if not compared:
        told = "; ".join(f"question_id {key!r} ({what})" for key, what in list(failed.items())[:3])
        raise DataError(
            "there is nothing to compare: every pair has an answer that is an error, empty or cut, as"
            f" {told}; --compare-failed compares them all the same"
        )
    return compared


def _matches(
    files: PairFiles, who: AskingOptions, questions: Sequence[Question], a: Answers, b: Answers
) -> tuple[Match, ...]:
    return matches_for(
        questions,
        a,
        b,
        _prompts(files),
        references=read_answers(files.reference_file) if files.reference_file else None,
        first_n=files.first_n,
        temperature=who.temperature,
        max_tokens=who.max_tokens,
    )


def _judge(
    who: AskingOptions, endpoint: EndpointOptions, placing: PlacementOptions, seed: int, *, keyless: bool
) -> ChatJudge:
    """
    Raises:
        UsageError: two judges are named.
        JudgeError: an endpoint without a key.
    """
    from dola.runs.chat_judges import EndpointChat, LocalChat

    if who.local_judge is None:
        settings = endpoint.settings(judge_config(who.judge_config), keyless=keyless)
        return EndpointChat(who.judge_model or DEFAULT_JUDGE, settings, tell)
    if who.judge_model is not None:
        raise click.UsageError(
            "--judge-model is at an endpoint, --local-judge on this machine: name one of them"
        )
    model = ModelOptions(
        placing.device,
        placing.dtype,
        placing.num_gpus,
        placing.max_gpu_memory,
        placing.trust_remote_code,
        who.local_judge,
    )
    return LocalChat(
        who.local_judge,
        placing.placement,
        lambda: load_for(model, ()),
        seed,
        placing.trust_remote_code,
        progress=tell,
    )


def _tell_what_it_takes(review: Review, output: Path, who: AskingOptions) -> None:
    from dola.runs.verdicts import recorded_verdicts

    done = {} if who.overwrite else recorded_verdicts(output)
    left = review.missing(done, ask_malformed_again=who.ask_malformed_again)
    longest = max(
        match.longest or max(match.prompt.max_tokens, 0 if who.local_judge else ROOM_TO_THINK)
        for match in review.matches
    )
    tell_calls(review.judge.name, left, len(review.asked()), max_reply=longest)
    tell_estimate()


def _run(
    review: Review, output: Path, labels: tuple[str, str], who: AskingOptions
) -> tuple[tuple[JudgedMatch, ...], int]:
    """Ask, and write the review file; also how many replies were cut."""
    from dola.runs.verdicts import open_verdicts

    again = who.ask_malformed_again
    with open_verdicts(output, overwrite=who.overwrite) as verdicts:
        left = review.missing(verdicts.done, ask_malformed_again=again)
        with asking(len(left), verdicts) as advance:
            results = review.run(verdicts, ask_malformed_again=again, on_verdict=advance)
        lines = review.lines(results, verdicts.done, labels)
        cut = review.cut(verdicts.done)
    write_text(output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return results, cut
