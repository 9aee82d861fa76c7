"""How a judge learns: LoRA settings, examples as tokens, and the host's `Trainer` with a loss of our own.

The loss is the cross-entropy of the answer's token alone, over the whole vocabulary: what the judge is asked
for later is P(" yes"), so no other position has anything to teach it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from dola.errors import DataError
from dola.judges.training_data import JudgeExample
from dola.judges.yes_no import AnswerTokens, answer_tokens, encode, last_logits, padded, padding_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

# Steps done, steps in all, the loss that was last reported.
Advance = Callable[[int, int, float | None], None]


@dataclass(frozen=True)
class LoraSettings:
    """How a judge is trained.

    Attributes:
        epochs: times that each example is seen.
        rank: of the adapter; its alpha is twice that.
        learning_rate: at its highest, after a tenth of the steps; it falls linearly to zero.
        batch_size: examples a step.
        max_length: in tokens; longer training examples are left out.
        seed: of the adapter's first weights and of the order of examples.
        save_every: steps between two checkpoints.
    """

    epochs: float = 1.0
    rank: int = 16
    learning_rate: float = 5e-4
    batch_size: int = 16
    max_length: int = 256
    seed: int = 0
    save_every: int = 50


@dataclass(frozen=True)
class Prepared:
    """Training examples as tokens. `left_out`: how many were longer than `max_length`."""

    rows: tuple[tuple[int, ...], ...]
    answers: tuple[int, ...]
    tokens: AnswerTokens
    left_out: int

    @property
    def token_count(self) -> int:
        return sum(map(len, self.rows))


def prepare(tokenizer: Tokenizer, examples: Sequence[JudgeExample], max_length: int) -> Prepared:
    """The examples that are short enough, as tokens.

    Raises:
        ModelError: a tokenizer that has no tokens of its own for the answers.
        DataError: no example is short enough.
    """
    tokens = answer_tokens(tokenizer, examples[0].prompt)
    encoded = [(tuple(encode(tokenizer, example.prompt)), example.yes) for example in examples]
    kept = [(row, yes) for row, yes in encoded if len(row) <= max_length]
    if not kept:
        raise DataError(f"every training example is longer than {max_length} tokens: give --max-length more")
    answers = tuple(tokens.yes if yes else tokens.no for _, yes in kept)
    return Prepared(tuple(row for row, _ in kept), answers, tokens, len(encoded) - len(kept))


def trainer_of(
    adapted: Any,
    tokenizer: Tokenizer,
    prepared: Prepared,
    settings: LoraSettings,
    work: Path,
    advance: Advance,
) -> Trainer:
    """A trainer of the model's adapter, with its checkpoints in `work`; `advance` hears of every step."""
    pad = padding_of(tokenizer)

    def collated(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        labels = torch.tensor([row["labels"] for row in rows])
        return {**padded([row["input_ids"] for row in rows], pad), "labels": labels}

    pairs = zip(prepared.rows, prepared.answers, strict=True)
    trainer = _LastTokenTrainer(
        model=adapted,
        args=_arguments(len(prepared.rows), settings, work, on_cpu=adapted.device.type == "cpu"),
        data_collator=collated,
        train_dataset=[{"input_ids": row, "labels": answer} for row, answer in pairs],
        callbacks=[_Told(advance)],
    )
    trainer.remove_callback(PrinterCallback)  # prints dictionaries
    return trainer


class _LastTokenTrainer(Trainer):
    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 (the host's signature)
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        logits = last_logits(model, inputs["input_ids"], inputs["attention_mask"])
        loss = torch.nn.functional.cross_entropy(logits, inputs["labels"].to(logits.device))
        return (loss, logits) if return_outputs else loss


class _Told(TrainerCallback):
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        self._advance(state.global_step, state.max_steps, losses[-1] if losses else None)


def _arguments(examples: int, settings: LoraSettings, work: Path, *, on_cpu: bool) -> TrainingArguments:
    steps = settings.epochs * -(-examples // settings.batch_size)
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(0.1 * steps),
        weight_decay=0.0,
        seed=settings.seed,
        train_sampling_strategy="group_by_length",
        save_steps=settings.save_every,
        save_total_limit=2,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # no replicas: the positions kept are the whole batch's
    return arguments
