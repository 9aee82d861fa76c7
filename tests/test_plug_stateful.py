"""Whatever is done to a live model, and in whatever order, its scores are right or refused.

Hypothesis makes up the events. All of them are done to two models alike, of which only one ever has a
strategy attached: its twin says which hidden states there are, and what a model is with nothing attached.
"""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LogitsProcessorList, PreTrainedModel

import dola
import strangers
from dola.hosts.transformers.attach import attached
from live_scores import FILTER, exit_logits, exits_of, far, plain_head
from strangers import InPlaceOfForward, hooks_of, unhook
from tiny_models import VOCAB_SIZE, tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LLAMA, GEMMA2, PHI, GRANITE, COHERE = "llama", "gemma2", "phi", "granite", "cohere"
IDS = torch.tensor([[3, 14, 15, 9, 26], [53, 58, 9, 79, 32]])
MASK = torch.ones_like(IDS)

VANILLA = (dola.Vanilla(),)
RELEASED = (dola.DoLa((0, 2), filter_value=FILTER),)
NORMED = (dola.DoLa((1, 2, 3), divergence="js", early_exit_norm=True, filter_value=FILTER),)
STATIC = (dola.DoLaStatic(1, filter_value=FILTER),)
EACH_ROW = (*RELEASED, *VANILLA)
ONE_EACH = (*STATIC, *NORMED)
STRATEGIES = [VANILLA, RELEASED, NORMED, STATIC, EACH_ROW, ONE_EACH, VANILLA * 2]

# Which positions a call asks for, `logits_to_keep`.
KEPT: dict[str, Any] = {
    "all": 0,
    "last two": 2,
    "some": torch.tensor([0, 3]),
    "some of each row": torch.tensor([[0, 3], [1, 2]]),
    "masked": torch.tensor([[False, False, False, False, True], [True, False, True, False, True]]),
}
HEAD_HOOKS = [strangers.Louder, strangers.Steering]


@dataclass
class Pair:
    """A model and its twin.

    Attributes:
        strategies: what is attached to the model; none, where nothing is.
        behind: a stranger had put a forward in the place of the model's before.
        compiled: what torch.compile has made of both.
        tangled: a stranger has put back, after ours had gone, what they had found: ours.
    """

    model: Any
    twin: Any
    strategies: tuple[Any, ...] = ()
    tangled: bool = False
    behind: bool = False
    compiled: list[Any] = field(default_factory=list)

    @property
    def contrasts(self) -> bool:
        return any(not isinstance(each, dola.Vanilla) for each in self.strategies)


def inside(model: Any) -> PreTrainedModel:
    return model.get_base_model() if isinstance(model, PeftModel) else model


def head_of(model: Any) -> nn.Module:
    return inside(model).get_output_embeddings()


def kept(every: Tensor, keep: Any) -> Tensor:
    """Of `[B, T, ...]` what `logits_to_keep` asks for, in the plainest way."""
    if isinstance(keep, int):
        return every[:, -keep:]
    if keep.ndim == 1:
        return every[:, keep]
    if keep.dtype == torch.bool:
        return torch.cat([row[chosen] for row, chosen in zip(every, keep, strict=True)])
    return torch.stack([row[chosen] for row, chosen in zip(every, keep, strict=True)])


@dataclass(frozen=True)
class Call:
    """A way to call a model, which gives its logits or scores of the positions that are kept."""

    keep: str = "all"
    by_forward: bool = False
    by_position: bool = False
    as_tuple: bool = False
    generates: bool = False

    def __call__(self, model: Any) -> Tensor:
        if self.generates:
            output = model.generate(input_ids=IDS, attention_mask=MASK, max_new_tokens=2, do_sample=False,
                                    output_scores=True, return_dict_in_generate=True)  # fmt: skip
            return output.scores[0][:, None]
        function = model.forward if self.by_forward else model
        named = {"logits_to_keep": KEPT[self.keep], "return_dict": not self.as_tuple, "use_cache": False}
        output = function(IDS, MASK, **named) if self.by_position else function(input_ids=IDS, **named)
        assert isinstance(output, tuple) == self.as_tuple
        return output[0] if self.as_tuple else output.logits


calls = st.builds(
    Call, st.sampled_from(sorted(KEPT)), st.booleans(), st.booleans(), st.booleans(), generates=st.booleans()
)
# In turn, one after each event.
OFTEN = [
    Call(),
    Call("masked"),
    Call(by_forward=True),
    Call(generates=True),
    Call("some of each row", as_tuple=True),
    Call("last two", by_position=True),
    Call("some", by_forward=True, as_tuple=True),
]


class LiveModel(RuleBasedStateMachine):
    """What happens to a model."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[Pair] = []
        self.compiled = 0

    @property
    def pair(self) -> Pair:
        """The one that things happen to; the ones before it are what it was copied from."""
        return self.pairs[-1]

    def both(self, change: Callable[[Any], Any]) -> None:
        """Do the same to both: what can be done to a model, can be done to one with a strategy attached."""
        for name in ("twin", "model"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made = change(getattr(self.pair, name))
            if isinstance(made, nn.Module):
                setattr(self.pair, name, made)
                self.pair.compiled = []

    @initialize(
        model_type=st.sampled_from([LLAMA, GEMMA2, PHI, GRANITE, COHERE]),
        strategies=st.sampled_from([(), *STRATEGIES]),
        steps=st.integers(0, len(OFTEN) - 1),
    )
    def load(self, model_type: str, strategies: tuple[Any, ...], steps: int) -> None:
        changes = {"tie_word_embeddings": model_type in (GEMMA2, COHERE)}
        self.pairs = [Pair(tiny_model(model_type, **changes), tiny_model(model_type, **changes))]
        self.steps = steps
        if strategies:
            self.attach(strategies=strategies, as_list=False)

    # Attached and detached

    @rule(strategies=st.sampled_from(STRATEGIES), as_list=st.booleans())
    def attach(self, *, strategies: tuple[Any, ...], as_list: bool) -> None:
        given = list(strategies) if as_list or len(strategies) > 1 else strategies[0]
        if self.pair.strategies:
            with pytest.raises(dola.ModelError, match="attached already"):
                dola.attach(self.pair.model, given)
            return
        dola.attach(self.pair.model, given)
        self.pair.strategies = strategies
        self.pair.behind = InPlaceOfForward.on(inside(self.pair.model)) is not None

    @precondition(lambda self: self.pair.strategies)
    @rule()
    def detach(self) -> None:
        attachment = attached(self.pair.model)
        assert attachment is not None
        attachment.detach()
        attachment.detach()
        self.pair.strategies, self.pair.behind = (), False

    # The head that the model has

    @precondition(lambda self: type(head_of(self.pair.twin)) in (nn.Linear, _Bent))
    @rule(size=st.integers(VOCAB_SIZE, VOCAB_SIZE + 8))
    def resize(self, size: int) -> None:
        self.both(lambda model: inside(model).resize_token_embeddings(size, mean_resizing=False) and None)

    @rule(kind=st.sampled_from(["biased", "plain", "bent"]))
    def another_head(self, kind: str) -> None:
        self.both(lambda model: inside(model).set_output_embeddings(_new_head(model, kind)))

    @precondition(lambda self: not isinstance(self.pair.model, PeftModel))
    @rule(kind=st.sampled_from(["q_proj", "lm_head", "both", "saved"]))
    def adapt(self, kind: str) -> None:
        self.both(lambda model: _adapted(model, kind))

    @precondition(lambda self: isinstance(self.pair.model, PeftModel))
    @rule(merge=st.booleans())
    def end_adapter(self, *, merge: bool) -> None:
        self.both(lambda model: model.merge_and_unload() if merge else model.unload())

    # Copied, stored, loaded

    @precondition(lambda self: len(self.pairs) < 3)
    @rule(way=st.sampled_from([copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), "saved"]))
    def copied(self, way: Any) -> None:
        self.pairs.append(replace(self.pair, compiled=[]))
        self.both(_through_a_file if way == "saved" else way)

    @precondition(lambda self: not isinstance(self.pair.model, PeftModel))
    @rule()
    def save_and_load(self) -> None:
        """What is loaded is a model of its own; nothing is attached to it."""
        if type(head_of(self.pair.twin)) is not nn.Linear or _head_is_unsaved(self.pair.twin):
            return
        self.both(_saved_and_loaded)
        self.pair.strategies, self.pair.behind, self.pair.tangled = (), False, False

    # Strangers

    @rule(kind=st.sampled_from(HEAD_HOOKS))
    def hook_on_head(self, kind: type) -> None:
        self.both(lambda model: _hooked_or_not(head_of(model), kind))

    @rule(kind=st.sampled_from([strangers.Favour, strangers.LastTwo]))
    def hook_on_model(self, kind: type) -> None:
        self.both(lambda model: _hooked_or_not(inside(model), kind))

    @rule(block=st.integers(0, 3))
    def hook_on_block(self, block: int) -> None:
        self.both(lambda model: _hooked_or_not(inside(model).model.layers[block], strangers.Nudge))

    @rule()
    def forward_of_head(self) -> None:
        self.both(lambda model: _in_place_or_not(head_of(model), strangers.LouderForward))
        self._see_whether_tangled(head_of)

    @rule()
    def forward_of_model(self) -> None:
        self.both(lambda model: _in_place_or_not(inside(model), strangers.FavouringForward))
        self._see_whether_tangled(inside)

    def _see_whether_tangled(self, part: Callable[[Any], nn.Module]) -> None:
        ours = "forward" in vars(part(self.pair.model)) and "forward" not in vars(part(self.pair.twin))
        self.pair.tangled |= not self.pair.strategies and ours

    # Its type and settings

    @rule(dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
    def move(self, dtype: torch.dtype) -> None:
        self.both(lambda model: model.to(dtype) and None)

    @rule(value=st.sampled_from([None, 0.7, 2.0]))
    def cap_or_scale(self, value: float | None) -> None:
        self.both(lambda model: _set_cap_or_scale(inside(model), value))

    # Passes that fail

    @rule(
        where=st.sampled_from(["block", "block input", "head", "head input", "model", "labels", "processor"])
    )
    def fail(self, where: str) -> None:
        model = self.pair.model
        if where == "labels":
            if hooks_of(inside(model), strangers.LastTwo):
                return
            refused = pytest.raises(dola.DolaError) if self.pair.contrasts else nullcontext()
            with refused, torch.no_grad():
                model(IDS, labels=IDS, logits_to_keep=0)
            return
        if where == "processor":
            processors = LogitsProcessorList([strangers.BreaksAsProcessor()])
            with pytest.raises((strangers.Broken, dola.DolaError)):
                model.generate(input_ids=IDS, attention_mask=MASK, max_new_tokens=2, do_sample=False,
                               logits_processor=processors)  # fmt: skip
            return
        module = {"block": inside(model).model.layers[2], "head": head_of(model), "model": inside(model)}[
            where.split()[0]
        ]
        before = where.endswith("input")
        add = module.register_forward_pre_hook if before else module.register_forward_hook
        handle = add(strangers.Breaks())
        try:
            with pytest.raises((strangers.Broken, dola.DolaError)), torch.no_grad():
                model(IDS, attention_mask=MASK)
        finally:
            handle.remove()

    # Calls

    @precondition(lambda self: self.compiled < 2)
    @rule(graphs=st.just("eager"))
    def compiled_call(self, graphs: str) -> None:
        """By graphs that may have been made before the latest events. Twice, as it takes seconds."""
        self.compiled += 1
        pair = self.pair
        pair.compiled = pair.compiled or [
            torch.compile(each, backend=graphs) for each in (pair.model, pair.twin)
        ]
        model, twin = pair.compiled
        self.check(replace(pair, model=model, twin=pair.twin), Call(), plain=twin)

    def teardown(self) -> None:
        if self.compiled:
            torch.compiler.reset()

    @rule(part=st.sampled_from(["block", "head"]))
    def part_copied(self, part: str) -> None:
        """A copy of a part of a model does what that part does by itself."""
        of = {"block": lambda model: inside(model).model.layers[2].mlp, "head": head_of}[part]
        hidden = torch.linspace(-1, 1, 32).to(self.pair.twin.dtype).view(1, 1, 32)
        with torch.no_grad():
            made = copy.deepcopy(of(self.pair.model))(hidden)
            torch.testing.assert_close(made, of(self.pair.twin)(hidden))

    @rule(call=calls, unadapted=st.booleans())
    def called(self, *, call: Call, unadapted: bool) -> None:
        self.check(self.pair, call, unadapted=unadapted)

    @invariant()
    def scores_are_right(self) -> None:
        self.steps += 1
        for pair in self.pairs:
            self.check(pair, OFTEN[self.steps % len(OFTEN)])

    @invariant()
    def nothing_is_left(self) -> None:
        for pair in self.pairs:
            if not pair.strategies:
                _check_that_nothing_is_left(pair)

    # What is right

    def check(self, pair: Pair, call: Call, *, unadapted: bool = False, plain: Any = None) -> None:
        model, twin = pair.model, pair.twin
        unadapted = unadapted and isinstance(twin, PeftModel)
        with torch.no_grad(), twin.disable_adapter() if unadapted else nullcontext():
            plain = call(twin if plain is None else plain)
            right = _right(pair, call) if pair.contrasts else None
        try:
            with torch.no_grad(), model.disable_adapter() if unadapted else nullcontext():
                found = call(model)
        except dola.DolaError:
            if pair.contrasts and pair.behind:  # nowhere else is it right to refuse
                return
            raise
        assert found.shape == plain.shape
        if right is None:
            assert found.dtype == plain.dtype
            assert torch.equal(found, plain)
        else:
            distance, near = right(found)
            assert distance < near, f"{distance} from what is right"


def _right(pair: Pair, call: Call) -> Callable[[Tensor], tuple[float, float]]:
    """How far scores are from right ones, and how far they may be."""
    bare = copy.deepcopy(pair.twin)  # on which the host leaves hooks of its own, that cannot be pickled
    states = bare(IDS, attention_mask=MASK, output_hidden_states=True, use_cache=False).hidden_states
    hooked = not call.by_forward or call.generates or isinstance(bare, PeftModel)
    twin = inside(bare)
    keep = 1 if call.generates else KEPT[call.keep]
    if hooked and not call.generates and hooks_of(twin, strangers.LastTwo):
        keep = 2
    states = [kept(each, keep) for each in states]
    depth = len(states) - 1
    logits = [exit_logits(twin, states, exits_of(each, depth)) for each in pair.strategies]
    rows = kept(torch.arange(2)[:, None].expand(IDS.shape), keep)
    more = torch.zeros(logits[0].shape[-1])
    if hooked and hooks_of(twin, strangers.Favour):
        more[strangers.Favour.token] += 3.0
    if InPlaceOfForward.on(twin) is not None:
        more[strangers.FavouringForward.token] += 3.0
    exact = twin.dtype != torch.bfloat16 or plain_head(twin)
    near = 2e-3 if exact else 0.05 * float(max(each.abs().max() for each in logits)) + 0.05
    return lambda found: (far(found, pair.strategies, rows, logits, more, near), near)


def _new_head(model: Any, kind: str) -> nn.Linear:
    old = head_of(model)
    width, size = inside(model).config.hidden_size, inside(model).config.vocab_size
    made = (_Bent if kind == "bent" else nn.Linear)(width, size, bias=kind == "biased")
    nn.init.normal_(made.weight, std=0.3)
    return made.to(next(old.parameters()).dtype).eval()


class _Bent(nn.Linear):
    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden) + torch.tanh(hidden.mean(-1, keepdim=True))


def _adapted(model: PreTrainedModel, kind: str) -> PeftModel:
    targets = {
        "q_proj": ["q_proj"],
        "lm_head": ["lm_head"],
        "both": ["q_proj", "lm_head"],
        "saved": ["q_proj"],
    }
    saved = ["lm_head"] if kind == "saved" else None
    made = get_peft_model(model, LoraConfig(r=2, target_modules=targets[kind], modules_to_save=saved)).eval()
    for parameter in made.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return made


def _through_a_file(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def _saved_and_loaded(model: PreTrainedModel) -> PreTrainedModel:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype).eval()


def _head_is_unsaved(model: PreTrainedModel) -> bool:
    """Whether a configuration says that the head is the embeddings, and it is not any more."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    return model.config.tie_word_embeddings and head.weight is not embeddings.weight


def _hooked_or_not(module: nn.Module, kind: type) -> None:
    if hooks_of(module, kind):
        unhook(module, kind)
    elif kind is strangers.Steering:
        module.register_forward_pre_hook(kind())
    elif kind is strangers.LastTwo:
        module.register_forward_pre_hook(kind(), with_kwargs=True)
    else:
        module.register_forward_hook(kind())


def _in_place_or_not(module: nn.Module, kind: type[InPlaceOfForward]) -> None:
    there = InPlaceOfForward.on(module)
    if there is None:
        kind(module)
    else:
        there.take_off(module)


def _set_cap_or_scale(model: PreTrainedModel, value: float | None) -> None:
    if model.config.model_type == GEMMA2:
        model.config.final_logit_softcapping = None if value is None else 4 * value
    elif model.config.model_type == GRANITE:
        model.config.logits_scaling = value or 1.0
    elif model.config.model_type == COHERE:
        model.logit_scale = value or 1.0


def _check_that_nothing_is_left(pair: Pair) -> None:
    """The model is what it would be if nothing had ever been attached."""
    of_twin = dict(pair.twin.named_modules())
    of_model = dict(pair.model.named_modules())
    assert of_model.keys() == of_twin.keys()
    for name, module in of_model.items():
        found, right = _outside(module), _outside(of_twin[name])
        if pair.tangled:
            found.pop("forward", None)
            right.pop("forward", None)
        assert found == right, name


def _outside(module: nn.Module) -> dict[str, Any]:
    """What is on a module, its numbers aside."""
    return {
        name: [type(each) for each in value.values()] if "hooks" in name else type(value)
        for name, value in vars(module).items()
    }


TestLiveModel = LiveModel.TestCase
TestLiveModel.settings = settings(
    max_examples=max(10, settings.default.max_examples // 20),
    stateful_step_count=10,
    suppress_health_check=list(HealthCheck),
)

# What it has found: the strategies at first, and the events.
FOUND: dict[str, tuple[str, tuple[Any, ...], Callable[[LiveModel], object]]] = {
    "positions of a mask have the strategy of their row": (
        LLAMA,
        ONE_EACH,
        lambda live: live.called(call=Call("masked"), unadapted=False),
    ),
    "a copy of a head by itself is left without ours": (
        GRANITE,
        RELEASED,
        lambda live: (live.adapt(kind="saved"), live.scores_are_right(), live.detach()),
    ),
    "and one that is only watched": (
        GRANITE,
        VANILLA,
        lambda live: (live.adapt(kind="saved"), live.scores_are_right(), live.detach()),
    ),
    "a head that another calls from within a new one": (
        PHI,
        RELEASED,
        lambda live: (live.forward_of_head(), live.adapt(kind="lm_head")),
    ),
    "a pickled model": (
        GEMMA2,
        EACH_ROW,
        lambda live: live.copied(way=lambda model: pickle.loads(pickle.dumps(model))),
    ),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_was_wrong_once_stays_right(found: str) -> None:
    model_type, strategies, events = FOUND[found]
    live = LiveModel()
    live.load(model_type=model_type, strategies=strategies, steps=0)
    events(live)
    live.scores_are_right()
    live.nothing_is_left()


@pytest.mark.parametrize("strategies", [RELEASED, VANILLA])
def test_a_copy_of_a_part_by_itself_holds_no_copy_of_the_model(strategies: tuple[Any, ...]) -> None:
    live = LiveModel()
    live.load(model_type=LLAMA, strategies=strategies, steps=0)
    model = live.pair.model
    for part in (model.lm_head, model.model.layers[2]):
        memo: dict[int, Any] = {}
        copy.deepcopy(part, memo)
        assert id(model) not in memo


def test_a_model_whose_forward_was_put_back_over_ours_is_refused() -> None:
    """A stranger's was there before, and is taken off: with it goes ours."""
    live = LiveModel()
    live.load(model_type=LLAMA, strategies=(), steps=0)
    live.forward_of_model()
    live.attach(strategies=RELEASED, as_list=False)
    live.scores_are_right()
    live.forward_of_model()
    with pytest.raises(dola.ModelError, match="put back"):
        live.pair.model(IDS)
    live.detach()
    live.nothing_is_left()
    live.scores_are_right()
