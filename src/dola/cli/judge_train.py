"""`dola judge train`: a judge of one's own, from TruthfulQA's released judgements."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from dola.cli.asking import EndpointOptions, endpoint_options
from dola.cli.judge_material import DataOptions, HostedOptions, LoraOptions, Material
from dola.cli.loading import tell
from dola.cli.options import POSITIVE, ModelOptions, model_options, option_group
from dola.errors import DataError
from dola.judges.card import Kind
from dola.judges.training_data import (
    read_training_data,
    sampled,
    split_by_question,
)

data_options = option_group(
    "data",
    DataOptions,
    click.option(
        "--data-path",
        type=click.Path(path_type=Path),
        help="finetune_truth.jsonl or finetune_info.jsonl, or their folder.  [default: fetched once]",
    ),
    click.option(
        "--held-out",
        type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
        default=0.2,
        show_default=True,
        help="The share of the questions that the judge is measured on, and never trained on.",
    ),
    click.option(
        "--split-seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Which questions those are, and which examples the next two draw.",
    ),
    click.option("--max-examples", type=click.IntRange(min=1), help="Train on so many, drawn at random."),
    click.option("--max-held-out", type=click.IntRange(min=1), help="Measure on so many, drawn at random."),
)

lora_options = option_group(
    "lora",
    LoraOptions,
    click.option(
        "--epochs", type=POSITIVE, default=1.0, show_default=True, help="Times that each example is seen."
    ),
    click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True, help="Of the adapter."),
    click.option(
        "--learning-rate",
        type=POSITIVE,
        default=5e-4,
        show_default=True,
        help="At its highest, after a tenth of the steps; then it falls to zero.",
    ),
    click.option(
        "--batch-size", type=click.IntRange(min=1), default=16, show_default=True, help="Examples a step."
    ),
    click.option(
        "--max-length",
        type=click.IntRange(min=1),
        default=256,
        show_default=True,
        help="In tokens: longer training examples are left out.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the training."
    ),
    click.option("--threads", type=click.IntRange(min=1), help="Of the CPU.  [default: as PyTorch chooses]"),
)

hosted_options = option_group(
    "hosted",
    HostedOptions,
    click.option(
        "--endpoint-model",
        metavar="MODEL",
        help="Train this completion model by a fine-tuning job at an OpenAI-compatible endpoint instead, for"
        " instance davinci-002.",
    ),
    click.option("--suffix", help="In the name of the model that the job makes."),
    click.option("--wait", is_flag=True, help="Wait for the job to end."),
    click.option(
        "--measure",
        is_flag=True,
        help="Once the job has ended, ask its model for every held-out answer: one paid call each.",
    ),
)


@click.command("train")
@click.argument("kind", type=click.Choice(get_args(Kind)))
@click.option(
    "--output-path",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="A new folder, for the judge.",
)
@data_options
@model_options
@lora_options
@hosted_options
@endpoint_options
@click.option("--dry-run", is_flag=True, help="Say how many examples, tokens and steps it takes, and stop.")
def train(
    *,
    kind: Kind,
    output_path: Path,
    data: DataOptions,
    model: ModelOptions,
    lora: LoraOptions,
    hosted: HostedOptions,
    endpoint: EndpointOptions,
    dry_run: bool,
) -> None:
    """Train a judge of truth or information, and measure it on questions that it has not seen.

    \b
    dola judge train truth -o truth-judge                                   LoRA on this machine
    dola judge train truth -o truth-judge --endpoint-model davinci-002      a job at an endpoint
    dola judge tfqa out.json --local-truth truth-judge --local-info info-judge

    Every answer to a question is on one side: trained on, or held out. The accuracy on those held out is
    shown beside that of always saying the commoner answer, and of a bag of words.
    """
    material = _material(kind, data)
    if hosted.endpoint_model is not None:
        from dola.cli.judge_train_hosted import train_hosted

        train_hosted(material, hosted, endpoint, output_path, dry_run=dry_run)
        return
    if hosted.wait or hosted.measure or hosted.suffix:
        raise click.UsageError("--wait, --measure and --suffix go with --endpoint-model")
    from dola.cli.judge_train_local import train_here

    train_here(material, model, lora, output_path, dry_run=dry_run)


def _material(kind: Kind, options: DataOptions) -> Material:
    data = read_training_data(_data_file(kind, options.data_path), kind)
    split = split_by_question(data.examples, held_out=options.held_out, seed=options.split_seed)
    return Material(
        data,
        options,
        split,
        sampled(split.train, options.max_examples, seed=options.split_seed),
        sampled(split.held_out, options.max_held_out, seed=options.split_seed),
    )


def _data_file(kind: Kind, path: Path | None) -> Path:
    if path is None:
        from dola.tasks.fetch import fetch
        from dola.tasks.sources import JUDGE_TRAINING

        return fetch(JUDGE_TRAINING[kind], option="--data-path", progress=tell)
    if not path.is_dir():
        return path
    inside = path / f"finetune_{kind}.jsonl"
    if not inside.is_file():
        raise DataError(f"the folder has no finetune_{kind}.jsonl", path=path)
    return inside
