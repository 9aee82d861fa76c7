"""The parts of a loaded model that a contrastive head needs, found by its layout."""

from collections.abc import Sequence
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
    """A model taken apart; the modules are the model's own, not copies."""

    trunk: nn.Module
    blocks: Sequence[nn.Module]
    norm: nn.Module | None
    project_out: nn.Module | None
    head: nn.Module
    scale: float
    softcap: float | None
    depth: Depth
    vocab_size: int
    listed: bool  # False: the layout is a guess, to be probed

    def head_input(self, hidden: Tensor, *, norm: bool) -> Tensor:
        """An early exit `[..., D]` as the head reads it: normed where asked, projected where the trunk does."""
        if norm and self.norm is not None:
            hidden = self.norm(hidden)
        return hidden if self.project_out is None else self.project_out(hidden)

    def head_output(self, logits: Tensor) -> Tensor:
        """What the model makes of its head's output `[..., V]`: float32, scaled, capped."""
        logits = logits.float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


def depth_of(config: Config) -> Depth:
    """The depth of a model by its configuration alone, so that layers are checked before weights load.

    Raises:
        ModelError: an encoder-decoder model, or a configuration that does not say its number of layers.
    """
    text = config.get_text_config(decoder=True)
    if config.is_encoder_decoder:
        raise ModelError(
            f"{config.model_type} is an encoder-decoder model; dola contrasts the layers of decoder-only models"
        )
    num_layers = getattr(text, "num_hidden_layers", None)
    if not isinstance(num_layers, int):
        raise ModelError(f"the configuration of {config.model_type} does not say its number of layers")
    return Depth(num_layers, bool(getattr(text, "tie_word_embeddings", False)))


def take_apart(model: PreTrainedModel) -> ModelParts:
    """The parts of a causal language model.

    Raises:
        ModelError: no language-model head, or blocks where no known layout has them.
    """
    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            f"expected a transformers PreTrainedModel, found {type(model).__name__}"
            " (of a wrapper such as a PEFT model, pass the model inside: model.get_base_model())"
        )
    depth = depth_of(model.config)
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(
            f"{type(model).__name__} has no language-model head: load it with AutoModelForCausalLM"
        )
    model_type = model.config.model_type
    listed = model_type in LAYOUTS
    for layout in (LAYOUTS[model_type],) if listed else GUESSES:
        parts = _by_layout(model, layout, head, depth, listed=listed)
        if parts is not None:
            return parts
    tried = ", ".join(dict.fromkeys(layout.blocks for layout in GUESSES))
    raise ModelError(
        f"{type(model).__name__} ({model_type}) keeps its {depth.num_layers} blocks where no known layout has"
        f" them (looked at: {tried}); add a line to dola/models/layout.py"
    )


def _by_layout(
    model: PreTrainedModel, layout: Layout, head: nn.Module, depth: Depth, *, listed: bool
) -> ModelParts | None:
    text = model.config.get_text_config(decoder=True)
    trunk, blocks = _at(model, layout.trunk), _at(model, layout.blocks)
    if trunk is None or not isinstance(blocks, nn.ModuleList) or len(blocks) < depth.num_layers:
        return None
    return ModelParts(
        trunk=trunk,
        blocks=tuple(blocks[: depth.num_layers]),
        norm=_at(model, layout.norm),
        project_out=_at(model, layout.project_out),
        head=head,
        scale=layout.scale(text),
        softcap=layout.softcap(text),
        depth=depth,
        vocab_size=text.vocab_size,
        listed=listed,
    )


def _at(model: nn.Module, path: str | None) -> nn.Module | None:
    """The module at a dotted path, or None where there is none."""
    if path is None:
        return None
    try:
        found: nn.Module | None = attrgetter(path)(model)
    except AttributeError:
        return None
    return found
