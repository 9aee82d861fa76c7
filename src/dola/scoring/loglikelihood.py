"""Log-likelihoods of many continuations: windows of requests, each a trie, each trie one walk."""

import math
from collections.abc import Iterator, Sequence

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import StrategyError
from dola.models.budget import Budget
from dola.models.capabilities import Capabilities
from dola.models.parts import ModelParts, take_apart
from dola.models.projection import head_of
from dola.models.trunk import TappedTrunk
from dola.models.turns import turn
from dola.models.vocabulary import check_tokens
from dola.scoring.queries import Answers, QueryHeads
from dola.scoring.result import LogLikelihood, Scored
from dola.scoring.tokens import Request, TokenRequest, check_requests, tokenize_requests
from dola.scoring.trie import TokenTrie
from dola.scoring.walk import walk_for
from dola.strategies import OWN, ResolvedStrategy, Strategy, resolve_all

# Tokens in one pass of the trunk, where the caller does not say.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}


def iter_loglikelihood(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    requests: Sequence[Request],
    strategies: Strategy | str | Sequence[Strategy | str],
    *,
    truncate: bool,
    batch_tokens: int | None,
) -> Iterator[tuple[int, Scored]]:
    """See `LanguageModel.iter_loglikelihood`. What can be refused is refused before the first pass."""
    parts = take_apart(model)
    resolved = resolve_all(
        [strategies] if isinstance(strategies, Strategy | str) else strategies, {OWN: parts.depth}
    )
    if not resolved:
        raise StrategyError("no strategy given: expected at least one to score with")
    device = model.device.type
    size = _BATCH_TOKENS.get(device, 1024) if batch_tokens is None else batch_tokens
    if size < 1:
        raise StrategyError(f"batch_tokens must be at least 1, found {size}")
    capabilities = Capabilities(model, parts)
    check_requests(requests)
    with turn(model):
        capabilities.ensure_pictured()
        tokens = tokenize_requests(tokenizer, requests, context=capabilities.context, truncate=truncate)
    check_tokens(model, (ids for request in tokens for ids in request.sequences))
    return _score(model, parts, tokens, resolved, Budget(size))


def _score(
    model: PreTrainedModel,
    parts: ModelParts,
    requests: Sequence[TokenRequest],
    strategies: Sequence[ResolvedStrategy],
    budget: Budget,
) -> Iterator[tuple[int, Scored]]:
    with turn(model):
        heads = QueryHeads(model, head_of(parts), strategies)
        trunk = TappedTrunk(parts, heads.exits)
        walk = walk_for(model, trunk, budget, heads)
    shared = not Capabilities(model, parts).rotates_by_length
    for window in _windows(requests, budget.size):
        trie = TokenTrie(shared=shared)
        asked = [[trie.add(ids, request.start) for ids in request.sequences] for _, request in window]
        # A window's time, not the iterator's: whoever takes an item may use the model before the next.
        with turn(model), trunk:
            heads.begin(trie)
            walk(trie)
            answers = heads.finish()
        for (index, request), queries in zip(window, asked, strict=True):
            yield index, _scored(request, queries, len(strategies), answers)


def _windows(requests: Sequence[TokenRequest], tokens: int) -> Iterator[list[tuple[int, TokenRequest]]]:
    """Neighbouring requests, as many as have about `tokens` tokens to score."""
    window: list[tuple[int, TokenRequest]] = []
    scored = 0
    for index, request in enumerate(requests):
        window.append((index, request))
        scored += sum(len(ids) - request.start for ids in request.sequences)
        if scored >= tokens:
            yield window
            window, scored = [], 0
    if window:
        yield window


def _scored(
    request: TokenRequest, queries: Sequence[Sequence[int]], strategies: int, answers: Answers
) -> Scored:
    return Scored(
        prompt_is_prefix=request.prompt_is_prefix,
        truncated=request.truncated,
        by_strategy=tuple(
            tuple(_loglikelihood(number, answers, row) for row in queries) for number in range(strategies)
        ),
    )


def _loglikelihood(number: int, answers: Answers, queries: Sequence[int]) -> LogLikelihood:
    """What the strategy of this number answered to the queries of one continuation."""
    scores = tuple(answers.scores[number][query] for query in queries)
    premature = tuple(answers.premature[number][query] for query in queries)
    layers = premature if all(layer >= 0 for layer in premature) else None
    left_out = sum(answers.left_out[number][query] for query in queries)
    return LogLikelihood(math.fsum(scores), scores, layers, left_out)
