"""Every architecture in the table: its own logits, its own hidden states, and the same contrast on all."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import dola
from dola.models.layout import LAYOUTS
from dola.models.parts import ModelParts, take_apart
from dola.models.projection import projection_of
from dola.models.tap import LayerTap
from dola.strategies import Exit
from tiny_models import TINY, VOCAB_SIZE, tiny_model

Changes = dict[str, Any]

# Architectures whose class has several forms beside the one in TINY.
FORMS: list[tuple[str, Changes]] = [
    ("cohere", {"tie_word_embeddings": False}),
    ("falcon", {"new_decoder_architecture": False, "multi_query": True}),
    ("falcon", {"new_decoder_architecture": False, "alibi": True, "parallel_attn": False}),
    ("gemma2", {"final_logit_softcapping": None}),
    ("gpt2", {"tie_word_embeddings": False}),
    ("gpt_neox", {"use_parallel_residual": False}),
    ("llama", {"tie_word_embeddings": True}),
    ("opt", {"word_embed_proj_dim": 32}),
    ("opt", {"do_layer_norm_before": False}),
    ("opt", {"word_embed_proj_dim": 32, "tie_word_embeddings": False}),
    ("qwen2", {"tie_word_embeddings": True}),
    ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
]
CASES = [(name, {}) for name in LAYOUTS] + FORMS

# Their `hidden_states` leave the embeddings out: entry k is the state after block k + 1.
STATES_FROM_BLOCK_1 = {"mamba", "mamba2", "falcon_mamba"}
NO_FINAL_NORM = {"openai-gpt"}


def _name(case: tuple[str, Changes]) -> str:
    name, changes = case
    return "-".join([name, *(f"{key}={value}" for key, value in changes.items())])


@pytest.fixture(params=CASES, ids=_name)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.set_num_threads(1)
    name, changes = request.param
    return tiny_model(name, **changes)


IDS = torch.tensor([[5, 17, 3, 42, 88, 17, 60, 9, 31], [70, 12, 12, 55, 23, 91, 8, 77, 4]])


def _watched(model: PreTrainedModel, parts: ModelParts) -> tuple[Any, Tensor, list[Tensor]]:
    """The host's output, what its head read, and the hidden states 0..N-1 that the tap recorded."""
    depth = parts.depth.num_layers
    tap = LayerTap(parts, [Exit(layer, norm=False) for layer in range(depth)])
    read: list[Tensor] = []
    hook = parts.head.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    tap.start()
    try:
        output = model(input_ids=IDS, output_hidden_states=True)
        return output, read[0], [tap._states[layer] for layer in range(depth)]
    finally:
        tap.remove()
        hook.remove()


def _own_logits(model: PreTrainedModel, head: nn.Module, head_input: Tensor) -> Tensor:
    """The logits that the model itself makes when its head reads `head_input`: its own biases, scale, cap."""
    hook = head.register_forward_pre_hook(lambda module, args: (head_input,))
    try:
        return model(input_ids=IDS).logits
    finally:
        hook.remove()


def test_every_listed_architecture_has_a_tiny_model():
    assert set(LAYOUTS) <= set(TINY)


@torch.no_grad()
def test_the_projection_of_layer_n_is_the_models_logits(model: PreTrainedModel):
    parts = take_apart(model)
    output, read, _ = _watched(model, parts)
    logits = projection_of(parts)(read.flatten(0, 1)).view(output.logits.shape)
    assert parts.listed
    assert output.logits.std() > 0.3  # else the tolerance below would hide a wrong scale
    torch.testing.assert_close(logits, output.logits, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_trunk_and_the_final_norm_give_what_the_head_reads(model: PreTrainedModel):
    parts = take_apart(model)
    after_last: list[Any] = []
    hook = parts.blocks[-1].register_forward_hook(lambda module, args, output: after_last.append(output))
    _, read, _ = _watched(model, parts)
    hook.remove()
    last = after_last[0] if isinstance(after_last[0], Tensor) else after_last[0][0]
    torch.testing.assert_close(parts.trunk(input_ids=IDS).last_hidden_state, read, rtol=0, atol=1e-6)
    torch.testing.assert_close(parts.head_input(last, norm=True), read, rtol=0, atol=1e-5)
    no_norm = model.config.model_type in NO_FINAL_NORM or not getattr(
        model.config, "do_layer_norm_before", True
    )
    assert (parts.norm is None) == no_norm


@torch.no_grad()
def test_hidden_state_k_is_the_hosts_state_after_block_k(model: PreTrainedModel):
    parts = take_apart(model)
    output, read, states = _watched(model, parts)
    host = list(output.hidden_states)
    assert len(host) == parts.depth.num_layers + 1
    if model.config.model_type in STATES_FROM_BLOCK_1:
        states, host = states[1:], host[: parts.depth.num_layers - 1]
    for ours, theirs in zip(states, host, strict=False):
        assert torch.equal(ours, theirs)
    if parts.project_out is None:  # OPT's last state is the one before its projection
        assert torch.equal(output.hidden_states[-1], read)


def _oracle(logits: list[Tensor], alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """The contrast in float64, from the formulas: scores, the candidate chosen, whether clearly so."""
    *candidates, mature = (torch.log_softmax(part.double(), -1) for part in logits)
    distances = []
    for candidate in candidates:
        mixture = (mature.exp() + candidate.exp()) / 2
        kl_mature = (mixture * (mixture.log() - mature)).sum(-1)
        kl_candidate = (mixture * (mixture.log() - candidate)).sum(-1)
        distances.append((kl_mature + kl_candidate) / 2)
    distance = torch.stack(distances)
    chosen = distance.argmax(0)
    premature = torch.stack(candidates).gather(0, chosen[None, ..., None].expand(1, *mature.shape))[0]
    ruled_out = mature < mature.amax(-1, keepdim=True) + math.log(alpha)
    scores = mature - premature
    lowest = scores.masked_fill(ruled_out, math.inf).amin(-1, keepdim=True)
    scores = torch.where(ruled_out, 2 * lowest.clamp(max=0) - 1e4 + mature.clamp(min=-1e4), scores)
    best, second = distance.topk(2, dim=0).values
    return scores, chosen, best - second > 1e-4 * best


@torch.no_grad()
@pytest.mark.parametrize("norm", [False, True], ids=["bare", "early_exit_norm"])
def test_attached_scores_are_the_oracles(model: PreTrainedModel, norm: bool):  # noqa: FBT001
    parts = take_apart(model)
    output, _, states = _watched(model, parts)
    exits = states[:3]
    if norm and parts.norm is not None:
        exits = [parts.norm(state) for state in exits]
    if parts.project_out is not None:
        exits = [parts.project_out(state) for state in exits]
    logits = [*(_own_logits(model, parts.head, state) for state in exits), output.logits]
    scores, chosen, clear = _oracle(logits, alpha=0.1)
    with dola.attach(model, dola.DoLa((0, 1, 2), early_exit_norm=norm)) as attachment:
        ours = model(input_ids=IDS).logits
        premature = attachment.last.premature
    assert clear.float().mean() > 0.8
    assert torch.equal(premature[clear], chosen[clear])  # layers 0, 1, 2 are numbers 0, 1, 2
    mature = torch.log_softmax(output.logits.double(), -1)
    at_the_edge = (mature - mature.amax(-1, keepdim=True) - math.log(0.1)).abs() < 1e-4
    compared = clear[..., None] & ~at_the_edge
    torch.testing.assert_close(ours[compared].double(), scores[compared], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_greedy_decoding_is_the_same_with_and_without_the_cache(model: PreTrainedModel):
    settings = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 4, "do_sample": False}
    with dola.attach(model, dola.DoLa((0, 1, 2))):
        cached = model.generate(IDS, **settings)
        uncached = model.generate(IDS, use_cache=False, **settings)
        scores = model(input_ids=cached[:, :-1]).logits[:, IDS.shape[1] - 1 :]
    assert scores.shape[-1] == VOCAB_SIZE
    assert torch.equal(cached, uncached)
    assert torch.equal(cached[:, IDS.shape[1] :], scores.argmax(-1))


def _inside(model: PreTrainedModel) -> dict[str, Any]:
    """All that attaching could leave behind: attributes and hooks of every module."""
    kept = {}
    for name, module in model.named_modules():
        kept[name, "attributes"] = sorted(vars(module))
        kept[name, "class"] = type(module)
        for hooks in ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks"):
            kept[name, hooks] = list(getattr(module, hooks))
    return kept


@torch.no_grad()
def test_a_detached_model_is_bit_for_bit_what_it_was(model: PreTrainedModel):
    logits, inside = model(input_ids=IDS).logits, _inside(model)
    with dola.attach(model, dola.DoLa((0, 1, 2))):
        assert not torch.equal(model(input_ids=IDS).logits, logits)
    assert torch.equal(model(input_ids=IDS).logits, logits)
    assert _inside(model) == inside
