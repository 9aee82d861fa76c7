"""The model's own head, a block of its weight's rows at a time, gives what one product in float64 gives."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dola.models import projection
from dola.models.parts import ModelParts, take_apart
from dola.models.projection import head_of, projection_of
from tiny_models import tiny_model

# No multiple of a block, as a vocabulary may well be.
VOCABULARY, WIDTH = 2500, 32
ROWS = [1, 2, 3, 64, 130]
TYPES = [torch.float32, torch.float16, torch.bfloat16]


def parts_of(dtype: torch.dtype, *, vocabulary: int = VOCABULARY, bias: bool = True) -> ModelParts:
    parts = take_apart(tiny_model("llama", vocab_size=vocabulary, dtype=dtype))
    if bias:
        parts.head.bias = nn.Parameter(3 * torch.randn(vocabulary).to(dtype))
    return parts


def exact(rows: Tensor, head: nn.Module) -> Tensor:
    logits = rows.double() @ head.weight.double().T
    return logits if head.bias is None else logits + head.bias.double()


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("count", ROWS)
def test_every_row_and_token_is_the_product_and_the_bias(
    count: int,
    dtype: torch.dtype,
    bias: bool,  # noqa: FBT001
) -> None:
    parts = parts_of(dtype, bias=bias)
    weight, rows = copy.deepcopy(parts.head.state_dict()), (9 * torch.randn(count, WIDTH)).to(dtype)
    before = rows.clone()
    found = projection_of(parts)(rows)
    assert found.shape == (count, VOCABULARY)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact(rows, parts.head), rtol=1e-5, atol=1e-3)
    assert torch.equal(rows, before)
    assert all(torch.equal(parts.head.state_dict()[name], each) for name, each in weight.items())


@torch.no_grad()
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("vocabulary", [96, 1023, 1024, 1025, 2048, 3071])
def test_a_vocabulary_may_end_anywhere_in_a_block(vocabulary: int, dtype: torch.dtype) -> None:
    parts = parts_of(dtype, vocabulary=vocabulary)
    rows = torch.randn(5, WIDTH).to(dtype)
    found = projection_of(parts)(rows)
    torch.testing.assert_close(found.double(), exact(rows, parts.head), rtol=1e-5, atol=1e-3)


class Widened(TorchFunctionMode):
    """How much of half precision is made float32, a piece at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        before = args[0].dtype if args and isinstance(args[0], Tensor) else torch.float32
        if before != torch.float32 and isinstance(made, Tensor) and made.dtype == torch.float32:
            self.sizes.append(made.numel())
        return made


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_weight_in_half_precision_is_made_float32_once_and_never_all_at_the_same_time(
    dtype: torch.dtype,
) -> None:
    parts = parts_of(dtype)
    rows = torch.randn(3, WIDTH)
    with Widened() as widened:
        projection_of(parts)(rows)
    assert sum(widened.sizes) == VOCABULARY * WIDTH
    assert max(widened.sizes) < VOCABULARY * WIDTH / 2


@torch.no_grad()
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_weighted_sum_of_states_is_not_rounded_to_the_weights_type(dtype: torch.dtype) -> None:
    parts = parts_of(dtype)
    rows = 300 * torch.randn(5, WIDTH)
    found = projection_of(parts)(rows)
    torch.testing.assert_close(found.double(), exact(rows, parts.head), rtol=1e-5, atol=1e-3)


@torch.no_grad()
def test_rows_of_another_type_than_a_float32_head_are_read_in_the_heads() -> None:
    parts = parts_of(torch.float32)
    rows = torch.randn(5, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(projection_of(parts)(rows), exact(rows, parts.head).float())


@torch.no_grad()
@pytest.mark.parametrize(("count", "blocks"), [(1, False), (2, True), (130, True)])
def test_several_rows_are_multiplied_by_blocks_and_one_is_not(
    count: int,
    blocks: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts, used = parts_of(torch.float32), []
    by_blocks = projection._linear_in_blocks
    monkeypatch.setattr(
        projection, "_linear_in_blocks", lambda *given: used.append(given) or by_blocks(*given)
    )
    projection_of(parts)(torch.randn(count, WIDTH))
    assert bool(used) == blocks


@torch.no_grad()
@pytest.mark.parametrize("register", ["register_forward_pre_hook", "register_forward_hook"])
def test_a_head_is_affine_until_something_is_hung_on_it(register: str) -> None:
    parts = parts_of(torch.float32)
    head = head_of(parts)
    assert head.affine()
    rows = torch.randn(3, WIDTH)
    plain = head.project(rows)
    handle = getattr(parts.head, register)(lambda *_: None)
    assert not head.affine()
    torch.testing.assert_close(head.project(rows), plain)
    handle.remove()
    assert head.affine()


def test_a_capped_a_replaced_and_a_strange_head_are_not_affine() -> None:
    assert not head_of(take_apart(tiny_model("gemma2"))).affine()
    model = tiny_model("llama")
    own = model.lm_head.forward
    model.lm_head.forward = own
    assert head_of(take_apart(model)).affine()
    model.lm_head.forward = lambda rows: own(rows)
    assert not head_of(take_apart(model)).affine()
    model = tiny_model("llama")
    model.lm_head.__class__ = type("Adapted", (nn.Linear,), {})
    assert not head_of(take_apart(model)).affine()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows_in", ["the weights' type", "float32"])
def test_a_product_that_is_told_its_outputs_type_loses_nothing_of_float32_rows(
    rows_in: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA, whose product of half precision can be had in float32."""
    product = torch.mm
    told: list[torch.dtype] = []

    def mm(left: Tensor, right: Tensor, *, out_dtype: torch.dtype) -> Tensor:
        assert left.dtype == right.dtype == dtype
        told.append(out_dtype)
        return product(left.to(out_dtype), right.to(out_dtype))

    monkeypatch.setattr(torch, "mm", mm)
    monkeypatch.setattr(projection, "_gives_float32", lambda weight: True)
    parts = parts_of(dtype)
    rows = torch.randn(5, WIDTH) if rows_in == "float32" else torch.randn(5, WIDTH).to(dtype)
    found = projection_of(parts)(rows)
    assert set(told) == {torch.float32}
    # Of float32 two parts in half precision hold 16 (bfloat16) or 22 bits.
    torch.testing.assert_close(found.double(), exact(rows, parts.head), rtol=1e-4, atol=1e-3)


def test_the_head_of_a_model_knows_its_vocabulary() -> None:
    assert head_of(parts_of(torch.float32)).vocab_size == VOCABULARY


@pytest.mark.parametrize(
    ("device", "cuda", "expected"),
    [("cuda", "12.8", True), ("cuda", None, False), ("cpu", "12.8", False), ("cpu", None, False)],
    ids=["CUDA", "ROCm", "a CPU beside CUDA", "a CPU"],
)
def test_a_product_is_told_its_outputs_type_on_cuda_alone(
    device: str,
    cuda: str | None,
    expected: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    # A torch that has such a product, and one that has not.
    for overload, found in ({"dtype": object()}, expected), ({}, False):
        monkeypatch.setattr(torch.ops, "aten", SimpleNamespace(mm=SimpleNamespace(**overload)))
        weight: Any = SimpleNamespace(device=torch.device(device))
        assert projection._gives_float32(weight) == found


@torch.no_grad()
@pytest.mark.parametrize("rows_in", [torch.bfloat16, torch.float32], ids=str)
def test_a_hooked_head_reads_in_its_own_type_whatever_it_is_given(rows_in: torch.dtype) -> None:
    parts = parts_of(torch.bfloat16)
    parts.head.register_forward_pre_hook(lambda *_: None)
    rows = torch.randn(3, WIDTH).to(rows_in)
    theirs = nn.functional.linear(rows.bfloat16(), parts.head.weight, parts.head.bias)
    found = projection_of(parts)(rows)
    assert found.dtype == torch.float32
    assert torch.equal(found, theirs.float())


@torch.no_grad()
@pytest.mark.parametrize("kind", ["of its own class", "with a forward of its own"])
def test_any_other_head_makes_its_own_product(kind: str) -> None:
    parts = parts_of(torch.float32)

    def doubled(rows: Tensor) -> Tensor:
        return 2 * nn.functional.linear(rows, parts.head.weight, parts.head.bias)

    if kind == "of its own class":
        forward = {"forward": lambda self, rows: doubled(rows)}
        parts.head.__class__ = type("Adapted", (nn.Linear,), forward)
    else:
        parts.head.forward = doubled
    rows = torch.randn(3, WIDTH)
    torch.testing.assert_close(projection_of(parts)(rows), doubled(rows))
