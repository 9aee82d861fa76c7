"""NaN and infinity: refused where they are read, left out where a candidate holds them, never passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import dola
from dola import (
    Contrast,
    DoLa,
    DoLaStatic,
    ExitLogits,
    LanguageModel,
    NumericsError,
    Read,
    ResolvedStrategy,
    Vanilla,
)
from dola.cli.explain import layers_table, trace_of
from dola.cli.main import dola as command
from dola.contrast import are_distributions, divergences, select_premature
from dola.hosts.transformers import attached as attached_to
from dola.hosts.transformers import watch
from dola.reports.remarks import notes_of
from dola.strategies import Depths
from tiny_language_model import tiny_language_model
from tiny_models import tiny_model

DATA = Path(__file__).parent / "data"
IDS = torch.tensor([[5, 17, 42, 9], [6, 18, 43, 10]])
INF, NAN = float("inf"), float("nan")
TEXT = "The sun is"
STRATEGIES = [Vanilla(), DoLaStatic(1), DoLa((0, 1, 2)), DoLa((0, 1), early_exit_norm=True)]
REMEDY = r"float16 overflows in this model; load it with dtype='bfloat16' or 'float32' \(--dtype bfloat16\)"


def overflowing(model_type: str = "llama", **changes: Any) -> LanguageModel:
    """Its last block's output is beyond float16, which its weights and earlier states are not."""
    lm = tiny_language_model(model_type, **changes)
    with torch.no_grad():
        lm.model.model.layers[-1].mlp.up_proj.weight.mul_(3e3)
        lm.model.model.layers[-1].mlp.down_proj.weight.mul_(3e3)
    lm.model.half()
    assert all(weight.isfinite().all() for weight in lm.model.parameters())
    return lm


@contextmanager
def spoilt(model: Any, layer: int, value: float) -> Iterator[None]:
    """The hidden state of one layer holds `value` at its first place, and no later one knows of it."""
    block = model.model.layers[layer]

    def spoil(_block: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        hidden = args[0].clone()
        hidden[..., 0] = value
        return (hidden, *args[1:]), kwargs

    def heal(_block: nn.Module, args: tuple[Tensor, ...], output: Any) -> Any:
        hidden = output if isinstance(output, Tensor) else output[0]
        healed = hidden.nan_to_num(0.0, 0.0, 0.0)
        return healed if isinstance(output, Tensor) else (healed, *output[1:])

    hooks = [block.register_forward_pre_hook(spoil, with_kwargs=True), block.register_forward_hook(heal)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def attached(lm: LanguageModel, strategy: dola.Strategy) -> Any:
    with torch.no_grad(), dola.attach(lm.model, strategy):
        return lm.model(**lm.tokenizer(TEXT, return_tensors="pt")).logits


WAYS: dict[str, Callable[[LanguageModel, dola.Strategy], Any]] = {
    "attach": attached,
    "generate": lambda lm, strategy: lm.generate(TEXT, strategy, max_new_tokens=3),
    "generate a batch": lambda lm, strategy: lm.generate(
        [TEXT, "A longer prompt"], strategy, max_new_tokens=3
    ),
    "beams": lambda lm, strategy: lm.generate(TEXT, strategy, max_new_tokens=3, num_beams=2),
    "prompt lookup": lambda lm, strategy: lm.generate(
        "aa aa aa", strategy, max_new_tokens=3, prompt_lookup_num_tokens=2
    ),
    "iter_generate": lambda lm, strategy: list(
        lm.iter_generate(["Q: one more? A:", "Q: one more time? A:"], strategy, max_new_tokens=3)
    ),
    "loglikelihood": lambda lm, strategy: lm.loglikelihood([(TEXT, [" hot", " not"])], [strategy]),
    "loglikelihood, several": lambda lm, strategy: lm.loglikelihood(
        [(TEXT, [" hot", " not"])], [DoLa((0, 1, 3)), strategy, DoLaStatic(3)]
    ),
    "trace": lambda lm, strategy: lm.trace(TEXT, strategy),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_state_that_overflows_is_refused_with_layer_dtype_and_remedy(
    strategy: dola.Strategy, way: str
) -> None:
    with pytest.raises(NumericsError, match=rf"state of layer 4 \(the last\) of LlamaForCausalLM.*{REMEDY}"):
        WAYS[way](overflowing(), strategy)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strategy", STRATEGIES[:3], ids=str)
def test_an_infinite_logit_is_refused_although_the_model_caps_it(strategy: dola.Strategy, way: str) -> None:
    lm = tiny_language_model("gemma2", tie_word_embeddings=False).model
    lm.lm_head.weight.data[7] = 6e4
    lm.half()
    # Of another class: such a head gives its logits in its own type, and there they overflow.
    lm.lm_head.__class__ = type("Adapted", (nn.Linear,), {})
    adapted = LanguageModel(lm, tiny_language_model().tokenizer)
    with torch.no_grad():
        assert adapted.model(IDS).logits.isfinite().all()
    with pytest.raises(NumericsError, match=rf"logits of layer.*whose hidden state is finite.*{REMEDY}"):
        WAYS[way](adapted, strategy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", ["attach", "generate", "loglikelihood", "trace"])
def test_damaged_weights_are_named_and_no_other_dtype_is_advised(way: str, dtype: torch.dtype) -> None:
    lm = tiny_language_model(dtype=dtype)
    lm.model.model.layers[2].mlp.up_proj.weight.data[3, 3] = NAN
    for strategy in (Vanilla(), DoLa((0, 1))):
        with pytest.raises(NumericsError) as caught:
            WAYS[way](lm, strategy)
        assert "model.layers.2.mlp.up_proj.weight itself holds NaN or infinity" in str(caught.value)
        assert "--dtype" not in str(caught.value)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("model_type", ["llama", "gemma2"])  # which caps
@pytest.mark.parametrize("divergence", ["released", "js"])
def test_a_candidate_that_is_no_number_is_left_out_and_counted(
    divergence: Any, model_type: str, value: float
) -> None:
    lm = tiny_language_model(model_type)
    every = DoLa((0, 1, 2, 3), divergence=divergence)
    others = replace(every, candidate_premature_layers=(0, 2, 3))
    with spoilt(lm.model, 1, value):
        with torch.no_grad(), dola.attach(lm.model, every) as attachment:
            found = lm.model(IDS).logits
            contrast = attachment.last
        with torch.no_grad(), dola.attach(lm.model, others) as attachment:
            expected = lm.model(IDS).logits
            without = attachment.last
        assert torch.equal(found, expected)
        assert torch.equal(contrast.premature, without.premature)
        assert contrast.left_out.eq(1).all()
        assert contrast.details["divergence"][1].isnan().all()
        assert without.left_out.eq(0).all()

        (generation,) = lm.generate(TEXT, every, max_new_tokens=4)
        (again,) = lm.generate(TEXT, others, max_new_tokens=4)
        assert generation == replace(again, left_out=len(again.token_ids))
        beams = lm.generate(TEXT, every, max_new_tokens=4, num_beams=2)[0]
        assert beams.left_out == len(beams.token_ids)

        requests = [(TEXT, [" hot", " cold"])]
        ((ours, theirs),) = (each.by_strategy for each in lm.loglikelihood(requests, [every, others]))
        assert ours == tuple(replace(each, left_out=each.tokens) for each in theirs)

        for token in lm.trace(TEXT, every).tokens:
            assert [layer for layer, each in token.divergence.items() if each != each] == [1]
            assert token.top[1] == ()
            assert len(token.top[0]) == 5


@dataclass(frozen=True)
class Mean(dola.Strategy):
    """A strategy of somebody who has not heard of what is no number."""

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        reads = Read.at(1), Read.at(4)

        def contrast(tile: ExitLogits) -> Contrast:
            return Contrast(tile.stacked(reads).nan_to_num().mean(0))

        return ResolvedStrategy(self, reads, contrast, normalised=False)


@pytest.mark.parametrize("way", ["attach", "generate", "loglikelihood", "trace"])
@pytest.mark.parametrize("strategy", [DoLaStatic(1), DoLa((1,)), Mean()], ids=["static", "one", "mean"])
def test_where_no_candidate_is_left_the_layers_are_named(strategy: dola.Strategy, way: str) -> None:
    lm = tiny_language_model()
    with spoilt(lm.model, 1, INF), pytest.raises(NumericsError, match="hidden state of layer 1 of Llama"):
        WAYS[way](lm, strategy)
    with spoilt(lm.model, 1, NAN), spoilt(lm.model, 2, NAN):
        if way == "attach":
            with pytest.raises(NumericsError, match="of layers 1 and 2 of LlamaForCausalLM at 10 of 10"):
                WAYS[way](lm, DoLa((1, 2)))
        WAYS[way](lm, DoLa((1, 2, 3)))
        WAYS[way](lm, Vanilla())


def test_a_candidate_that_is_left_out_is_not_blamed_for_another_layer() -> None:
    lm = tiny_language_model()
    with spoilt(lm.model, 1, NAN):
        lm.model.model.norm.register_forward_hook(lambda _norm, _args, hidden: hidden * NAN)
        for way in ("attach", "generate", "loglikelihood", "trace"):
            with pytest.raises(NumericsError, match=r"state of layer 4 \(the last\) of"):
                WAYS[way](lm, DoLa((0, 1, 2)))


class Masked(nn.Linear):
    """A head that rules tokens out by itself."""

    ruled_out = slice(3, 90)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        logits = super().forward(input)
        logits[..., self.ruled_out] = -INF
        return logits


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strategy", STRATEGIES[:3], ids=str)
def test_tokens_at_minus_infinity_are_no_fault_unless_all_are(strategy: dola.Strategy, way: str) -> None:
    lm = tiny_language_model()
    lm.model.lm_head.__class__ = Masked
    WAYS[way](lm, strategy)
    lm.model.lm_head.ruled_out = slice(None)
    with pytest.raises(NumericsError, match="nothing but -inf in the logits of layer"):
        WAYS[way](lm, strategy)


@pytest.mark.parametrize("way", ["generate", "beams", "prompt lookup"])
def test_a_masking_hook_on_the_hosts_own_head_is_no_fault(way: str) -> None:
    lm = tiny_language_model()

    def mask(_head: nn.Module, _args: Any, logits: Tensor) -> Tensor:
        return logits.index_fill(-1, torch.arange(5, 200), -INF)

    lm.model.lm_head.register_forward_hook(mask)
    WAYS[way](lm, Vanilla())


@contextmanager
def spoilt_padding(model: Any, mask: Tensor) -> Iterator[None]:
    """The final states of the positions that the mask leaves out are NaN."""
    hook = model.model.norm.register_forward_hook(
        lambda _norm, _args, hidden: hidden.masked_fill((mask == 0)[..., None], NAN)
    )
    yield
    hook.remove()


@pytest.mark.parametrize("strategy", STRATEGIES[:3], ids=str)
@pytest.mark.parametrize("mask", [[[0, 0, 1, 1], [1, 1, 1, 1]], [[1, 1, 1, 0], [1, 1, 1, 1]]])
def test_padding_does_not_count(mask: list[list[int]], strategy: dola.Strategy) -> None:
    model, rows = tiny_model("llama"), torch.tensor(mask)
    with torch.no_grad(), spoilt_padding(model, rows), dola.attach(model, strategy):
        model(IDS, attention_mask=rows)
        model(IDS, attention_mask=rows, logits_to_keep=3)
        model(IDS, attention_mask=rows, logits_to_keep=torch.tensor([0, 3, 2]))
        model(IDS, rows)
        with pytest.raises(NumericsError, match="positions"):
            model(IDS, attention_mask=torch.ones_like(rows))


@pytest.mark.parametrize("cache", [None, "static"])
def test_padding_does_not_count_in_the_hosts_generation(cache: str | None) -> None:
    model, mask = tiny_model("llama"), torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])

    def spoil(_norm: nn.Module, _args: Any, hidden: Tensor) -> Tensor:
        return hidden.masked_fill((mask == 0)[..., None], NAN) if hidden.shape[1] == 4 else hidden

    model.model.norm.register_forward_hook(spoil)
    settings = {} if cache is None else {"cache_implementation": cache, "disable_compile": True}
    with dola.attach(model, DoLa((0, 1))):
        model.generate(
            IDS, attention_mask=mask, max_new_tokens=3, do_sample=False, pad_token_id=0, **settings
        )


def fail_after_a_pass(lm: LanguageModel) -> None:
    with torch.no_grad():
        lm.model(IDS)
    raise dola.StrategyError("another error")


@pytest.mark.parametrize("strategy", STRATEGIES[:3], ids=str)
def test_where_the_device_does_not_answer_at_once_a_fault_is_read_a_pass_later(
    strategy: dola.Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_answers_at_once", lambda flags: False)
    lm = overflowing()
    with torch.no_grad(), dola.attach(lm.model, Vanilla()) as attachment:
        lm.model(IDS)
        with pytest.raises(NumericsError, match="at 8 of 8 positions"):
            lm.model(IDS)
        attachment.detach()
    for tokens in (1, 3):
        with pytest.raises(NumericsError, match=REMEDY):
            lm.generate(TEXT, strategy, max_new_tokens=tokens)
    assert attached_to(lm.model) is None
    # A fault that is not read yet hides no other error.
    with pytest.raises(dola.StrategyError, match="another error"), dola.attach(lm.model, strategy):
        fail_after_a_pass(lm)


@pytest.mark.slow
def test_in_a_compiled_graph_it_is_counted_and_read_after_it() -> None:
    torch.compiler.reset()
    model = tiny_model("llama")
    good = model.model.norm.weight.detach().clone()
    with torch.no_grad():
        attachment = dola.attach(model, DoLa((0, 1)))
        compiled = torch.compile(model.__call__, backend="eager", fullgraph=True)
        compiled(IDS)
        model(IDS)  # nothing was wrong
        model.model.norm.weight.fill_(NAN)
        compiled(IDS)
        model.model.norm.weight.copy_(good)
        compiled(IDS)  # a fault is not forgotten over a pass without one
        with pytest.raises(NumericsError, match=r"layer 4 \(the last\).* at 8 of 16 positions"):
            model(IDS)
        model(IDS)
        model.model.norm.weight.fill_(NAN)
        compiled(IDS)
        with pytest.raises(NumericsError, match=r"layer 4 \(the last\).* at 8 of 8 positions"):
            attachment.detach()
        assert not vars(model.lm_head).get("forward")
    torch.compiler.reset()


@pytest.mark.parametrize("spoil", [NAN, INF, -INF])
@pytest.mark.parametrize("kind", ["released", "js"])
def test_the_divergence_of_what_is_no_distribution_is_nan_and_never_chosen(kind: Any, spoil: float) -> None:
    mature, candidates = torch.randn(3, 50), torch.randn(4, 3, 50)
    candidates[1, 0, 7] = spoil
    candidates[2, 1] = spoil
    candidates[:, 2] = NAN
    found = divergences(kind, mature, candidates)
    expected = ~are_distributions(candidates)
    assert torch.equal(found.isnan(), expected)
    assert expected[1, 0] == (spoil != -INF)
    assert expected[2, 1]
    chosen = select_premature(found)
    for row in (0, 1):
        left = [k for k in range(4) if not expected[k, row]]
        assert chosen[row] == left[int(select_premature(found[left])[row])]
    mature[0] = spoil
    assert divergences(kind, mature, candidates)[:, 0].isnan().all()


def test_ties_go_to_the_first_candidate_that_is_left() -> None:
    divergence = torch.tensor([[NAN, NAN, 0.0], [2.0, NAN, NAN], [2.0, 0.0, 0.0], [NAN, 0.0, NAN]])
    assert select_premature(divergence).tolist() == [1, 2, 0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that works in float32, and overflows in float16."""
    lm, path = overflowing(max_position_embeddings=4096), tmp_path_factory.mktemp("overflows")
    lm.model.float().save_pretrained(path)
    lm.tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("layers", ["-1", "high"])
@pytest.mark.parametrize("what", ["generate", "eval tfqa-mc", "eval gsm8k"])
def test_the_command_line_says_it_in_one_line_and_exits_with_2(
    what: str, layers: str, folder: str, tmp_path: Path
) -> None:
    data = {"generate": ["Hello"], "eval tfqa-mc": [], "eval gsm8k": []}[what]
    if what != "generate":
        source = {"eval tfqa-mc": "truthfulqa", "eval gsm8k": "gsm8k"}[what]
        data = ["--data-path", str(DATA / source), "--prompts", str(DATA / "prompts")]
        data += ["--output-path", str(tmp_path / "o.json"), "--limit", "1"]
    arguments = [*what.split(), *data, "--model-name", folder, "--device", "cpu", "--dtype", "float16"]
    result = CliRunner().invoke(command, [*arguments, f"--early-exit-layers={layers}"], prog_name="dola")
    assert result.exit_code == 2, result.output
    said = [line for line in result.stderr.splitlines() if line.startswith("dola: ")]
    assert len(said) == 1
    assert "float16 overflows in this model; load it with dtype='bfloat16'" in said[0]
    assert "Traceback" not in result.output


def test_a_result_says_how_many_candidates_were_left_out() -> None:
    from rich.console import Console

    from dola.result import Result, Rows, Settings

    line = "1,204 candidate exits held NaN or infinity and were left out of the choice."
    counts = {"examples": 2, "prompt_not_prefix": 0, "truncated": 0, "answers": 4}
    settings = Settings("a task", "a model", "data", 2, "released", 42)
    result = Result("scoring", {"task": "tfqa-mc"}, {}, settings, (), (), counts, (), Rows(), (), ())
    assert line not in notes_of(result)
    assert line in notes_of(replace(result, counts={**counts, "left_out": 1204}))

    lm = tiny_language_model()
    strategy = DoLa((0, 1, 2))
    with spoilt(lm.model, 1, NAN):
        (generation,) = lm.generate(TEXT, strategy, max_new_tokens=3)
        tokens = trace_of(lm, generation, strategy)
    console = Console(width=100)
    with console.capture() as shown:
        console.print(layers_table(tokens, console))
    assert "3 candidate exits held NaN or infinity and were left out of the choice." in shown.get()


@pytest.mark.slow
@pytest.mark.weights
def test_gemma_in_float16_is_refused() -> None:
    lm = dola.load("gemma3-270m", dtype="float16", device="cpu")
    for strategy in (Vanilla(), DoLa("high")):
        for way in ("generate", "loglikelihood", "trace"):
            with pytest.raises(NumericsError, match=rf"layer 18 \(the last\) of Gemma3ForCausalLM.*{REMEDY}"):
                WAYS[way](lm, strategy)
