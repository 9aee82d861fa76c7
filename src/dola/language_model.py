"""A model and its tokenizer under one roof: text in; text, scores and reasons out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, set_seed
from transformers import PreTrainedTokenizerBase as Tokenizer

from dola.errors import DataError, ModelError, StrategyError
from dola.hosts.recording import ChosenTokens, StepRecord, StepScores
from dola.hosts.stopping import StopStrings, cut_at_stop
from dola.hosts.streaming import CallbackStreamer
from dola.hosts.transformers import Attachment, attach
from dola.models.loading import find_source, load_depth, load_model
from dola.models.parts import depth_of
from dola.models.placement import Placement
from dola.scoring.trace import Trace, trace_text
from dola.strategies import Depth, Strategy, Vanilla

_SILENT: Callable[[str], None] = lambda line: None  # noqa: E731


@dataclass(frozen=True)
class Generation:
    """One continuation of one prompt.

    Attributes:
        text: the continuation, without special tokens, cut before the first stop string.
        token_ids: every token that was generated, an end-of-sequence token or a stop string's included.
        scores: of each token, what it was chosen by: the strategy's score (a logit for vanilla) after
            repetition penalty and other processors, before temperature, top-k and top-p.
        premature_layers: the layer that each token was contrasted with; None for vanilla.
        finish_reason: `stop` (end of sequence or a stop string) or `length`.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    scores: tuple[float, ...]
    premature_layers: tuple[int, ...] | None
    finish_reason: Literal["stop", "length"]


class LanguageModel:
    """A causal language model with its tokenizer, decoded with any strategy.

    Made by `dola.load`, or from a model and a tokenizer that are loaded already.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, name: str = "") -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model.config.name_or_path
        self.depth: Depth = depth_of(model.config)

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
        stop: Sequence[str] = (),
        seed: int | None = None,
        prompt_lookup_num_tokens: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        """Continue each prompt; the prompts form one batch, whose rows never influence each other.

        The names are Hugging Face's. Nothing is taken from the model's own generation defaults but its end
        of sequence, so that two strategies differ in nothing but the strategy.

        Args:
            stop: strings that end a continuation; it is cut before the first of them.
            seed: of the sampling; the same seed, prompts and settings give the same text.
            prompt_lookup_num_tokens: guess this many tokens from the prompt at a time and verify them in one
                pass; the tokens are those of plain greedy decoding. One prompt only.
            on_text: called with the text as it is generated. One prompt, no beams.

        Raises:
            DataError: an empty prompt, or one that leaves no room in the model's context.
            LayerError: a layer that the model lacks.
            StrategyError: settings that do not go together.
        """
        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        if not rows:
            return []
        strategy = strategy.resolve(self.depth)
        if on_text is not None and (len(rows) > 1 or num_beams > 1):
            raise StrategyError("text can be streamed for one prompt at a time, and without beams")
        inputs = self._encode(rows, max_new_tokens)
        config = self._generation_config(
            max_new_tokens, do_sample, temperature, top_p, top_k, num_beams, repetition_penalty
        )
        config.prompt_lookup_num_tokens = prompt_lookup_num_tokens
        if seed is not None:
            set_seed(seed)
        if isinstance(strategy, Vanilla):
            return self._decode(rows, inputs, config, stop, on_text, None)
        with attach(self.model, strategy) as attachment:
            return self._decode(rows, inputs, config, stop, on_text, attachment)

    def trace(
        self,
        text: str,
        strategy: Strategy,
        *,
        top_k: int = 5,
        prompt_length: int = 0,
        continuation: Sequence[int] = (),
    ) -> Trace:
        """Why each token of a text got its score: the layer contrasted, divergences, each layer's best tokens.

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

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A conversation as the text that the model was tuned to continue, by its own chat template.

        Raises:
            ModelError: the model has no chat template.
        """
        if self.tokenizer.chat_template is None:
            raise ModelError(f"{self.name} has no chat template: it is a base model; give it a plain prompt")
        text = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
        bos = self.tokenizer.bos_token
        # Where the template writes the token that the tokenizer adds by itself, one is enough.
        ids = self.tokenizer(text)["input_ids"]
        doubled = bos and len(ids) > 1 and ids[0] == ids[1] == self.tokenizer.bos_token_id
        return str(text.removeprefix(bos) if doubled else text)

    def _encode(self, prompts: Sequence[str], max_new_tokens: int) -> dict[str, Tensor]:
        """Prompts as left-padded ids `[B, T]` and their mask, on the model's device."""
        encoded = self.tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
        lengths = encoded["attention_mask"].sum(1).tolist()
        context = getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        for number, length in enumerate(lengths, start=1):
            if length == 0:
                raise DataError(f"prompt {number} is empty: expected at least one token")
            if context is not None and length + max_new_tokens > context:
                raise DataError(
                    f"prompt {number} has {length} tokens, and {max_new_tokens} more are to be generated: the"
                    f" context of {self.name} holds {context}"
                )
        device = self.model.get_input_embeddings().weight.device
        return {key: encoded[key].to(device) for key in ("input_ids", "attention_mask")}

    def _generation_config(
        self,
        max_new_tokens: int,
        do_sample: bool,
        temperature: float,
        top_p: float,
        top_k: int,
        num_beams: int,
        repetition_penalty: float,
    ) -> GenerationConfig:
        own = self.model.generation_config
        sampling: dict[str, Any] = (
            {"temperature": temperature, "top_p": top_p, "top_k": top_k} if do_sample else {}
        )
        return GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=do_sample,
            num_beams=num_beams,
            repetition_penalty=repetition_penalty,
            eos_token_id=own.eos_token_id if own.eos_token_id is not None else self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_scores=num_beams > 1,
            **sampling,
        )

    def _decode(
        self,
        prompts: Sequence[str],
        inputs: dict[str, Tensor],
        config: GenerationConfig,
        stop: Sequence[str],
        on_text: Callable[[str], None] | None,
        attachment: Attachment | None,
    ) -> list[Generation]:
        start = inputs["input_ids"].shape[1]
        record = StepRecord()
        steps = StepScores(record, attachment)
        criteria: list[StoppingCriteria] = [ChosenTokens(record, steps)]
        if stop:
            criteria.append(StopStrings(self.tokenizer, stop, start))
        output = self.model.generate(
            **inputs,
            generation_config=config,
            logits_processor=[steps],
            stopping_criteria=criteria,
            streamer=None if on_text is None else CallbackStreamer(self.tokenizer, on_text, stop),
        )
        scores, premature = _per_token(output, record, start)
        candidates = () if attachment is None else attachment.strategy.candidates
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        generations = []
        for row, prompt in enumerate(prompts):
            ids = output.sequences[row, start:].tolist()
            length, text, finished = self._end(ids, [end for end in ends if end is not None], stop)
            layers = None
            if premature is not None:
                layers = tuple(candidates[index] for index in premature[row, :length].tolist())
            generations.append(
                Generation(
                    prompt=prompt,
                    text=text,
                    token_ids=tuple(ids[:length]),
                    scores=tuple(scores[row, :length].tolist()),
                    premature_layers=layers,
                    finish_reason="stop" if finished else "length",
                )
            )
        return generations

    def _end(self, ids: list[int], ends: Sequence[int], stop: Sequence[str]) -> tuple[int, str, bool]:
        """How many of a row's tokens are its own, their text up to a stop string, and whether it finished."""
        length = next((at + 1 for at, token in enumerate(ids) if token in ends), len(ids))
        ended = length > 0 and ids[length - 1] in ends
        text, stopped = cut_at_stop(self._text(ids[:length]), stop)
        if stopped:
            # The text only grows with the tokens, so the token that completed a stop string is found by halving.
            low, high = 1, length
            while low < high:
                middle = (low + high) // 2
                found = cut_at_stop(self._text(ids[:middle]), stop)[1]
                low, high = (low, middle) if found else (middle + 1, high)
            length = low
        return length, text, ended or stopped

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _per_token(output: Any, record: StepRecord, start: int) -> tuple[Tensor, Tensor | None]:
    """Scores `[B, n]` and chosen candidates `[B, n]` of the generated tokens."""
    lengths = range(start, output.sequences.shape[1])
    beams = getattr(output, "beam_indices", None)
    if beams is None:
        premature = torch.stack([record.premature[n] for n in lengths], 1) if record.premature else None
        return torch.stack([record.scores[n] for n in lengths], 1), premature
    # Which running beam each token of a finished sequence came from; -1 past its end.
    source = beams[:, : len(lengths)].clamp(min=0)
    tokens = output.sequences[:, start:]
    scores = torch.stack(
        [step[source[:, at], tokens[:, at]] for at, step in enumerate(output.scores[: len(lengths)])], 1
    )
    if not record.premature:
        return scores, None
    return scores, torch.stack([record.premature[n][source[:, at]] for at, n in enumerate(lengths)], 1)


def load(
    name: str,
    *,
    dtype: str | None = None,
    device: str = "auto",
    num_gpus: int | str = 1,
    max_gpu_memory: int = 27,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] = _SILENT,
) -> LanguageModel:
    """Load a model: an alias (`smollm2`), a hub id, a local folder, or a .gguf file.

    Args:
        dtype: `float32`, `bfloat16`, `float16` or `auto` (as saved); None: float16 on CUDA, else float32, as released.
        device: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        num_gpus: 1, more, or `auto`: as the released `--num-gpus`.
        max_gpu_memory: GiB a GPU may be filled with when there are several; the released `--max_gpu_memory`.
        trust_remote_code: run code that comes with the model.
        progress: is told what takes time: a download, the first unpacking.

    Raises:
        ModelError: not found, not reachable, not a decoder-only language model, or no such device.
    """
    placement = Placement(device=device, dtype=dtype, num_gpus=num_gpus, max_gpu_memory=max_gpu_memory)
    source = find_source(name, progress=progress)
    load_depth(source, trust_remote_code=trust_remote_code)
    model, tokenizer = load_model(source, placement, trust_remote_code=trust_remote_code)
    return LanguageModel(model, tokenizer, name)


def depth_of_model(
    name: str, *, trust_remote_code: bool = False, progress: Callable[[str], None] = _SILENT
) -> Depth:
    """How deep a model is, from its configuration alone (an alias is fetched first)."""
    return load_depth(find_source(name, progress=progress), trust_remote_code=trust_remote_code)
