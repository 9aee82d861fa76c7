"""Threads, interleaved iterators and callbacks on one model: right as if one after another, or refused."""

from __future__ import annotations

import copy
import itertools
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import dola
from dola import DoLa, DoLaStatic, LanguageModel, Vanilla
from dola.models import turns
from dola.models.turns import turn
from test_generate_many import letter_tokenizer, tiny

DYNAMIC = DoLa((0, 1, 2))
PROMPTS = ["why", "a", "Who,then?", "Several:1+2+3+4="]
REQUESTS = [(prompt, ["abc", "abd", "!"]) for prompt in PROMPTS]
STRATEGIES = [Vanilla(), DYNAMIC, DoLaStatic(1)]
SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 0.8, "max_new_tokens": 6}
Call = Callable[[LanguageModel], object]


def scored(lm: LanguageModel, strategies: list[Any]) -> object:
    found = lm.loglikelihood(REQUESTS, strategies, batch_tokens=12)
    return [
        [(answer.tokens, answer.premature_layers) for answer in row]
        for each in found
        for row in each.by_strategy
    ]


CALLS: list[Call] = [
    lambda lm: lm.generate(PROMPTS, Vanilla(), max_new_tokens=6),
    lambda lm: lm.generate(PROMPTS, DYNAMIC, max_new_tokens=6),
    lambda lm: lm.generate(PROMPTS[0], DoLaStatic(2), max_new_tokens=6),
    lambda lm: list(lm.iter_generate(PROMPTS, DoLaStatic(1), batch_size=2, max_new_tokens=5)),
    lambda lm: lm.generate(PROMPTS, DYNAMIC, seed=3, **SAMPLED),
    lambda lm: lm.generate(PROMPTS[:2], Vanilla(), num_beams=2, seed=4, **SAMPLED),
    lambda lm: scored(lm, STRATEGIES),
    lambda lm: scored(lm, [DYNAMIC]),
    lambda lm: lm.trace("Who,then?", DYNAMIC),
    lambda lm: lm.trace("Several:1+2", DoLaStatic(2)),
]


@pytest.fixture
def lm() -> Iterator[LanguageModel]:
    lm = tiny()
    yield lm
    assert untouched(lm)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns far more often than they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def untouched(lm: LanguageModel) -> bool:
    """No hook, no replaced forward and nobody in a batch is left on the model."""
    hooks = [module._forward_pre_hooks or module._forward_hooks for module in lm.model.modules()]
    replaced = ["forward" in vars(module) for module in lm.model.modules()]
    return not any(hooks) and not any(replaced) and not turns._QUEUES.get(lm.model)


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as pool:
        begin = threading.Barrier(len(calls))

        def run(call: Callable[[], object]) -> object:
            begin.wait()
            return call()

        return [each.result() for each in [pool.submit(run, call) for call in calls]]


def test_threads_get_what_each_gets_alone(lm: LanguageModel, restless: None) -> None:
    other = LanguageModel(lm.model, letter_tokenizer())
    expected = [call(lm) for call in CALLS]
    for _ in range(3):
        found = at_once(
            [lambda call=call, lm=lm: call(lm) for lm, call in zip(itertools.cycle([lm, other]), CALLS)]
        )
        assert found == expected


def test_two_models_seeded_beams_in_two_threads_give_the_generators_back(restless: None) -> None:
    models = [tiny(seed=seed) for seed in (0, 1, 2)]
    calls = [lambda lm=lm: lm.generate(PROMPTS, num_beams=2, seed=5, **SAMPLED) for lm in models]
    expected = [call() for call in calls]
    before = torch.get_rng_state()
    assert at_once(calls) == expected
    assert torch.equal(torch.get_rng_state(), before)


def test_a_thread_that_generates_waits_for_none_of_anothers_attachments(lm: LanguageModel) -> None:
    """A batch of another thread is no strategy that the user attached: it is waited for."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(_text: str) -> None:
        entered.set()
        go_on.wait(10)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: lm.generate("why", DYNAMIC, max_new_tokens=3, on_text=hold))
        assert entered.wait(10)
        second = pool.submit(lambda: lm.generate("why", Vanilla(), max_new_tokens=3))
        third = pool.submit(lambda: lm.iter_generate(PROMPTS))
        assert not second.done()
        go_on.set()
        assert second.result(10) == lm.generate("why", Vanilla(), max_new_tokens=3)
        assert first.result(10) == lm.generate("why", DYNAMIC, max_new_tokens=3)
        third.result(10)


def test_a_strategy_that_the_user_attached_is_refused_in_any_thread(lm: LanguageModel) -> None:
    with dola.attach(lm.model, DYNAMIC), ThreadPoolExecutor(1) as pool:
        failed = pool.submit(lambda: lm.generate("why", max_new_tokens=2)).exception(10)
    assert isinstance(failed, dola.ModelError)
    assert "attached already" in str(failed)


FROM_WITHIN: dict[str, Call] = {
    "generate": lambda lm: lm.generate("a", max_new_tokens=1),
    "iter_generate": lambda lm: list(lm.iter_generate(["a"], max_new_tokens=1)),
    "loglikelihood": lambda lm: lm.loglikelihood(REQUESTS, [DYNAMIC]),
    "trace": lambda lm: lm.trace("abc", DYNAMIC),
    "attach": lambda lm: dola.attach(lm.model, DYNAMIC),
    "another LanguageModel": lambda lm: LanguageModel(lm.model, lm.tokenizer).generate("a"),
}


@pytest.mark.parametrize("strategy", [Vanilla(), DYNAMIC], ids=str)
@pytest.mark.parametrize("call", FROM_WITHIN.values(), ids=FROM_WITHIN)
def test_a_callback_that_uses_the_model_is_refused(lm: LanguageModel, call: Call, strategy: Any) -> None:
    with pytest.raises(dola.ModelError, match="in the middle of a batch"):
        lm.generate("why", strategy, max_new_tokens=3, on_text=lambda _: call(lm))
    assert untouched(lm)
    assert call(lm)
    if attachment := dola.hosts.transformers.attached(lm.model):
        attachment.detach()


def test_a_callback_may_use_another_model(lm: LanguageModel) -> None:
    other, heard = tiny(seed=3), []
    lm.generate(
        "why", DYNAMIC, max_new_tokens=3, on_text=lambda _: heard.append(other.generate("a", DYNAMIC))
    )
    assert heard[0] == other.generate("a", DYNAMIC)


def test_callbacks_that_would_wait_for_one_another_for_ever_are_refused() -> None:
    one, two = tiny(seed=1), tiny(seed=2)
    both = threading.Barrier(2, timeout=10)

    def crossing(mine: LanguageModel, other: LanguageModel) -> Any:
        met = []

        def cross(_text: str) -> None:
            if not met:
                met.append(both.wait())
                other.generate("a", max_new_tokens=1)

        return mine.generate("why", DYNAMIC, max_new_tokens=3, on_text=cross)

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(crossing, one, two), pool.submit(crossing, two, one)]
        failed = [each.exception(30) for each in tasks]
    (refused,) = [each for each in failed if each is not None]
    assert isinstance(refused, dola.ModelError)
    assert untouched(one)
    assert untouched(two)


def test_iterators_may_be_interleaved_abandoned_and_interrupted_by_other_calls(lm: LanguageModel) -> None:
    expected = [call(lm) for call in CALLS]
    whole = dict(lm.iter_loglikelihood(REQUESTS, STRATEGIES, batch_tokens=6))
    first = lm.iter_loglikelihood(REQUESTS, STRATEGIES, batch_tokens=6)
    second = lm.iter_loglikelihood(REQUESTS, STRATEGIES, batch_tokens=6)
    texts = lm.iter_generate(PROMPTS, DYNAMIC, batch_size=1, max_new_tokens=4)
    next(first)
    found = [next(second)]
    next(texts)
    first.close()
    assert untouched(lm)  # so a compiled trunk is looked at anew in every window
    assert [call(lm) for call in CALLS] == expected
    with dola.attach(lm.model, DYNAMIC):
        found.append(next(second))
    texts.close()
    found += second
    assert dict(found) == whole


def test_a_thread_may_use_the_model_between_two_items_of_anothers_iterator(lm: LanguageModel) -> None:
    items = lm.iter_loglikelihood(REQUESTS, [DYNAMIC], batch_tokens=6)
    texts = lm.iter_generate(PROMPTS, DYNAMIC, batch_size=1, max_new_tokens=2)
    next(items), next(texts)
    with ThreadPoolExecutor(1) as pool:
        for call in CALLS:
            assert pool.submit(call, lm).result(30)


def test_a_failed_batch_lets_the_next_one_in(lm: LanguageModel) -> None:
    def fail(_text: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lm.generate("why", DYNAMIC, on_text=fail)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: lm.generate("why", max_new_tokens=1)).result(10)


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    model, order = torch.nn.Linear(1, 1), []

    def take(number: int) -> None:
        with turn(model):
            order.append(number)

    with ThreadPoolExecutor(8) as pool, turn(model):
        for number in range(8):
            pool.submit(take, number)
            while len(turns._QUEUES[model]) < number + 2:
                pass
    assert order == list(range(8))


def test_a_model_that_has_had_turns_is_still_copied_and_pickled(lm: LanguageModel) -> None:
    with turn(lm.model):
        copied = copy.deepcopy(lm.model)
        again = pickle.loads(pickle.dumps(lm.model))
    for model in (copied, again):
        with turn(model):
            pass
