"""The model of a run: by its name, or one that is loaded already. What is known before it loads, and it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dola.models.placement import Placement
from dola.runs.fingerprint import model_identity
from dola.runs.waiting import quiet_host, waiting

if TYPE_CHECKING:
    from dola.language_model import LanguageModel
    from dola.strategies import Depth, Strategy

Tell = Callable[[str], None]
# A `LanguageModel`, or whatever has its `iter_loglikelihood`, `iter_generate` and `chat_prompt`.
Scorer = Any


@runtime_checkable
class Model(Protocol):
    """Whose scores and texts a run records: what a backend is to a run."""

    @property
    def name(self) -> str:
        """As a result shows it."""

    def depth(self) -> Depth:
        """How deep it is, from its configuration alone."""

    def dtype(self) -> str:
        """The dtype that its weights have, or will be loaded in."""

    def identity(self) -> str:
        """Which weights, configuration and tokenizer it is."""

    def load(self, strategies: Sequence[Strategy]) -> Scorer:
        """The model itself, once it is sure that it has the strategies' layers."""


@dataclass(frozen=True)
class NamedModel:
    """An alias, a hub id, a folder or a .gguf file. `tell`: is told what takes time."""

    name: str
    placement: Placement
    trust_remote_code: bool
    tell: Tell

    def depth(self) -> Depth:
        from dola.loader import depth_of_model

        self.placement.load_arguments_here()  # that the device is there is the cheapest to see
        return depth_of_model(self.name, trust_remote_code=self.trust_remote_code, progress=self.tell)

    def dtype(self) -> str:
        from dola.models.loading import dtype_here

        return dtype_here(
            self.name, self.placement, trust_remote_code=self.trust_remote_code, progress=self.tell
        )

    def identity(self) -> str:
        return model_identity(self.name)

    def load(self, strategies: Sequence[Strategy]) -> Scorer:
        """
        Raises:
            LayerError: a layer that the model lacks.
            ModelError: a model or a device that is not there.
        """
        quiet_host()
        # The slow imports come here, after everything that can be refused without them.
        from dola.loader import load
        from dola.strategies import OWN, resolve_all

        resolve_all(strategies, {OWN: self.depth()})
        with waiting(f"loading {self.name}"):
            return load(
                self.name,
                dtype=self.placement.dtype,
                device=self.placement.device,
                num_gpus=self.placement.num_gpus,
                max_gpu_memory=self.placement.max_gpu_memory,
                trust_remote_code=self.trust_remote_code,
                progress=self.tell,
            )


@dataclass(frozen=True)
class LoadedModel:
    """A model that is loaded, whoever loaded it, and whatever became of its weights since."""

    lm: LanguageModel

    @property
    def name(self) -> str:
        return str(self.lm.name)

    def depth(self) -> Depth:
        return self.lm.depth

    def dtype(self) -> str:
        return str(next(self.lm.model.parameters()).dtype).removeprefix("torch.")

    def identity(self) -> str:
        return f"loaded, sampled sha256 {_digest_of(self.lm)}"

    def load(self, strategies: Sequence[Strategy]) -> Scorer:
        from dola.strategies import resolve_all

        resolve_all(strategies, self.lm.depths)
        return self.lm


# Of each tensor, so many values evenly in between: training changes those.
_SAMPLED = 64


def _digest_of(lm: LanguageModel) -> str:
    """SHA-256 over configuration, tokenizer, and values of every tensor of the weights."""
    tokenizer: Any = lm.tokenizer
    described = [
        type(lm.model).__name__,
        lm.model.config.to_json_string(),
        sorted(tokenizer.get_vocab().items()),
        str(tokenizer.chat_template),
        sorted((name, str(token)) for name, token in tokenizer.special_tokens_map.items()),
    ]
    digest = hashlib.sha256(json.dumps(described, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(lm.model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        values = flat[:: max(1, flat.numel() // _SAMPLED)]
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}:{values.double().tolist()}".encode())
    return digest.hexdigest()
