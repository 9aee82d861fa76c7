"""The parts of a loaded model that a contrastive head needs, found by its layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dola.errors import ModelError
from dola.models.layout import GUESSES, LAYOUTS, Config, Layout
from dola.strategies import Depth


@dataclass(frozen=True, eq=False)
class ModelParts:
    """A model taken apart; the modules are the model's own, not copies.

    What may be replaced, resized or set on a live model (its head, its final norm, a cap) is looked up anew
    each time that it is asked for.

    Attributes:
        listed: the layout is known and tested for this class. False: it is a guess, to be probed.
    """

    model: PreTrainedModel
    layout: Layout
    trunk: nn.Module
    blocks: Sequence[nn.Module]
    depth: Depth
    listed: bool

    @property
    def norm(self) -> nn.Module | None:
        return _at(self.model, self.layout.norm)

    @property
    def project_out(self) -> nn.Module | None:
        return _at(self.model, self.layout.project_out)

    @property
    def head(self) -> nn.Module:
        """Raises ModelError where there is none any more."""
        return _head_of(self.model)

    @property
    def scale(self) -> float:
        return self.layout.scale(self.model)

    @property
    def softcap(self) -> float | None:
        return self.layout.softcap(self.model)

    @property
    def vocab_size(self) -> int:
        """How many logits the head gives; with a padded head that is more than there are tokens."""
        text = self.model.config.get_text_config(decoder=True)
        found: int = getattr(self.head, "out_features", text.vocab_size)
        return found

    @property
    def by_columns(self) -> bool:
        """See `Layout`."""
        return self.layout.by_columns

    def head_input(self, hidden: Tensor, *, norm: bool) -> Tensor:
        """An early exit `[..., D]` as the head reads it: normed where asked, projected if the trunk does."""
        final_norm = self.norm if norm else None
        if final_norm is not None:
            hidden = final_norm(hidden)
        project_out = self.project_out
        return hidden if project_out is None else project_out(hidden)

    def head_output(self, logits: Tensor) -> Tensor:
        """What the model makes of its head's output `[..., V]`: float32, scaled, capped."""
        logits, scale, softcap = logits.float(), self.scale, self.softcap
        if scale != 1.0:
            logits = logits * scale
        if softcap is not None:
            # The cap would make an ordinary number of an infinite one: such a row becomes NaN.
            largest = logits.amax(-1, keepdim=True)
            logits = torch.tanh(logits / softcap) * (softcap + (largest - largest))
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
    if getattr(model, "_pp_stage", None) is not None:
        raise ModelError(
            f"{type(model).__name__} is spread over processes as a pipeline, and each holds but some of its"
            " blocks: give it one stage (pp_size=1), or spread it with device_map or tensor parallelism"
        )
    depth = depth_of(model.config)
    _head_of(model)
    layout = _layout_of(model)
    return ModelParts(
        model,
        layout,
        trunk=_required(model, layout.trunk),
        blocks=_blocks(model, layout, depth),
        depth=depth,
        listed=LAYOUTS.get(model.config.model_type) is layout and _is_of_the_library(model),
    )


def _head_of(model: PreTrainedModel) -> nn.Module:
    get_head: Callable[[], nn.Module | None] = model.get_output_embeddings
    head = get_head()
    if head is None:
        raise ModelError(
            f"{type(model).__name__} has no language-model head: load it with AutoModelForCausalLM"
        )
    return head


def _is_of_the_library(model: PreTrainedModel) -> bool:
    """Whether its class is one of transformers' own; FSDP2 puts one of torch's before it, for its hooks."""
    classes = (each for each in type(model).__mro__ if not each.__module__.startswith("torch."))
    return next(classes).__module__.startswith("transformers.models.")


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
    found: Any = model
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, nn.Module) else None
