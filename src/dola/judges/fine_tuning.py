"""A fine-tuning job at an OpenAI-compatible endpoint: started once, and found again.

A job costs money, so what was done is written down before the next step, and a job whose start got no answer
is looked for among the endpoint's before another one is started.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dola.errors import DataError, JudgeError
from dola.judges.endpoint import Endpoint
from dola.judges.training_data import JudgeExample

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob

FORMAT = 1
FILENAME = "job.json"
_SUCCEEDED = "succeeded"
_ENDED = (_SUCCEEDED, "failed", "cancelled")


@dataclass(frozen=True)
class Job:
    """What is known of a job.

    Attributes:
        fingerprint: what it was started for: endpoint, model, data, split.
        file: the endpoint's name of the training data; None: not there yet.
        job: the endpoint's name of the job; None: not started, or its start got no answer.
        status: the endpoint's word.
        judge: the fine-tuned model; None until it is there.
    """

    fingerprint: dict[str, Any]
    file: str | None = None
    job: str | None = None
    status: str | None = None
    judge: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    def write(self, folder: Path) -> Job:
        """Put it into the folder, whole or not at all; gives itself back."""
        partial = folder / f".{FILENAME}"
        content = {"format": FORMAT, **asdict(self)}
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(folder / FILENAME)
        return self


def read_job(folder: Path) -> Job | None:
    """The job that the folder was made for; None where there is none.

    Raises:
        DataError: a file that is none of ours.
    """
    path = folder / FILENAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        return Job(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"not a fine-tuning job of ours ({error}): name a new folder", path=path) from None


def lines_of(examples: Sequence[JudgeExample]) -> bytes:
    """The examples as the endpoint takes them, which is as they were released."""
    lines = (
        json.dumps({"prompt": example.prompt, "completion": example.completion}, ensure_ascii=False)
        for example in examples
    )
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


async def start(endpoint: Endpoint, job: Job, folder: Path, *, model: str, suffix: str | None) -> Job:
    """Upload the folder's training data and start the job, as far as either is not done yet.

    Raises:
        JudgeError: refused or not reached.
    """
    if job.file is None:
        content = ("train.jsonl", (folder / "train.jsonl").read_bytes())
        uploaded = await endpoint.call(lambda c: c.files.create(file=content, purpose="fine-tune"))
        job = replace(job, file=uploaded.id).write(folder)
    elif job.job is None:
        job = await _found(endpoint, job, folder)
    if job.job is not None or job.file is None:
        return job
    file = job.file
    named: Any = {"suffix": suffix} if suffix else {}
    # Not tried again by the client: an answer that is lost on its way would start, and cost, a second job.
    started = await endpoint.call(
        lambda client: client.with_options(max_retries=0).fine_tuning.jobs.create(
            model=model, training_file=file, **named
        )
    )
    return _seen(job, started).write(folder)


async def look(endpoint: Endpoint, job: Job, folder: Path) -> Job:
    """How far the job is.

    Raises:
        JudgeError: refused, not reached, or the job has failed.
    """
    name = job.job or ""
    found = await endpoint.call(lambda client: client.fine_tuning.jobs.retrieve(name))
    job = _seen(job, found).write(folder)
    if job.ended and job.status != _SUCCEEDED:
        said = getattr(found.error, "message", None) or "no reason given"
        raise JudgeError(
            f"the fine-tuning job {job.job} ended as {job.status}: {endpoint.settings.hide(str(said))}; mend"
            f" that, remove {folder}, and start another"
        )
    return job


async def wait(
    endpoint: Endpoint, job: Job, folder: Path, *, seconds: float, on_status: Callable[[Job], None]
) -> Job:
    """Look again and again until the job has ended; `on_status` hears of every change.

    Raises:
        JudgeError: refused, not reached, or the job has failed.
    """
    while not job.ended:
        await asyncio.sleep(seconds)
        before, job = job, await look(endpoint, job, folder)
        if job.status != before.status:
            on_status(job)
    return job


async def _found(endpoint: Endpoint, job: Job, folder: Path) -> Job:
    """The job whose start got no answer, if the endpoint has it all the same."""
    page = await endpoint.call(lambda client: client.fine_tuning.jobs.list(limit=100))
    same = [one for one in page.data if one.training_file == job.file]
    return _seen(job, same[0]).write(folder) if same else job


def _seen(job: Job, found: FineTuningJob) -> Job:
    return replace(job, job=found.id, status=str(found.status), judge=found.fine_tuned_model)
