"""Train a judge by a fine-tuning job at an endpoint: prepare, start, look, measure; each step once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dola.cli.asking import BYTES_A_TOKEN, EndpointOptions, asking, tell_calls, tell_estimate
from dola.cli.judge_material import HostedOptions, Material
from dola.cli.judge_train_figures import show_figures, tell_split
from dola.cli.loading import tell
from dola.errors import RunError
from dola.judges.comparison import held_out_figures, split_figures
from dola.judges.fine_tuning import Job, lines_of, look, read_job, start, wait
from dola.judges.settings import EndpointSettings
from dola.judges.training_data import digest_of

if TYPE_CHECKING:
    from dola.runs.judging import EndpointJudge

FIGURES = "held_out.json"
# Between two looks at a job that takes an hour.
_SECONDS = 20.0
_THRESHOLD = 0.5


def train_hosted(
    material: Material, hosted: HostedOptions, options: EndpointOptions, folder: Path, *, dry_run: bool
) -> None:
    """Start the job, or go on with the one that the folder holds.

    Raises:
        JudgeError: no key, refused, not reached, or the job has failed.
        RunError: the folder is taken.
    """
    tell_split(material)
    if dry_run:
        _tell_what_it_takes(material, hosted)
        return
    settings = options.settings()
    job = _prepared(material, hosted, settings, folder)
    job = asyncio.run(_run(job, hosted, settings, folder))
    if job.judge is None:
        _tell_how_to_go_on(job)
        return
    kind = material.data.kind
    config = {f"gpt_{kind}": job.judge} | ({"base_url": settings.base_url} if settings.base_url else {})
    click.echo(f"{kind} judge: {job.judge}\nfor --gpt3-config: {json.dumps(config)}")
    if hosted.measure:
        _measure(material, job.judge, settings, folder)
    else:
        tell(f"the same command with --measure asks it for {len(material.held_out):,} held-out answers")


def _tell_what_it_takes(material: Material, hosted: HostedOptions) -> None:
    tokens = len(lines_of(material.train)) // BYTES_A_TOKEN
    click.echo(f"training: {len(material.train)} examples, about {tokens} tokens an epoch")
    if hosted.measure:
        judge = _judge(material, "", EndpointSettings("none"))
        asked = [judge.asked(example.question, example.answer) for example in material.held_out]
        tell_calls("measuring", asked, len(asked), max_reply=1)
    tell_estimate()


def _prepared(material: Material, hosted: HostedOptions, settings: EndpointSettings, folder: Path) -> Job:
    """The folder's job. A new folder gets the two sides as files; the held-out one never leaves this machine
    whole, so nobody can train on it by mistake."""
    fingerprint = {
        "kind": material.data.kind,
        "endpoint": settings.address,
        "model": hosted.endpoint_model,
        "data": material.data.sha256,
        "train": digest_of(material.train),
        "held_out": digest_of(material.held_out),
    }
    job = read_job(folder)
    if job is not None:
        if job.fingerprint != fingerprint:
            raise RunError(
                f"{folder} holds a job for other data, another model or endpoint: give the same to go on with"
                " it, or name another folder"
            )
        return job
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} is there and holds something else: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.jsonl").write_bytes(lines_of(material.train))
    (folder / "held_out.jsonl").write_bytes(lines_of(material.held_out))
    return Job(fingerprint).write(folder)


async def _run(job: Job, hosted: HostedOptions, settings: EndpointSettings, folder: Path) -> Job:
    from dola.judges.endpoint import Endpoint

    async with Endpoint(settings) as endpoint:
        if job.job is None:
            job = await start(endpoint, job, folder, model=hosted.endpoint_model or "", suffix=hosted.suffix)
            tell(f"started: {job.job}")
        elif job.judge is None:
            job = await look(endpoint, job, folder)
        if hosted.wait or hosted.measure:
            job = await wait(
                endpoint,
                job,
                folder,
                seconds=_SECONDS,
                on_status=lambda seen: tell(f"{seen.job}: {seen.status}"),
            )
    return job


def _tell_how_to_go_on(job: Job) -> None:
    click.echo(f"job {job.job}: {job.status}")
    tell("the same command looks again, with --wait until it has ended; it starts no second job")


def _judge(material: Material, model: str, settings: EndpointSettings) -> EndpointJudge:
    from dola.runs.judging import EndpointJudge

    return EndpointJudge(material.data.kind, model, settings)


def _measure(material: Material, model: str, settings: EndpointSettings, folder: Path) -> None:
    """Ask the new judge for the held-out answers, and show it beside what it must beat."""
    from dola.runs.results import write_result
    from dola.runs.verdicts import open_verdicts, unanswered

    judge = _judge(material, model, settings)
    asked = [judge.asked(example.question, example.answer) for example in material.held_out]
    with open_verdicts(folder / FIGURES) as verdicts:
        left = unanswered(asked, verdicts.done)
        with asking(len(left), verdicts) as advance:
            judge.answer(left, verdicts, advance)
        found = [verdicts.done[one.key] for one in asked]
    said = [each.malformed is None and (judge.probability(each.reply) or 0.0) >= _THRESHOLD for each in found]
    split = split_figures(material.split, material.train, material.held_out)
    figures = held_out_figures(
        said, material.held_out, material.train, material.split, seed=material.options.split_seed
    )
    malformed = sum(each.malformed is not None for each in found)
    result = {"judge": model, "split": split, "malformed": malformed, "held_out": figures}
    write_result(folder / FIGURES, result)
    show_figures(figures)
    if malformed:
        tell(f"{malformed} verdicts made no sense and count as no")
