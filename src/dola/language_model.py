"""A model and its tokenizer under one roof: text in; text, scores and reasons out."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.hosts.transformers.batches import iter_generate
from dola.hosts.transformers.chat_template import render_chat
from dola.hosts.transformers.generation import Generation, generate
from dola.hosts.transformers.settings import GenerationSettings
from dola.hosts.transformers.stopping import Stop
from dola.models.loading import find_source, load_depth, load_model
from dola.models.parts import depth_of
from dola.models.placement import Placement
from dola.models.vocabulary import pad_with_known
from dola.scoring.loglikelihood import iter_loglikelihood
from dola.scoring.result import Scored
from dola.scoring.tokens import Request
from dola.scoring.trace import Trace, trace_text
from dola.strategies import OWN, Depth, Depths, Strategy, Vanilla, resolve_strategy

__all__ = ["Generation", "LanguageModel", "Trace", "depth_of_model", "load"]


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


class LanguageModel:
    """A causal language model with its tokenizer, decoded with any strategy.

    Made by `dola.load`, or from a model and a tokenizer that are loaded already; a tokenizer that has no
    padding token, or one that the model lacks, is given one. A text with a token that the model lacks is
    refused (ModelError).

    Several threads may use it, and others made of the same model: they wait for each other's batches. None
    may attach a strategy to the model meanwhile.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, name: str = "") -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model.config.name_or_path
        self.depth: Depth = depth_of(model.config)
        self.depths: Depths = {OWN: self.depth}
        pad_with_known(model, tokenizer)

    def generate(
        self,
        prompts: str | Sequence[str],
        strategy: Strategy = Vanilla(),  # noqa: B008
        *,
        max_new_tokens: int = 64,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        num_beams: int = 1,
        repetition_penalty: float = 1.0,
        stop: Stop | Sequence[Stop] = (),
        seed: int | None = None,
        prompt_lookup_num_tokens: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        """Continue each prompt; the prompts form one batch, whose rows never influence each other.

        Of models that padding changes (`iter_generate` says which), each length of prompt forms one.

        The names are Hugging Face's. Nothing is taken from the model's own generation defaults but its end
        of sequence, so that two strategies differ in nothing but the strategy.

        Args:
            stop: strings that end a continuation, or patterns (`re.compile`), for a place that no string says
                ("Q:" at the start of a line); it is cut before the first of them. What a pattern finds must
                not change as the text grows, and it may not be streamed.
            seed: of the sampling, in 0..2**32 - 1. A prompt is drawn the same text with the same seed and
                settings, whatever prompts are beside it (but for rounding, where two tokens come out even);
                a prompt given twice is drawn twice. With beams a batch is drawn as a whole. No process-wide
                generator is touched. None: a seed that PyTorch's process-wide generator gives.
            prompt_lookup_num_tokens: guess this many tokens from the prompt at a time and verify them in one
                pass; the tokens are those without it, drawn ones too. One prompt only.
            on_text: called with the text as it is generated. One prompt, no beams. It must not use this
                model, which is in the middle of a batch, nor wait for a thread that does.

        Raises:
            DataError: an empty prompt, or one that leaves no room in the model's context.
            LayerError: a layer that the model lacks.
            ModelError: a strategy is attached to the model already, or `on_text` calls this.
            NumericsError: NaN or infinity where the model or its head is read.
            StrategyError: settings that do not go together.
        """
        settings = GenerationSettings(
            max_new_tokens=max_new_tokens,
            do_sample=do_sample,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            num_beams=num_beams,
            repetition_penalty=repetition_penalty,
            stop=(stop,) if isinstance(stop, str | re.Pattern) else tuple(stop),
            seed=seed,
            prompt_lookup_num_tokens=prompt_lookup_num_tokens,
        )
        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        return generate(
            self.model, self.tokenizer, rows, resolve_strategy(strategy, self.depths), settings, on_text
        )

    def iter_generate(
        self,
        prompts: Sequence[str],
        strategy: Strategy = Vanilla(),  # noqa: B008
        *,
        batch_size: int | None = None,
        max_new_tokens: int = 64,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        num_beams: int = 1,
        repetition_penalty: float = 1.0,
        stop: Stop | Sequence[Stop] = (),
        seed: int | None = None,
        prompt_lookup_num_tokens: int | None = None,
    ) -> Iterator[tuple[int, Generation]]:
        """Continue many prompts in batches: each prompt's index and continuation, as its batch is done.

        Prompts of about the same length share a batch, the longest come first. What all prompts begin with
        (a few-shot prompt) is read once, and every batch goes on from it, where the model keeps nothing but
        keys and values. A prompt's tokens are those it has alone, its scores too but for rounding (1e-4 in
        float32); rows of different lengths share a batch only in architectures of which that is known: not
        of unlisted ones, of RecurrentGemma, nor where rotary embeddings depend on the text's length.

        Between two batches the model is as it was: no strategy is attached, and any thread may use it.

        Args:
            batch_size: prompts in one batch; None: 8 on a CPU, 32 on CUDA. Halved when memory runs out.
            seed: as in `generate`, and the same texts, whatever the batch size and the order. A prompt given
                several times is drawn several times, the first of them what it is drawn alone.
            prompt_lookup_num_tokens: as in `generate`; prompts are then continued one by one.

        The other settings are those of `generate`.

        Raises:
            DataError: an empty prompt, or one that leaves no room in the model's context.
            LayerError: a layer that the model lacks.
            ModelError: a strategy is attached to the model already.
            NumericsError: NaN or infinity where the model or its head is read.
            StrategyError: settings that do not go together.
        """
        settings = GenerationSettings(
            max_new_tokens=max_new_tokens,
            do_sample=do_sample,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            num_beams=num_beams,
            repetition_penalty=repetition_penalty,
            stop=(stop,) if isinstance(stop, str | re.Pattern) else tuple(stop),
            seed=seed,
            prompt_lookup_num_tokens=prompt_lookup_num_tokens,
        )
        resolved = resolve_strategy(strategy, self.depths)
        return iter_generate(self.model, self.tokenizer, list(prompts), resolved, settings, batch_size)

    def trace(
        self,
        text: str,
        strategy: Strategy,
        *,
        top_k: int = 5,
        prompt_length: int = 0,
        continuation: Sequence[int] = (),
    ) -> Trace:
        """Why each token of a text got its score: the layer contrasted, divergences, layers' best tokens.

        Args:
            top_k: how many of each layer's most probable tokens to keep.
            prompt_length: tokens at the start to leave out of the result.
            continuation: token ids that follow the text, as `Generation.token_ids`; where given, they alone
                are in the result. Their decoded text need not have the same tokens.
        """
        return trace_text(
            self.model,
            self.tokenizer,
            text,
            strategy,
            top_k=top_k,
            prompt_length=prompt_length,
            continuation=continuation,
        )

    def loglikelihood(
        self,
        requests: Sequence[Request],
        strategies: Sequence[Strategy],
        *,
        truncate: bool = False,
        batch_tokens: int | None = None,
    ) -> list[Scored]:
        """Score every continuation of every prompt with every strategy, all from the same forward passes.

            lm.loglikelihood([("The capital of France is", [" Paris.", " Rome."])], [Vanilla(), DoLa("high")])

        What texts begin with in common is read once. Scores depend neither on the order of the requests, nor
        on what is scored beside them, nor on `batch_tokens`, but for rounding (1e-4 in float32).

        Args:
            requests: prompts, each with its continuations as they follow it, a leading space included. The
                tokens scored are those of prompt and continuation tokenised together.
            truncate: cut texts that are longer than the model's context on the left, never a continuation.
            batch_tokens: tokens in one forward pass; None adapts to the device. Halved when memory runs out.

        Raises:
            DataError: an empty prompt or continuation, or a text longer than the context without `truncate`.
            LayerError: a layer that the model lacks.
            NumericsError: NaN or infinity where the texts are read.
        """
        done = dict(
            self.iter_loglikelihood(requests, strategies, truncate=truncate, batch_tokens=batch_tokens)
        )
        return [done[index] for index in range(len(requests))]

    def iter_loglikelihood(
        self,
        requests: Sequence[Request],
        strategies: Sequence[Strategy],
        *,
        truncate: bool = False,
        batch_tokens: int | None = None,
    ) -> Iterator[tuple[int, Scored]]:
        """As `loglikelihood`: each request's index and result, as soon as it is done.

        Between two items the model is as it was, and any thread may use it.
        """
        return iter_loglikelihood(
            self.model, self.tokenizer, requests, strategies, truncate=truncate, batch_tokens=batch_tokens
        )

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A conversation as the text that the model was tuned to continue, by its own chat template.

        Raises:
            ModelError: the model has no chat template, or one that refuses these messages or does not end.
        """
        text = render_chat(self.tokenizer, messages, str(self.name))
        bos = self.tokenizer.bos_token
        # Where the template writes the token that the tokenizer adds by itself, one is enough.
        ids = self.tokenizer(text)["input_ids"]
        doubled = bos and len(ids) > 1 and ids[0] == ids[1] == self.tokenizer.bos_token_id
        return text.removeprefix(str(bos)) if doubled else text


def load(
    name: str,
    *,
    dtype: str | None = None,
    device: str = "auto",
    num_gpus: int | str = 1,
    max_gpu_memory: int = 27,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] = _silent,
) -> LanguageModel:
    """Load a model: an alias (`smollm2`), a hub id, a local folder, or a .gguf file.

    Args:
        dtype: `float32`, `bfloat16`, `float16` or `auto` (as saved); None: float32 on the CPU, elsewhere as
            saved (bfloat16 that the device lacks: float32).
        device: `auto` (CUDA, else mps, where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        num_gpus: 1, more, or `auto`: as the released `--num-gpus`.
        max_gpu_memory: GiB a GPU may be filled with when there are several; the released `--max_gpu_memory`.
        trust_remote_code: run code that comes with the model.
        progress: is told what takes time (a download, the first unpacking), and the dtype that was taken.

    Raises:
        ModelError: not found, not reachable, not a decoder-only language model, or no such device.
    """
    placement = Placement(device=device, dtype=dtype, num_gpus=num_gpus, max_gpu_memory=max_gpu_memory)
    source = find_source(name, progress=progress)
    load_depth(source, trust_remote_code=trust_remote_code)
    model, tokenizer = load_model(source, placement, trust_remote_code=trust_remote_code, progress=progress)
    return LanguageModel(model, tokenizer, name)


def depth_of_model(
    name: str, *, trust_remote_code: bool = False, progress: Callable[[str], None] = _silent
) -> Depth:
    """How deep a model is, from its configuration alone (an alias is fetched first)."""
    return load_depth(find_source(name, progress=progress), trust_remote_code=trust_remote_code)
