"""Train a judge on this machine, show how far it is, and measure what came out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import dola
from dola.cli.judge_material import LoraOptions, Material
from dola.cli.judge_train_figures import show_figures, tell_split
from dola.cli.loading import quiet_host, tell, waiting
from dola.cli.options import ModelOptions
from dola.judges.card import JudgeCard
from dola.judges.comparison import held_out_figures, split_figures
from dola.judges.training_data import digest_of

if TYPE_CHECKING:
    from dola.judges.lora import LoraSettings, Prepared

_THRESHOLD = 0.5
# Between two lines where there is no terminal.
_SECONDS = 30.0


def train_here(
    material: Material, model: ModelOptions, lora: LoraOptions, folder: Path, *, dry_run: bool
) -> None:
    """LoRA on the model; the folder is a judge when it is done.

    Raises:
        ModelError: a model that cannot be loaded or trained.
        RunError: the folder is taken.
    """
    quiet_host()
    import torch

    from dola.judges.lora import LoraSettings, prepare
    from dola.judges.training import check_free, check_installed
    from dola.models.loading import find_source, load_model

    settings = LoraSettings(
        lora.epochs, lora.rank, lora.learning_rate, lora.batch_size, lora.max_length, lora.seed
    )
    if model.dtype == "float16":
        raise click.UsageError("--dtype float16 loses small gradients: give bfloat16 or float32")
    check_installed()
    check_free(folder)
    if lora.threads is not None:
        torch.set_num_threads(lora.threads)
    tell_split(material)
    model = replace(model, dtype=model.dtype or "float32")
    with waiting(f"loading {model.model_name}"):
        source = find_source(model.model_name, progress=tell)
        base, tokenizer = load_model(
            source, model.placement, trust_remote_code=model.trust_remote_code, progress=tell
        )
    prepared = prepare(tokenizer, material.train, settings.max_length)
    _tell_work(prepared, settings)
    if dry_run:
        return
    with _resumable(folder):
        _train_and_measure(material, model, settings, prepared, folder, (base, tokenizer))


def _train_and_measure(
    material: Material,
    model: ModelOptions,
    settings: LoraSettings,
    prepared: Prepared,
    folder: Path,
    loaded: tuple[Any, Any],
) -> None:
    from dola.judges.training import finish, train_adapter
    from dola.judges.yes_no import encode, padding_of, probabilities_of_yes
    from dola.runs.fingerprint import model_identity

    base, tokenizer = loaded
    identity = model_identity(model.model_name)
    fingerprint = {"model": identity, "dtype": model.dtype, "train": digest_of(material.train)}
    begun = time.monotonic()
    with _shown("steps") as advance:
        adapted = train_adapter(
            base,
            tokenizer,
            prepared,
            settings,
            folder,
            base_model=model.model_name,
            fingerprint=fingerprint,
            advance=advance,
        )
    seconds = time.monotonic() - begun
    held_out = [encode(tokenizer, example.prompt) for example in material.held_out]
    with _shown("held-out answers") as advance:
        probabilities = probabilities_of_yes(
            adapted,
            held_out,
            prepared.tokens,
            pad=padding_of(tokenizer),
            batch_size=settings.batch_size,
            advance=lambda done: advance(done, len(held_out), None),
        )
    _write_verdicts(folder / "held_out.jsonl", material, probabilities)
    card = _card(material, model, settings, prepared, probabilities, identity, seconds)
    card.write(folder)
    finish(folder)
    show_figures(card.held_out)
    click.echo(f"written: {folder} (dola judge tfqa ... --local-{card.kind} {folder})", err=True)


def _card(
    material: Material,
    model: ModelOptions,
    settings: LoraSettings,
    prepared: Prepared,
    probabilities: list[float],
    identity: str,
    seconds: float,
) -> JudgeCard:
    seed = material.options.split_seed
    figures = held_out_figures(
        [probability >= _THRESHOLD for probability in probabilities],
        material.held_out,
        material.train,
        material.split,
        seed=seed,
    )
    return JudgeCard(
        kind=material.data.kind,
        base_model=model.model_name,
        identity=identity,
        dtype=str(model.dtype),
        yes_token=prepared.tokens.yes,
        no_token=prepared.tokens.no,
        threshold=_THRESHOLD,
        data={
            "file": material.data.path.name,
            "sha256": material.data.sha256,
            "examples": len(material.data.examples),
        },
        split={
            "seed": seed,
            "held_out_share": material.options.held_out,
            **split_figures(material.split, material.train, material.held_out),
        },
        settings={**asdict(settings), "left_out_as_too_long": prepared.left_out},
        held_out=figures,
        made_by={
            "dola": dola.__version__,
            **{name: version(name) for name in ("torch", "transformers", "peft", "scikit-learn")},
        },
        seconds=round(seconds, 1),
    )


def _write_verdicts(path: Path, material: Material, probabilities: list[float]) -> None:
    """What the judge said of each held-out answer, for whoever wants to look at its mistakes."""
    with path.open("w", encoding="utf-8") as file:
        for example, probability in zip(material.held_out, probabilities, strict=True):
            line = {
                "prompt": example.prompt,
                "completion": example.completion,
                "p_yes": round(probability, 6),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _tell_work(prepared: Prepared, settings: LoraSettings) -> None:
    steps = round(settings.epochs * -(-len(prepared.rows) // settings.batch_size))
    left_out = f"; {prepared.left_out} longer than --max-length left out" if prepared.left_out else ""
    tell(f"{steps} steps over {prepared.token_count:,} tokens{left_out}")


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        tell(f"\nno judge yet; the same command goes on from the last checkpoint in {folder}")
        raise


@contextmanager
def _shown(what: str) -> Iterator[Callable[[int, int, float | None], None]]:
    """A bar on a terminal, else a line now and then; to be called with done, total and the loss."""
    console = Console(stderr=True)
    progress = Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(what),
        TextColumn("{task.description}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stderr.isatty(),
    )
    task = progress.add_task("", total=None)
    begun = told = time.monotonic()
    first: int | None = None

    def advance(done: int, total: int, loss: float | None) -> None:
        nonlocal told, first
        words = "" if loss is None else f"loss {loss:.3f}"
        progress.update(task, completed=done, total=total, description=words)
        now = time.monotonic()
        if first is None:
            first = done - 1
        if not console.is_terminal and now - told > _SECONDS:
            told = now
            left = (now - begun) / max(done - first, 1) * (total - done)
            tell(f"{done}/{total} {what}  {words}  {left / 60:.0f} min left")

    with progress:
        yield advance
