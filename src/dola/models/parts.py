"""The parts of a loaded model that a contrastive head needs, found by its layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dola.errors import ModelError
from dola.models.layout import GUESSES, LAYOUTS, Config, Layout
from dola.strategies import Depth


@dataclass(frozen=True, eq=False)
class ModelParts:
    """A model taken apart; the modules are the model's own, not copies.

    Attributes:
        vocab_size: how many logits the head gives; with a padded head that is more than there are tokens.
        listed: the layout is known and tested for this class. False: it is a guess, to be probed.
        by_columns: see `Layout`.
    """

    trunk: nn.Module
    blocks: Sequence[nn.Module]
    norm: nn.Module | None
    project_out: nn.Module | None
    head: nn.Module
    scale: float
    softcap: float | None
    depth: Depth
    vocab_size: int
    listed: bool
    by_columns: bool

    def head_input(self, hidden: Tensor, *, norm: bool) -> Tensor:
        """An early exit `[..., D]` as the head reads it: normed where asked, projected if the trunk does."""
        if norm and self.norm is not None:
            hidden = self.norm(hidden)
        return hidden if self.project_out is None else self.project_out(hidden)

    def head_output(self, logits: Tensor) -> Tensor:
        """What the model makes of its head's output `[..., V]`: float32, scaled, capped."""
        logits = logits.float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            # The cap would make an ordinary number of an infinite one: such a row becomes NaN.
            largest = logits.amax(-1, keepdim=True)
            logits = torch.tanh(logits / self.softcap) * (self.softcap + (largest - largest))
        return logits


def depth_of(config: Config) -> Depth:
    """The depth of a model by its configuration alone, so that layers are checked before weights load.

    Raises:
        ModelError: an encoder-decoder model, or a configuration that does not say its number of layers.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{config.model_type} is an encoder-decoder model; expected a decoder-only model,"
            " whose layers can be contrasted"
        )
    text = config.get_text_config(decoder=True)
    num_layers = getattr(text, "num_hidden_layers", None)
    if not isinstance(num_layers, int):
        raise ModelError(f"the configuration of {config.model_type} does not say its number of layers")
    # Of a model in several parts it is the outer configuration that the host ties the weights by.
    tied = getattr(config, "tie_word_embeddings", getattr(text, "tie_word_embeddings", False))
    return Depth(num_layers, bool(tied))


def input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go: to the embeddings, of a model spread over several devices; embeddings that are
    offloaded are on no device, and the host moves what it is given."""
    device = next(model.get_input_embeddings().parameters()).device
    return torch.device("cpu") if device.type == "meta" else device


def take_apart(model: PreTrainedModel) -> ModelParts:
    """The parts of a causal language model.

    A class that is not of transformers itself (remote code, a subclass) counts as unlisted even under a
    listed name: it may do to its logits what its namesake does not.

    Raises:
        ModelError: not a decoder-only model with a language-model head, fewer blocks than its
            configuration says, one block used as several layers, or blocks where no known layout has them.
    """
    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            f"expected a transformers PreTrainedModel, found {type(model).__name__}"
            " (of a wrapper such as a PEFT model, pass the model inside: model.get_base_model())"
        )
    depth = depth_of(model.config)
    get_head: Callable[[], nn.Module | None] = model.get_output_embeddings
    head = get_head()
    if head is None:
        raise ModelError(
            f"{type(model).__name__} has no language-model head: load it with AutoModelForCausalLM"
        )
    layout = _layout_of(model)
    blocks = _blocks(model, layout, depth)
    text = model.config.get_text_config(decoder=True)
    return ModelParts(
        trunk=_required(model, layout.trunk),
        blocks=blocks,
        norm=_at(model, layout.norm),
        project_out=_at(model, layout.project_out),
        head=head,
        scale=layout.scale(text),
        softcap=layout.softcap(text),
        depth=depth,
        vocab_size=getattr(head, "out_features", text.vocab_size),
        listed=LAYOUTS.get(model.config.model_type) is layout
        and type(model).__module__.startswith("transformers.models."),
        by_columns=layout.by_columns,
    )


def _layout_of(model: PreTrainedModel) -> Layout:
    """The model's line of the table, else the first guess that names parts which the model has."""
    named = LAYOUTS.get(model.config.model_type)
    if named is not None and _at(model, named.blocks) is not None:
        return named
    for guess in GUESSES:
        if _at(model, guess.blocks) is not None and _at(model, guess.norm) is not None:
            return guess
    tried = ", ".join(f"{guess.blocks} with {guess.norm}" for guess in GUESSES)
    raise ModelError(
        f"{type(model).__name__} ({model.config.model_type}) keeps its blocks and its final norm where no"
        f" known layout has them (looked for: {tried}); add its layout to dola/models/layout.py"
    )


def _blocks(model: PreTrainedModel, layout: Layout, depth: Depth) -> tuple[nn.Module, ...]:
    """The blocks that the forward pass runs, one a layer. Some models keep others behind them."""
    found = _required(model, layout.blocks)
    name = f"{type(model).__name__} ({model.config.model_type})"
    blocks = tuple(found)[: depth.num_layers] if isinstance(found, nn.ModuleList) else ()
    if len(blocks) < depth.num_layers:
        raise ModelError(
            f"{name} has {len(blocks)} blocks at {layout.blocks}, its configuration says"
            f" {depth.num_layers} layers: set its num_hidden_layers to {len(blocks)} if blocks were cut off,"
            " else add its layout to dola/models/layout.py"
        )
    if len(set(blocks)) < len(blocks):
        raise ModelError(f"{name} runs one block as several layers: its hidden states cannot be told apart")
    return blocks


def _required(model: nn.Module, path: str) -> nn.Module:
    found = _at(model, path)
    if found is None:
        raise ModelError(f"{type(model).__name__} has no {path}, where its layout expects it")
    return found


def _at(model: nn.Module, path: str | None) -> nn.Module | None:
    """The module at a dotted path, or None where there is none."""
    if path is None:
        return None
    try:
        found: nn.Module | None = attrgetter(path)(model)
    except AttributeError:
        return None
    return found
