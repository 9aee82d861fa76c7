"""A strategy a position: rows of a batch, their beams, and requests in one flat pass."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import Tensor

import dola
from dola import SLED, DeLTa, DoLa, DoLaStatic, Strategy, StrategyError, Vanilla
from dola.models.projection import HeadProjection
from tiny_models import tiny_model

LAYERS, VOCABULARY = 4, 96
THREE = [DoLa((0, 1, 3)), Vanilla(), DoLaStatic(2, alpha=0.3)]
MIXTURES = {
    "three kinds": THREE,
    "the same exits": [DoLa((0, 1, 3)), DoLa((0, 1, 3), divergence="js"), DoLa((0, 1, 3), alpha=0.5)],
    "normed and bare": [DoLa("high"), DoLa("high", early_exit_norm=False), DoLa((1, 2), mature_layer=3)],
    "weighted sums": [DeLTa(2, 5.0), SLED((0, 1, 2), rate=1.5), Vanilla()],
    "twice the same": [DoLa("auto"), DoLa("auto"), Vanilla()],
    "none contrasts": [Vanilla(), Vanilla(), Vanilla()],
}
ALL = pytest.mark.parametrize("strategies", MIXTURES.values(), ids=MIXTURES)
IDS = torch.tensor([[5, 17, 42, 9, 33], [6, 18, 43, 10, 34], [70, 12, 12, 55, 23]])
GREEDY: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model("llama")


@torch.no_grad()
def alone(model: Any, strategy: Strategy, ids: Tensor) -> tuple[Tensor, Tensor | None]:
    with dola.attach(model, strategy) as attachment:
        scores = model(ids).logits
        return scores, attachment.last.premature


@ALL
@torch.no_grad()
def test_the_rows_of_a_batch_have_their_own(model: Any, strategies: list[Strategy]) -> None:
    with dola.attach(model, strategies) as attachment:
        together = model(IDS).logits
        last = attachment.last
        kept = model(IDS, logits_to_keep=2).logits
    assert together.dtype == torch.float32
    torch.testing.assert_close(kept, together[:, -2:], rtol=1e-5, atol=1e-4)
    for row, strategy in enumerate(strategies):
        scores, premature = alone(model, strategy, IDS[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], scores, rtol=1e-4, atol=1e-4)
        if last.premature is not None:
            expected = torch.full((1, 5), -1) if premature is None else premature
            assert torch.equal(last.premature[row : row + 1], expected)
    assert last.details == {}
    assert (last.premature is None) == all(type(each) in (Vanilla, DeLTa) for each in strategies)


@ALL
@pytest.mark.parametrize("beams", [1, 2])
def test_generation_gives_each_row_what_its_strategy_gives_it_alone(
    model: Any, strategies: list[Strategy], beams: int
) -> None:
    settings = {**GREEDY, "num_beams": beams}
    with dola.attach(model, strategies):
        together = model.generate(IDS, attention_mask=torch.ones_like(IDS), **settings)
    found = []
    for row, strategy in enumerate(strategies):
        ids = IDS[row : row + 1]
        with dola.attach(model, strategy):
            (one,) = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        found.append(one.tolist())
        assert together[row, : len(one)].tolist() == one.tolist()
    with dola.attach(model, [*strategies[1:], strategies[0]]):
        turned = model.generate(IDS, attention_mask=torch.ones_like(IDS), **settings)
    if strategies is THREE:
        assert turned.tolist() != together.tolist()


@torch.no_grad()
def test_each_returned_sequence_of_a_row_has_its_strategy(model: Any) -> None:
    settings = {**GREEDY, "num_beams": 4, "num_return_sequences": 2}
    with dola.attach(model, THREE):
        together = model.generate(IDS, attention_mask=torch.ones_like(IDS), **settings)
    for row, strategy in enumerate(THREE):
        ids = IDS[row : row + 1]
        with dola.attach(model, strategy):
            found = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        assert together[2 * row : 2 * row + 2].tolist() == found.tolist()


@ALL
@torch.no_grad()
def test_requests_in_one_flat_pass_have_their_own(model: Any, strategies: list[Strategy]) -> None:
    """As continuous batching has it: the positions of three requests in one row."""
    flat = IDS[:, :1].T  # [1, 3]
    with dola.attach(model, strategies) as attachment:
        attachment.which = torch.tensor([2, 0, 1])
        together = model(flat).logits
        attachment.which = torch.tensor([[1, 1, 0]])
        again = model(flat).logits
    for place, number in enumerate([2, 0, 1]):
        scores, _ = alone(model, strategies[number], flat)
        torch.testing.assert_close(together[:, place], scores[:, place], rtol=1e-4, atol=1e-4)
    for place, number in enumerate([1, 1, 0]):
        scores, _ = alone(model, strategies[number], flat)
        torch.testing.assert_close(again[:, place], scores[:, place], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_an_index_of_rows_expands_to_their_positions(model: Any) -> None:
    with dola.attach(model, THREE) as attachment:
        expected = model(IDS).logits
        attachment.which = torch.tensor([[2], [1], [0]])
        turned = model(IDS.flip(0)).logits
    torch.testing.assert_close(turned.flip(0), expected, rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_strategies_that_read_the_same_share_the_product(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    project = HeadProjection.__call__

    def counted(head: HeadProjection, states: Tensor) -> Tensor:
        rows.append(len(states))
        return project(head, states)

    monkeypatch.setattr(HeadProjection, "__call__", counted)
    same = [DoLa((0, 1, 3)), DoLa((0, 1, 3), divergence="js"), DoLa((0, 1, 3), alpha=0.5)]
    with dola.attach(model, same):
        model(IDS)
    assert rows == [4 * IDS.numel()]
    rows.clear()
    with dola.attach(model, THREE):
        model(IDS)
    assert sorted(rows) == [1 * 5, 2 * 5, 4 * 5]  # each its own positions, at its own exits
    rows.clear()
    with dola.attach(model, THREE) as attachment:
        attachment.which = torch.tensor([1])  # nobody has the others
        model(IDS)
    assert rows == [IDS.numel()]


@torch.no_grad()
def test_a_batch_that_the_strategies_do_not_fit_is_told_in_one_line(model: Any) -> None:
    with dola.attach(model, THREE) as attachment:
        for rows in (1, 2, 4):
            with pytest.raises(StrategyError, match=f"3 strategies for a batch of {rows} rows: expected one"):
                model(IDS[:1].expand(rows, -1))
        attachment.which = torch.tensor([0, 1])
        with pytest.raises(StrategyError, match=r"which has shape \[2\].*positions \[3, 5\]"):
            model(IDS)
        for wrong in ([0, 1, 3], [-1, 0, 1]):
            attachment.which = torch.tensor(wrong)[:, None]
            with pytest.raises(StrategyError, match="among 3 strategies"):
                model(IDS)
        attachment.which = torch.tensor([0.0, 1.0, 2.0])[:, None]
        with pytest.raises(StrategyError, match="whole numbers"):
            model(IDS)
        attachment.which = None
        model(IDS)
    with pytest.raises(StrategyError, match="no strategy given"):
        dola.attach(model, [])
    for strategy in ([3], 3, [None]):
        with pytest.raises(StrategyError, match=r"expected a strategy.*'high'"):
            dola.attach(model, strategy)
    assert not [name for name in vars(model) if "dola" in name]


def tensors_of(size: int) -> list[tuple[int, ...]]:
    """The shapes of all tensors that are alive and this large."""
    gc.collect()
    with torch.no_grad():
        return [
            tuple(each.shape)
            for each in gc.get_objects()
            if issubclass(type(each), Tensor) and each.numel() >= size
        ]


@pytest.mark.parametrize("strategies", [DoLa((0, 1, 3)), THREE[:1], THREE, [Vanilla()]], ids=str)
@torch.no_grad()
def test_no_scores_are_kept_after_a_pass(model: Any, strategies: Any) -> None:
    several = isinstance(strategies, list) and len(strategies) == 3
    ids = (torch.arange(100) % 90 + 3).expand(3 if several else 1, -1)
    before = tensors_of(100 * VOCABULARY)
    with dola.attach(model, strategies) as attachment:
        scores = model(ids, use_cache=False).logits
        assert scores.shape[1:] == (100, VOCABULARY)
        del scores
        assert tensors_of(100 * VOCABULARY) == before
        last = attachment.last
        assert not hasattr(last, "scores")
        assert last.premature is None or last.premature.shape == ids.shape
        kept = [*last.details.values(), *([] if last.premature is None else [last.premature])]
        assert all(each.untyped_storage().nbytes() <= 8 * 3 * ids.numel() for each in kept)
    assert attachment.last is None


@torch.no_grad()
def test_positions_that_nobody_reads_are_never_scored(model: Any) -> None:
    seen: list[tuple[int, ...]] = []
    with dola.attach(model, DoLa((0, 1, 3))) as attachment:
        model(IDS, logits_to_keep=1)
        seen.append(tuple(attachment.last.premature.shape))
        output = model.generate(IDS, attention_mask=torch.ones_like(IDS), **GREEDY)
        seen.append(tuple(attachment.last.premature.shape))
    assert seen == [(3, 1), (3, 1)]
    assert output.shape == (3, 11)
