"""Many prompts in batches: the longest first, what all begin with read once, smaller when memory runs out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import StrategyError
from dola.hosts.transformers.generation import (
    Generation,
    generate_batch,
    read_rows,
    refuse_attached,
    share_batches,
)
from dola.hosts.transformers.prompt_forms import Given
from dola.hosts.transformers.prompts import Prompt, common_prefix, of_one_length
from dola.hosts.transformers.sampling import seeded
from dola.hosts.transformers.settings import GenerationSettings
from dola.models.budget import Budget
from dola.models.capabilities import Capabilities
from dola.models.prefix import Prefix
from dola.models.turns import turn
from dola.strategies import ResolvedStrategy

# Prompts in one batch, where the caller does not say.
_BATCH_SIZE = {"cpu": 8, "cuda": 32}

# A common beginning that is shorter costs less than its cache takes to lay out.
_WORTH_SHARING = 8


@dataclass(frozen=True)
class _Call:
    """What is the same for all batches."""

    capabilities: Capabilities
    tokenizer: Tokenizer
    strategy: ResolvedStrategy
    settings: GenerationSettings

    @property
    def model(self) -> PreTrainedModel:
        return self.capabilities.model


def iter_generate(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Given],
    strategy: ResolvedStrategy,
    settings: GenerationSettings,
    batch_size: int | None,
) -> Iterator[tuple[int, Generation]]:
    """See `LanguageModel.iter_generate`. What can be refused is refused before the first batch."""
    size = _BATCH_SIZE.get(model.device.type, 8) if batch_size is None else batch_size
    if size < 1:
        raise StrategyError(f"batch_size must be at least 1, found {size}")
    if settings.prompt_lookup_num_tokens is not None:  # which goes one by one
        if settings.num_beams > 1:
            raise StrategyError("prompt lookup takes no beams")
        size = 1
    capabilities = Capabilities.of(model)
    with turn(model):
        refuse_attached(model)
        rows = read_rows(capabilities, tokenizer, prompts, settings)
    return _batches(_Call(capabilities, tokenizer, strategy, seeded(settings)), rows, Budget(size))


def _batches(call: _Call, prompts: Sequence[Prompt], budget: Budget) -> Iterator[tuple[int, Generation]]:
    """As many rows at a time as the budget allows: of one length where the model cannot be padded exactly."""
    groups = list(of_one_length(prompts))
    if share_batches(call.capabilities, call.settings):
        groups = [[row for group in groups for row in group]]
    prefix = _read_prefix(call, prompts)
    for left in groups:
        while left:
            rows = left[: budget.size]
            try:
                done = generate_batch(
                    call.model, call.tokenizer, rows, call.strategy, call.settings, prefix=prefix
                )
            except RuntimeError as error:
                budget.shrink(error, len(rows))
                continue
            left = left[len(rows) :]
            yield from done


def _read_prefix(call: _Call, prompts: Sequence[Prompt]) -> Prefix | None:
    """What all prompts begin with, in the cache, where that is exact and worth it."""
    settings = call.settings
    if len(prompts) < 2 or settings.prompt_lookup_num_tokens is not None or settings.starts_from_nothing:
        return None
    parts = call.capabilities.parts
    if parts is None or not call.capabilities.shares_prefixes_of_rows:
        return None
    shortest = min(len(prompt.ids) for prompt in prompts)
    ids = common_prefix(prompts)[: shortest - 1]  # the host needs a token to go on from
    if len(ids) < _WORTH_SHARING:
        return None
    with turn(call.model):
        return Prefix.read(call.model, parts, ids)
