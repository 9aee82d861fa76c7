"""A model and its tokenizer under one roof: text in; text, scores and reasons out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Unpack

from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.generation.streamers import BaseStreamer

from dola.hosts.transformers.batches import iter_generate
from dola.hosts.transformers.chat_template import render_chat
from dola.hosts.transformers.generation import Generation, generate
from dola.hosts.transformers.host_settings import HostSettings, read_settings
from dola.hosts.transformers.participants import Participants
from dola.hosts.transformers.prompt_forms import Form, read_forms
from dola.hosts.transformers.stopping import Stop
from dola.models.parts import depth_of
from dola.models.vocabulary import check_vocabulary, pad_with_known
from dola.scoring.loglikelihood import iter_loglikelihood
from dola.scoring.result import Scored
from dola.scoring.tokens import Request
from dola.scoring.trace import Trace, trace_text
from dola.strategies import OWN, Depth, Depths, Strategy, Vanilla, resolve_strategy

__all__ = ["Generation", "LanguageModel", "Trace"]


class LanguageModel:
    """A causal language model with its tokenizer, decoded with any strategy.

    Made by `dola.load`, or from a model and a tokenizer that are loaded already; a tokenizer that has no
    padding token, or one that the model lacks, is given one. A text with a token that the model lacks is
    refused (ModelError), and so is a tokenizer of another vocabulary.

    A strategy may be given by its text form: `"high"`, `"sled:low:rate=2"` (`dola.parse_strategy`).

    Several threads may use it, and others made of the same model: they wait for each other's batches. None
    may attach a strategy to the model meanwhile.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, name: str = "") -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model.config.name_or_path
        self.depth: Depth = depth_of(model.config)
        self.depths: Depths = {OWN: self.depth}
        check_vocabulary(model, tokenizer)
        pad_with_known(model, tokenizer)

    def generate(
        self,
        prompts: Form | Sequence[Form],
        strategy: Strategy | str = Vanilla(),  # noqa: B008
        *,
        generation_config: GenerationConfig | None = None,
        stop: Stop | Sequence[Stop] | None = None,
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        streamer: BaseStreamer | None = None,
        logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None = None,
        assistant_model: PreTrainedModel | None = None,
        **settings: Unpack[HostSettings],
    ) -> list[Generation]:
        """Continue each prompt; the prompts form one batch, whose rows never influence each other.

        Of models that padding changes (`iter_generate` says which), and with settings that look at a row's
        tokens (`no_repeat_ngram_size`, ...), each length of prompt forms one.

            lm.generate("The capital of France is", "high", max_new_tokens=20, repetition_penalty=1.2)
            lm.generate([{"role": "user", "content": "Hi"}], do_sample=True, min_p=0.1, seed=7)

        Args:
            prompts: a text, token ids (special tokens included), or a conversation (messages with `role` and
                `content`, written by the model's chat template); or a list of any of these.
            generation_config: settings to begin with; `lm.model.generation_config` for the model's own, of
                which otherwise only the end of sequence is taken, so that two strategies differ in nothing
                but the strategy.
            stop: strings that end a continuation, or patterns (`re.compile`), for a place that no string says
                ("Q:" at the start of a line); it is cut before the first of them. What a pattern finds must
                not change as the text grows, and it may not be streamed.
            seed: of the sampling, in 0..2**32 - 1. A prompt is drawn the same text with the same seed and
                settings, whatever prompts are beside it (but for rounding, where two tokens come out even);
                a prompt given twice is drawn twice. With beams a batch is drawn as a whole. No process-wide
                generator is touched. None: a seed that PyTorch's process-wide generator gives.
            on_text: called with the text as it is generated. One prompt, no beams. It must not use this
                model, which is in the middle of a batch, nor wait for a thread that does.
            streamer: the host's, given every token, a stop string's too; its end comes also after an error.
            logits_processor: of one's own, called at each step with the batch as the host has it (padded on
                the left), after the settings' and before temperature, top-k and the draw.
            assistant_model: a smaller one of the same vocabulary that guesses ahead; the tokens are those
                without it, drawn ones too. One prompt only, as for `prompt_lookup_num_tokens`.
            settings: any of the host's `GenerationConfig`, by keyword, which count more than
                `generation_config`: `HostSettings` has those that are served. Unless they are set, 64 new
                tokens, each the most probable.

        Returns:
            A continuation of each prompt; with `num_return_sequences` so many of the first, then of the next.

        Raises:
            DataError: no prompt, an empty one, or one that leaves no room in the model's context.
            LayerError: a layer that the model lacks.
            ModelError: a strategy is attached to the model already, or `on_text` calls this.
            NumericsError: NaN or infinity where the model or its head is read.
            StrategyError: no such strategy, no such setting, one that is not served, or settings that do not
                go together.
        """
        others = Participants.of(
            logits_processor, streamer=streamer, on_text=on_text, assistant=assistant_model
        )
        with others.heard_out():
            asked = read_settings(settings, generation_config, stop=stop, seed=seed)
            resolved = resolve_strategy(strategy, self.depths)
            rows = read_forms(prompts, self.chat_prompt)
            return generate(self.model, self.tokenizer, rows, resolved, asked, others)

    def iter_generate(
        self,
        prompts: Form | Sequence[Form],
        strategy: Strategy | str = Vanilla(),  # noqa: B008
        *,
        batch_size: int | None = None,
        generation_config: GenerationConfig | None = None,
        stop: Stop | Sequence[Stop] | None = None,
        seed: int | None = None,
        **settings: Unpack[HostSettings],
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
            settings: as in `generate`. With `num_return_sequences` each prompt's index comes so often; with
                `prompt_lookup_num_tokens` prompts are continued one by one.

        The others are those of `generate`.

        Raises:
            DataError: no prompt, an empty one, or one that leaves no room in the model's context.
            LayerError: a layer that the model lacks.
            ModelError: a strategy is attached to the model already.
            NumericsError: NaN or infinity where the model or its head is read.
            StrategyError: no such strategy, no such setting, one that is not served, or settings that do not
                go together.
        """
        asked = read_settings(settings, generation_config, stop=stop, seed=seed)
        resolved = resolve_strategy(strategy, self.depths)
        rows = read_forms(prompts, self.chat_prompt)
        return iter_generate(self.model, self.tokenizer, rows, resolved, asked, batch_size)

    def trace(
        self,
        text: str,
        strategy: Strategy | str,
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
        strategies: Strategy | str | Sequence[Strategy | str],
        *,
        truncate: bool = False,
        batch_tokens: int | None = None,
    ) -> list[Scored]:
        """Score every continuation of every prompt with every strategy, all from the same forward passes.

            lm.loglikelihood([("The capital of France is", [" Paris.", " Rome."])], ["-1", DoLa("high")])

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
        strategies: Strategy | str | Sequence[Strategy | str],
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

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]]) -> str:
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
