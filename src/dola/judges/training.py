"""Fine-tune a causal language model into a judge, in a folder that is a judge only when all is done.

While it trains, the checkpoints lie in a folder inside; what was interrupted goes on from the last one.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from dola.errors import MissingExtraError, ModelError, RunError
from dola.judges.card import is_judge
from dola.judges.lora import Advance, LoraSettings, Prepared, trainer_of
from dola.models.randomness import generators_seeded

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer

# Below the judge's folder, until it is a judge.
_WORK = ".training"
_SETTINGS = "training.json"
_STATE = "trainer_state.json"  # what the Trainer writes last into a checkpoint


def train_adapter(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prepared: Prepared,
    settings: LoraSettings,
    folder: Path,
    *,
    base_model: str,
    fingerprint: dict[str, Any],
    advance: Advance,
) -> PeftModel:
    """Train, and put the adapter into `folder`. The model is changed, and returned with the adapter on it.

    Interrupted, it goes on from its last checkpoint when it is called with the same `fingerprint` (model,
    data, split) and settings again. The adapter's files appear only when it is done.

    Raises:
        ModelError: a model that no adapter fits on.
        RunError: the folder holds a judge, a training with other settings, or one that runs now.
    """
    work = _claim(folder, {"settings": asdict(settings), **fingerprint})
    with _alone_in(work), generators_seeded(settings.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the host and peft about calls of their own
        warnings.filterwarnings("ignore", module="peft")  # what it does by itself about other architectures
        adapted = _with_adapter(model, settings.rank, base_model)
        trainer = trainer_of(adapted, tokenizer, prepared, settings, work, advance)
        trainer.train(resume_from_checkpoint=_last_checkpoint(work))
    adapted.train(mode=False)
    # peft takes the local path, which may be a cache's.
    adapted.active_peft_config.base_model_name_or_path = base_model
    _keep_adapter(adapted, work / "adapter", folder)
    return adapted


def _with_adapter(model: PreTrainedModel, rank: int, base_model: str) -> PeftModel:
    """The model with a fresh adapter on all linear maps but the head: the names of the attention's own
    differ from model to model."""
    import peft

    lora = peft.LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    model.config.use_cache = False
    try:
        return peft.get_peft_model(model, lora)
    except ValueError as error:
        raise ModelError(f"no adapter fits on {base_model!r}: {error}") from error


def check_installed() -> None:
    """Refuse before the hour of training what would fail after it.

    Raises:
        MissingExtraError: peft or scikit-learn is not installed.
    """
    if not all(find_spec(name) for name in ("peft", "sklearn")):
        raise MissingExtraError("training a judge", "judge")


def check_free(folder: Path) -> None:
    """Refuse a folder that no judge can be put into, before anything slow.

    Raises:
        RunError: it holds a judge already, or something that is no unfinished training.
    """
    if is_judge(folder):
        raise RunError(f"{folder} holds a judge already: name another folder, or remove this one")
    if (folder / _WORK / _SETTINGS).is_file() or not folder.exists():
        return
    if not folder.is_dir() or any(path.name != _WORK for path in folder.iterdir()):
        raise RunError(f"{folder} is there and holds something else: name a new folder")


def _claim(folder: Path, fingerprint: dict[str, Any]) -> Path:
    """The folder's own folder for work, if the folder is free or holds the same training.

    Raises:
        RunError: it holds a judge, something else, or another training.
    """
    check_free(folder)
    work = folder / _WORK
    settings = work / _SETTINGS
    content = json.dumps(fingerprint, indent=1, sort_keys=True)
    if settings.is_file():
        if settings.read_text(encoding="utf-8") != content:
            raise RunError(
                f"{folder} holds an unfinished training with other settings, data or another model: give the"
                " same to go on with it, name another folder, or remove this one"
            )
        return work
    work.mkdir(parents=True, exist_ok=True)
    partial = work / f".{_SETTINGS}"
    partial.write_text(content, encoding="utf-8")
    partial.replace(settings)
    return work


@contextmanager
def _alone_in(work: Path) -> Iterator[None]:
    """Two processes would write into each other's checkpoints."""
    try:
        with FileLock(work / "lock", timeout=0):
            yield
    except Timeout:
        raise RunError(
            f"another process trains in {work.parent}: wait for it, or name another folder"
        ) from None


def finish(folder: Path) -> None:
    """Remove what only the training needed."""
    shutil.rmtree(folder / _WORK, ignore_errors=True)


def _last_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that was written to its end."""
    whole = [path for path in work.glob("checkpoint-*") if (path / _STATE).is_file()]
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _keep_adapter(adapted: Any, partial: Path, folder: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    adapted.save_pretrained(str(partial), save_embedding_layers=False)
    (partial / "README.md").unlink(missing_ok=True)  # peft's template of a model card, not filled in
    for file in partial.iterdir():
        file.replace(folder / file.name)
    partial.rmdir()
