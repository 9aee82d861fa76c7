"""A judge that `dola judge train` made, back from its folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dola.errors import MissingExtraError, ModelError
from dola.judges.card import JudgeCard, read_card
from dola.models.placement import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer


def _quietly(line: str) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class TrainedJudge:
    """Base model with the adapter merged into its weights, tokenizer, and what is known of both."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    card: JudgeCard


def load_trained(
    folder: Path,
    placement: Placement | None = None,
    *,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] = _quietly,
) -> TrainedJudge:
    """The judge, ready to answer; in the dtype that it was measured in unless `placement` has another.

    Raises:
        DataError: the folder holds no judge.
        ModelError: its base model or its adapter cannot be loaded.
        MissingExtraError: peft is not installed.
    """
    card = read_card(folder)
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError("a trained judge", "judge") from error
    from dola.models.loading import find_source, load_model

    wanted = placement or Placement()
    wanted = wanted if wanted.dtype else replace(wanted, dtype=card.dtype)
    source = find_source(card.base_model, progress=progress)
    model, tokenizer = load_model(source, wanted, trust_remote_code=trust_remote_code, progress=progress)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the host and peft about calls of their own
            merged = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"the adapter in {folder} does not go on {card.base_model!r} ({first}): train the judge again"
        ) from error
    merged.train(mode=False)
    return TrainedJudge(merged, tokenizer, card)
