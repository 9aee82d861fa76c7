"""`dola judge pairwise`: which of two models' answers a judge finds better, each pair in both orders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dola.cli.asking import EndpointOptions, asking, endpoint_options, tell_calls, tell_estimate, written
from dola.cli.loading import load_for, tell
from dola.cli.options import NOT_NEGATIVE, ModelOptions, PlacementOptions, option_group, placement_options
from dola.cli.pair_table import show
from dola.judges.pair_files import Answers, labels_of, read_answers, read_questions
from dola.judges.pair_prompts import Form, PairPrompts, read_prompts
from dola.judges.pairwise import BOTH, JudgedMatch, Match, matches_for
from dola.judges.settings import JudgeConfig, read_config
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
    click.option("--max-tokens", type=click.IntRange(min=1), help="Of a reply.  [default: the prompt's own]"),
    click.option("--ask-malformed-again", is_flag=True, help="Ask again where no verdict could be read."),
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
    from dola.runs.pairwise_summary import findings, summarise_pairs

    a, b = (read_answers(path) for path in files.answer_file)
    review = Review(
        _matches(files, who, a, b),
        BOTH[:1] if who.one_order else BOTH,
        _judge(who, endpoint, placing, seed, keyless=dry_run),
    )
    if dry_run:
        _tell_what_it_takes(review, output_path, who)
        return
    summary_path = output_path.with_name(f"{output_path.stem}.summary.json")
    for path in (output_path, summary_path):
        check_writable(path, inputs=_read(files))
    labels = labels_of(a, b)
    results = _run(review, output_path, labels, who)
    summary = summarise_pairs(results, seed=seed)
    found = findings(summary, labels)
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


def _matches(files: PairFiles, who: AskingOptions, a: Answers, b: Answers) -> tuple[Match, ...]:
    return matches_for(
        read_questions(_question_file(files.question_file)),
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
        config = read_config(who.judge_config) if who.judge_config else JudgeConfig()
        return EndpointChat(who.judge_model or DEFAULT_JUDGE, endpoint.settings(config, keyless=keyless))
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
        who.local_judge, placing.placement, lambda: load_for(model, ()), seed, placing.trust_remote_code
    )


def _tell_what_it_takes(review: Review, output: Path, who: AskingOptions) -> None:
    from dola.runs.verdicts import recorded_verdicts

    done = {} if who.overwrite else recorded_verdicts(output)
    left = review.missing(done, ask_malformed_again=who.ask_malformed_again)
    longest = max(match.prompt.max_tokens for match in review.matches)
    tell_calls(review.judge.name, left, len(review.asked()), max_reply=longest)
    tell_estimate()


def _run(
    review: Review, output: Path, labels: tuple[str, str], who: AskingOptions
) -> tuple[JudgedMatch, ...]:
    """Ask, and write the review file."""
    from dola.runs.verdicts import open_verdicts

    again = who.ask_malformed_again
    with open_verdicts(output, overwrite=who.overwrite) as verdicts:
        left = review.missing(verdicts.done, ask_malformed_again=again)
        with asking(len(left), verdicts) as advance:
            results = review.run(verdicts, ask_malformed_again=again, on_verdict=advance)
        lines = review.lines(results, verdicts.done, labels)
    write_text(output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return results
