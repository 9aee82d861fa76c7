"""Whatever is done to a live model, DoLa's scores are those of the head that it has now, or it says so.

The yardstick: the exits' states as the host itself returns them, each through the model's own head module as
it is, hooks and adapters included, in the host's shape, and the strategy on what comes out.
"""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from accelerate.hooks import remove_hook_from_submodules
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

import dola
from contrasting import contrast_of, resolved
from dola import DoLa, ModelError, Strategy, StrategyError, Vanilla
from dola.hosts.transformers import attached
from dola.models.capabilities import Capabilities
from tiny_models import tiny_model

IDS = torch.tensor([[5, 17, 3, 42, 88, 17, 60], [9, 2, 71, 33, 4, 8, 15]])
STRATEGY = DoLa((0, 1, 3), early_exit_norm=True)


def head_output(model: PreTrainedModel, logits: Tensor) -> Tensor:
    logits = logits.float()
    cap = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


@torch.no_grad()
def by_definition(model: PreTrainedModel, strategy: Strategy = STRATEGY) -> Tensor:
    """Scores `[B, T, V]` of a model on which nothing of ours is."""
    own = resolved(strategy, model.config.num_hidden_layers)
    hidden = model.model(IDS, output_hidden_states=True).hidden_states
    exits = [read.exits[0] for read in own.reads]
    states = [model.model.norm(hidden[each.layer]) if each.norm else hidden[each.layer] for each in exits]
    head = model.get_output_embeddings()
    return contrast_of(own, torch.stack([head_output(model, head(state)) for state in states])).scores


def assert_scores(found: Tensor, model: PreTrainedModel, strategy: Strategy = STRATEGY) -> None:
    """And the model, which nothing is attached to any more, does not give them by itself."""
    torch.testing.assert_close(found, by_definition(model, strategy), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(found, model(IDS).logits.float(), atol=1e-2)


def grown(model: nn.Module) -> nn.Module:
    """Adapters are born without effect."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora" in name or "modules_to_save" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape))
    return model.eval()


def untied() -> PreTrainedModel:
    return tiny_model("llama", tie_word_embeddings=False)


ON_THE_HEAD = LoraConfig(target_modules=["lm_head"], r=4)
OF_THE_HEAD = LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"], r=4)


def resize(model: PreTrainedModel) -> None:
    model.resize_token_embeddings(104, mean_resizing=False)


def replace(model: PreTrainedModel) -> None:
    torch.manual_seed(1)
    model.set_output_embeddings(nn.Linear(32, 96))


def adapt(model: PreTrainedModel) -> None:
    grown(get_peft_model(model, ON_THE_HEAD))


def save_as_module(model: PreTrainedModel) -> None:
    grown(get_peft_model(model, OF_THE_HEAD))


def merge(model: PreTrainedModel) -> None:
    grown(get_peft_model(model, ON_THE_HEAD)).merge_and_unload()


class Int8(Tensor):
    """A weight as torchao keeps it: it says that it is of a floating type, and only `linear` can read it."""

    @staticmethod
    def __new__(cls, weight: Tensor) -> Int8:
        made: Int8 = Tensor._make_wrapper_subclass(cls, weight.shape, dtype=weight.dtype)
        return made

    def __init__(self, weight: Tensor) -> None:
        self.scale = weight.abs().amax(1, keepdim=True) / 127
        self.whole = (weight / self.scale).round().to(torch.int8)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is nn.functional.linear:
            states, weight, *bias = args
            return nn.functional.linear(states, weight.whole * weight.scale, *bias)
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.detach.default:
            return args[0]
        raise NotImplementedError(f"{function} of a quantised weight")


def quantise(model: PreTrainedModel) -> None:
    weight = model.lm_head.weight.detach()
    model.lm_head.weight = nn.Parameter(Int8(weight), requires_grad=False)


def steer(model: PreTrainedModel) -> None:
    torch.manual_seed(2)
    added = torch.randn(32)
    model.lm_head.register_forward_pre_hook(lambda _head, args: (args[0] + added,))


def mask(model: PreTrainedModel) -> None:
    def each_row_its_own(_head: nn.Module, _args: Any, logits: Tensor) -> Tensor:
        rows, _, vocabulary = logits.shape  # the host's shape, and no other
        return logits.masked_fill(
            (torch.arange(vocabulary) % rows == torch.arange(rows)[:, None])[:, None], -9
        )

    model.lm_head.register_forward_hook(each_row_its_own)


def wrap(model: PreTrainedModel) -> None:
    forward = model.lm_head.forward
    model.lm_head.forward = lambda states: forward(states) + states.mean((1, 2), keepdim=True)


def another_norm(model: PreTrainedModel) -> None:
    norm = copy.deepcopy(model.model.norm)
    norm.weight.data.mul_(torch.linspace(0.5, 2, 32))
    model.model.norm = norm


def in_bfloat16(model: PreTrainedModel) -> None:
    model.bfloat16()


EVENTS = [resize, replace, adapt, save_as_module, merge, quantise, steer, mask, wrap, another_norm]
AFTER = pytest.mark.parametrize("happens", EVENTS, ids=lambda event: event.__name__)
WHEN = pytest.mark.parametrize("when", ["before", "while attached", "between passes"])


@WHEN
@AFTER
@torch.no_grad()
def test_the_contrast_goes_through_the_head_that_the_model_has(
    happens: Callable[[PreTrainedModel], None], when: str
) -> None:
    model = untied()
    if when == "before":
        happens(model)
    with dola.attach(model, STRATEGY):
        if when == "between passes":
            model(IDS)
        if when != "before":
            happens(model)
        found = model(IDS).logits
    assert_scores(found, model)


@AFTER
@torch.no_grad()
def test_vanilla_is_the_model_to_the_bit_whatever_is_done_to_it(
    happens: Callable[[PreTrainedModel], None],
) -> None:
    ours, theirs = untied(), untied()
    with dola.attach(ours, Vanilla()):
        for model in (ours, theirs):
            torch.manual_seed(3)
            happens(model)
        found = ours(IDS)
        assert torch.equal(found.logits, theirs(IDS).logits)
        if happens is not quantise:
            assert torch.equal(ours(IDS, labels=IDS).loss, theirs(IDS, labels=IDS).loss)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("model_type", ["llama", "gemma2", "granite", "cohere", "phi"])
def test_vanilla_is_the_model_to_the_bit_in_every_type(model_type: str, dtype: torch.dtype) -> None:
    model = tiny_model(model_type, dtype=dtype)
    theirs = model(IDS).logits
    with dola.attach(model, Vanilla()):
        found = model(IDS).logits
    assert found.dtype == theirs.dtype
    assert torch.equal(found, theirs)


class OfPeftUpTo020(nn.Module):
    """As its `BaseTuner`: it calls the model's `forward`, and so none of its hooks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model.forward(*args, **kwargs)


CALLS: dict[str, Callable[[PreTrainedModel], Callable[[], Any]]] = {
    "the model": lambda model: lambda: model(IDS).logits,
    "its forward": lambda model: lambda: model.forward(IDS).logits,
    "a wrapper that calls its forward": lambda model: lambda: OfPeftUpTo020(model)(input_ids=IDS).logits,
    "compiled": lambda model: lambda: torch.compile(model, backend="eager")(IDS).logits,
    "as a tuple": lambda model: lambda: model(IDS, return_dict=False)[0],
    "without asking for an output by name": lambda model: lambda: model.forward(IDS, return_dict=False)[0],
}


@pytest.mark.parametrize("call", CALLS)
@torch.no_grad()
def test_however_the_model_is_called_it_gives_the_same_scores(call: str) -> None:
    model = untied()
    with dola.attach(model, STRATEGY):
        found = CALLS[call](model)()
    assert_scores(found, model)


@torch.no_grad()
def test_arguments_are_known_by_place_too() -> None:
    model, mask = untied(), torch.tensor([[1] * 7, [0, 0, *[1] * 5]])
    with dola.attach(model, STRATEGY):
        by_name = model(input_ids=IDS, attention_mask=mask).logits
        assert torch.equal(model(IDS, mask).logits, by_name)
        with pytest.raises(StrategyError, match="no loss"):
            model(IDS, mask, None, None, None, IDS)


@torch.no_grad()
def test_a_model_inside_a_wrapper_is_found() -> None:
    model = untied()
    expected = by_definition(model)
    adapted = get_peft_model(untied(), LoraConfig(target_modules=["q_proj"], r=4)).eval()
    for wrapper in (torch.compile(model, backend="eager"), adapted, torch.compile(adapted, backend="eager")):
        with dola.attach(wrapper, STRATEGY) as attachment:
            assert attached(wrapper) is attachment
            torch.testing.assert_close(wrapper(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)
        assert attached(wrapper) is None


@torch.no_grad()
def test_learned_prompts_are_read_like_any_text() -> None:
    wrapped = get_peft_model(untied(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()
    embedded = torch.cat([wrapped.get_prompt(2), wrapped.get_base_model().get_input_embeddings()(IDS)], 1)
    with dola.attach(wrapped, STRATEGY):
        found = wrapped(input_ids=IDS).logits
        expected = wrapped.get_base_model()(inputs_embeds=embedded).logits
    torch.testing.assert_close(found[:, -7:], expected[:, -7:], rtol=1e-4, atol=1e-4)


def test_what_is_no_language_model_is_refused_by_its_own_name() -> None:
    with pytest.raises(ModelError, match="found Linear"):
        dola.attach(nn.Linear(2, 2), STRATEGY)
    with pytest.raises(ModelError, match="found DataParallel"):
        dola.attach(nn.DataParallel(nn.Linear(2, 2)), STRATEGY)


KEPT = {
    "all": 0,
    "the last": 1,
    "by index": torch.tensor([6, 2]),
    "each row its own": torch.tensor([[6, 2, 1], [0, 3, 5]]),
    "by a mask": torch.tensor([[0, 1, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0]]).bool(),
}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("strategy", [STRATEGY, Vanilla()], ids=str)
@torch.no_grad()
def test_the_positions_that_are_kept_are_the_hosts(strategy: Strategy, kept: str) -> None:
    model = untied()
    mask = torch.tensor([[1] * 7, [0, 0, *[1] * 5]])
    keep = KEPT[kept]
    with dola.attach(model, strategy):
        whole = model(IDS, attention_mask=mask).logits
        found = model(IDS, attention_mask=mask, logits_to_keep=keep).logits
    theirs = model(IDS, attention_mask=mask, logits_to_keep=keep).logits
    picked = {
        "all": whole,
        "the last": whole[:, -1:],
        "by index": whole[:, [6, 2]],
        "each row its own": torch.stack([whole[0, [6, 2, 1]], whole[1, [0, 3, 5]]]),
        "by a mask": torch.stack([whole[0, 1], whole[0, 2], whole[0, 5], whole[1, 0]]),
    }[kept]
    assert found.shape == theirs.shape
    torch.testing.assert_close(found, picked, rtol=1e-5, atol=1e-5)


def ban(_model: nn.Module, _args: Any, output: Any) -> Any:
    output.logits = output.logits.masked_fill(torch.arange(96) >= 48, -torch.inf)
    return output


@pytest.mark.parametrize("strategy", [STRATEGY, Vanilla()], ids=str)
@pytest.mark.parametrize("model_type", ["llama", "gemma2"])
@torch.no_grad()
def test_what_others_do_to_the_models_output_is_done_to_the_scores(
    model_type: str, strategy: Strategy
) -> None:
    model = tiny_model(model_type)
    with dola.attach(model, strategy):
        plain = model(IDS).logits
    seen: list[Tensor] = []
    for before in (True, False):
        handle = model.register_forward_hook(ban) if before else None
        with dola.attach(model, strategy):
            after = handle or model.register_forward_hook(ban)
            reader = model.register_forward_hook(lambda _m, _a, output: seen.append(output.logits))
            found = model(IDS).logits
            reader.remove()
        after.remove()
        assert torch.equal(found[..., :48], plain[..., :48])
        assert bool((found[..., 48:] == -torch.inf).all())
        assert seen.pop() is found


@torch.no_grad()
def test_what_another_sets_for_the_pass_is_heard() -> None:
    model = untied()
    with dola.attach(model, STRATEGY):
        handle = model.register_forward_pre_hook(
            lambda _model, args, kwargs: (args, {**kwargs, "logits_to_keep": 2}), with_kwargs=True
        )
        found = model(IDS).logits
        handle.remove()
    torch.testing.assert_close(found, by_definition(model)[:, -2:], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_forward_that_another_put_there_before_has_the_last_word_or_is_refused() -> None:
    for model_type in ("llama", "gemma2"):
        model = tiny_model(model_type)
        with dola.attach(model, STRATEGY):
            plain = model(IDS).logits
        forward = model.forward
        model.forward = lambda *args, forward=forward, **kwargs: forward(*args, **kwargs)
        with dola.attach(model, STRATEGY):
            assert torch.equal(model(IDS).logits, plain)  # it changes nothing
        model.forward = lambda *args, forward=forward, **kwargs: ban(None, None, forward(*args, **kwargs))
        with dola.attach(model, STRATEGY):
            if model_type == "llama":
                assert torch.equal(model(IDS).logits, plain.masked_fill(torch.arange(96) >= 48, -torch.inf))
            else:  # it has seen scores that the model capped after us
                with pytest.raises(ModelError, match="was replaced before the strategy was attached"):
                    model(IDS)


@torch.no_grad()
def test_a_cap_that_is_switched_off_is_off() -> None:
    model = tiny_model("gemma2", final_logit_softcapping=2.0)
    with dola.attach(model, STRATEGY):
        capped = model(IDS).logits
        model.config.final_logit_softcapping = None
        found = model(IDS).logits
    assert_scores(found, model)
    assert not torch.allclose(found, capped, atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("model_type", ["llama", "gemma2"])
def test_an_output_that_is_a_mapping_has_the_scores(model_type: str) -> None:
    model = tiny_model(model_type)
    with dola.attach(model, STRATEGY):
        expected = model(IDS).logits
    forward = model.forward
    model.forward = lambda *args, **kwargs: dict(forward(*args, **kwargs))
    with dola.attach(model, STRATEGY):
        assert torch.equal(model(IDS)["logits"], expected)


@torch.no_grad()
def test_the_experts_balance_before_the_logits_of_a_tuple_stays_what_it_is() -> None:
    model = tiny_model("mixtral")
    router = {"output_router_logits": True, "return_dict": False}
    theirs = model(IDS, **router)
    with dola.attach(model, STRATEGY):
        expected = model(IDS).logits
        found = model(IDS, **router)
    assert torch.equal(found[0], theirs[0])
    assert torch.equal(found[1], expected)
    assert len(found) == len(theirs)


@torch.no_grad()
@pytest.mark.parametrize("through", ["deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize("strategy", [STRATEGY, Vanilla(), [STRATEGY, Vanilla()]], ids=str)
def test_a_copy_is_attached_to_itself(strategy: Any, through: str) -> None:
    model = untied()
    with dola.attach(model, strategy):
        expected = model(IDS).logits
        twin = copied(model, through)
        model.lm_head.weight.mul_(0)
        assert torch.equal(twin(IDS).logits, expected)
    assert torch.equal(twin(IDS).logits, expected)
    attachment = attached(twin)
    assert attachment is not None
    assert attachment.model is twin
    attachment.detach()
    assert torch.equal(twin(IDS).logits, untied()(IDS).logits)
    assert not [module for module in twin.modules() if "forward" in vars(module)]


def copied(model: PreTrainedModel, through: str) -> PreTrainedModel:
    if through == "deepcopy":
        return copy.deepcopy(model)
    if through == "pickle":
        found: PreTrainedModel = pickle.loads(pickle.dumps(model))
        return found
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: PreTrainedModel = torch.load(file, weights_only=False)
    return loaded


def test_detach_takes_off_nothing_that_came_after_it() -> None:
    model = untied()
    attachment = dola.attach(model, STRATEGY)
    ours, theirs = model.forward, []
    model.forward = lambda *args, **kwargs: theirs.append(1) or ours(*args, **kwargs)
    head = model.lm_head.forward
    model.lm_head.forward = lambda states: theirs.append(2) or head(states)
    block = model.model.layers[0]
    block.forward = lambda *args, forward=block.forward, **kwargs: (
        theirs.append(3) or forward(*args, **kwargs)
    )
    attachment.detach()
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, untied()(IDS).logits)
    assert theirs == [1, 3, 2]
    with torch.no_grad(), dola.attach(model, STRATEGY):
        found = model(IDS).logits
    torch.testing.assert_close(found, by_definition(untied()), rtol=1e-4, atol=1e-4)


def changes(model: PreTrainedModel) -> dict[str, Any]:
    """What there is on a model's modules beside their own: replaced methods, hooks, anything set on them."""
    return {
        name: (list(vars(module)), [*module._forward_hooks], [*module._forward_pre_hooks])
        for name, module in model.named_modules()
    }


PLACES = ["model", "model.embed_tokens", "model.layers.0", "model.layers.3.mlp", "model.norm", "lm_head", ""]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("place", PLACES)
def test_a_failure_at_any_moment_leaves_the_model_as_it_was(place: str, *, before: bool) -> None:
    model = untied()

    def fail(*_: Any) -> None:
        raise KeyError(place)

    module = model.get_submodule(place)
    expected, untouched = by_definition(untied()), changes(model)
    with dola.attach(model, STRATEGY), torch.no_grad():
        model(IDS)
        as_it_was = changes(model)
        handle = (module.register_forward_pre_hook if before else module.register_forward_hook)(fail)
        for call in (lambda: model(IDS), lambda: model.generate(IDS, max_new_tokens=2, pad_token_id=0)):
            with pytest.raises(KeyError):
                call()
        handle.remove()
        assert changes(model) == as_it_was
        torch.testing.assert_close(model(IDS).logits, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(model(IDS).logits, untied()(IDS).logits)
    assert changes(model) == untouched


def test_a_draft_by_a_model_cut_short_is_refused_before_it_is_cut() -> None:
    model = untied()
    settings = {"max_new_tokens": 4, "pad_token_id": 0, "do_sample": False, "assistant_early_exit": 2}
    with dola.attach(model, STRATEGY), pytest.raises(StrategyError, match="assistant_early_exit"):
        model.generate(IDS[:1], **settings)
    assert model.config.num_hidden_layers == 4
    with dola.attach(model, Vanilla()):
        drafted = model.generate(IDS[:1], **settings)
    assert torch.equal(drafted, model.generate(IDS[:1], **settings))


@torch.no_grad()
def test_a_pass_that_leaves_out_the_head_is_told() -> None:
    model = untied()
    with dola.attach(model, STRATEGY):
        model.lm_head = nn.Linear(32, 96)
        model.set_output_embeddings(model.lm_head)
        other = nn.Linear(32, 96)
        vars(model)["get_output_embeddings"] = lambda: other  # not what its forward calls
        with pytest.raises(ModelError, match="without calling its language-model head"):
            model(IDS)


@torch.no_grad()
def test_a_forward_that_another_has_put_back_is_told() -> None:
    model = untied()
    dispatch_model(model, {"": "cpu"}, force_hooks=True)
    with dola.attach(model, STRATEGY):
        remove_hook_from_submodules(model)
        with pytest.raises(ModelError, match=r"put back the forward.*detach, and attach again"):
            model(IDS)
    assert torch.equal(model(IDS).logits, untied()(IDS).logits)
    with dola.attach(model, STRATEGY):
        dispatch_model(model, {"": "cpu"}, force_hooks=True)
        found = model(IDS).logits
        assert model.lm_head(torch.zeros(1, 1, 32)).shape == (1, 1, 96)  # by itself it is the model's own
    assert_scores(found, model)


@torch.no_grad()
def test_a_head_that_another_has_put_back_is_multiplied_in_float32_again() -> None:
    model = untied().bfloat16()
    with dola.attach(model, STRATEGY):
        expected = model(IDS).logits
    own = model.lm_head.forward
    model.lm_head.forward = lambda states: own(states)
    with dola.attach(model, STRATEGY):
        through_theirs = model(IDS).logits
        del model.lm_head.forward
        found = model(IDS).logits
    assert torch.equal(found, expected)
    assert not torch.equal(through_theirs, expected)  # a head that others wrap gives its own type


@pytest.fixture
def mesh() -> Iterator[Any]:
    with tempfile.NamedTemporaryFile() as meeting:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting.name}", rank=0, world_size=1
        )
        yield init_device_mesh("cpu", (1,))
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("before", [True, False], ids=["before", "while attached"])
def test_weights_in_shards_are_gathered_for_each_exit(mesh: Any, *, before: bool) -> None:
    model, expected = untied(), by_definition(untied())

    def shard() -> None:
        for module in (*model.model.layers, model.model.norm, model.lm_head, model):
            fully_shard(module, mesh=mesh)

    if before:
        shard()
    with dola.attach(model, STRATEGY), torch.no_grad():
        if not before:
            shard()
        torch.testing.assert_close(model(IDS).logits, expected, rtol=1e-4, atol=1e-4)
    assert Capabilities.of(model).tested


def test_copies_in_parallel_are_found_inside_their_wrapper(mesh: Any) -> None:
    model = untied()
    parallel = DistributedDataParallel(model)
    with torch.no_grad(), dola.attach(parallel, STRATEGY):
        found = parallel(IDS).logits
    assert_scores(found, model)


def test_a_stage_of_a_pipeline_is_refused() -> None:
    model = untied()
    model._pp_stage = object()  # as the host marks a model of which each process holds some blocks
    with pytest.raises(ModelError, match="pipeline"):
        dola.attach(model, STRATEGY)


@torch.no_grad()
@pytest.mark.parametrize("strategy", ["-1", "0,1,2,-1", "sled:0,1,2,-1", "delta:M=1,L=5"])
def test_one_graph_serves_every_length(strategy: str) -> None:
    model, graphs = untied(), []
    torch.compiler.reset()

    def count(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    with dola.attach(model, dola.parse_strategy(strategy)):
        compiled = torch.compile(model, backend=count, dynamic=True)
        # A first length that is a layer's number costs one more: the compiler takes equal numbers for one.
        for length in (5, 6, 7):
            found = compiled(IDS[:, :length], use_cache=False).logits
            torch.testing.assert_close(found, model(IDS[:, :length]).logits, rtol=1e-4, atol=1e-4)
    torch.compiler.reset()
    assert len(graphs) == 1


@torch.no_grad()
@pytest.mark.parametrize("strategy", ["-1", "0,1,2,-1", "sled:0,1,2,-1", "delta:M=1,L=5"])
def test_an_exported_model_takes_every_length(strategy: str) -> None:
    model = untied()
    shapes = {"input_ids": {1: torch.export.Dim("length", min=2, max=64)}, "use_cache": None}
    with dola.attach(model, dola.parse_strategy(strategy)):
        program = torch.export.export(
            model, (), {"input_ids": IDS, "use_cache": False}, dynamic_shapes=shapes, strict=False
        )
        for length in (3, 6):
            found = program.module()(input_ids=IDS[:, :length], use_cache=False).logits
            torch.testing.assert_close(found, model(IDS[:, :length]).logits, rtol=1e-4, atol=1e-4)
