"""A judge on this machine: a Hugging Face model, or what `dola judge train` made, that says " yes" or " no".

AllenAI's re-trained judges of TruthfulQA are asked the released question and fit as they are:
allenai/truthfulqa-truth-judge-llama2-7B and allenai/truthfulqa-info-judge-llama2-7B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dola.errors import JudgeError
from dola.judges.card import Kind, is_judge, read_card
from dola.models.placement import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer

_BATCH = 16


@dataclass(frozen=True)
class LocalJudge:
    """A model and its tokenizer, ready to answer."""

    model: PreTrainedModel
    tokenizer: Tokenizer

    def probabilities_of_yes(
        self, prompts: Sequence[str], *, batch_size: int = _BATCH
    ) -> Iterator[tuple[int, float]]:
        """Which prompt, and P(" yes") among the whole vocabulary after it; a batch at a time, in any order.

        Raises:
            ModelError: the tokenizer has no token of its own for " yes" or " no", or it is another model's.
        """
        from dola.judges.yes_no import answer_tokens, encode, probabilities_of_yes
        from dola.models.vocabulary import check_tokens, pad_with_known

        if not prompts:
            return
        tokens = answer_tokens(self.tokenizer, prompts[0])
        rows = [encode(self.tokenizer, prompt) for prompt in prompts]
        check_tokens(self.model, rows)
        pad_with_known(self.model, self.tokenizer)
        # Alike in length together, the longest first: little padding, and memory runs out at once or never.
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]), reverse=True)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            found = probabilities_of_yes(
                self.model,
                [rows[at] for at in batch],
                tokens,
                pad=int(self.tokenizer.pad_token_id),
                batch_size=batch_size,
            )
            yield from zip(batch, found, strict=True)


def load_local_judge(
    name: str,
    kind: Kind,
    placement: Placement | None = None,
    *,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> LocalJudge:
    """The judge: a folder of `dola judge train`, or any causal language model by alias, hub id or folder.

    Raises:
        JudgeError: a trained judge of the other kind.
        ModelError: not found, not reachable, or not a causal language model.
        MissingExtraError: a trained judge, and peft is not installed.
    """
    folder = Path(name).expanduser()
    if is_judge(folder):
        check_kind(folder, kind)
        from dola.judges.trained import load_trained

        trained = load_trained(folder, placement, trust_remote_code=trust_remote_code, progress=progress)
        return LocalJudge(trained.model, trained.tokenizer)
    from dola.models.loading import find_source, load_model

    source = find_source(name, progress=progress)
    placement = placement or Placement()
    return LocalJudge(*load_model(source, placement, trust_remote_code=trust_remote_code, progress=progress))


def check_kind(folder: Path, kind: Kind) -> None:
    """See that a folder of `dola judge train` judges what it is to judge.

    Raises:
        JudgeError: it judges the other kind.
        DataError: its card cannot be read.
    """
    trained = read_card(folder).kind
    if trained != kind:
        raise JudgeError(
            f"{folder} was trained to judge {trained}, and is asked to judge {kind}: give it as"
            f" --local-{trained}"
        )
