"""The host's own settings, by its own names: which are served, which are not and why, and what counts first.

    dola's defaults  <  generation_config=  <  keywords

Of what a model brings along (its `generation_config.json`) only the end of sequence is taken: whoever wants
all of it says `generation_config=lm.model.generation_config`. A setting of None says nothing.
"""

import difflib
import numbers
import typing
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType, UnionType
from typing import Any, TypedDict, get_args, get_origin

from transformers import GenerationConfig

from dola.errors import StrategyError, in_one_line
from dola.hosts.transformers.settings import GenerationSettings
from dola.hosts.transformers.stopping import Stop


class HostSettings(TypedDict, total=False):
    """The settings of the host's `GenerationConfig` that are served; they mean what they mean there.

    `num_return_sequences` gives that many `Generation`s for each prompt, one after the other: drawn ones are
    drawn each for itself, beams come best first. `max_length` and `min_length` count a prompt's own tokens,
    never padding. `top_k` is 0 (none) where nobody says otherwise, and not the host's 50.
    """

    # How long.
    max_new_tokens: int | None
    max_length: int | None
    min_new_tokens: int | None
    min_length: int | None
    eos_token_id: int | Sequence[int] | None
    pad_token_id: int | None
    stop_strings: str | Sequence[str] | None
    # How a token is chosen.
    do_sample: bool | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    top_h: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    num_return_sequences: int | None
    # Beams.
    num_beams: int | None
    early_stopping: bool | str | None
    length_penalty: float | None
    # What is made of the scores before.
    repetition_penalty: float | None
    encoder_repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    encoder_no_repeat_ngram_size: int | None
    bad_words_ids: Sequence[Sequence[int]] | None
    suppress_tokens: Sequence[int] | None
    begin_suppress_tokens: Sequence[int] | None
    forced_eos_token_id: int | Sequence[int] | None
    exponential_decay_length_penalty: tuple[int, float] | None
    sequence_bias: Any
    watermarking_config: Any
    renormalize_logits: bool | None
    # Guessing ahead.
    prompt_lookup_num_tokens: int | None
    max_matching_ngram_size: int | None
    # How the host works: the texts are the same.
    use_cache: bool | None
    cache_implementation: str | None
    max_cache_len: int | None
    disable_compile: bool | None
    compile_config: Any
    prefill_chunk_size: int | None


SERVED = frozenset(HostSettings.__annotations__)

_GONE = "transformers does this no more but by code from the hub: give model.generate a custom_generate"
_RECORDED = "a Generation has each token's score and layer; lm.trace shows what they come of, attach the rest"
_ENCODER = "it is of models with an encoder"
_ASSISTANT = "set it on the assistant model's own generation_config, where the host reads it"

# By name: why not, and with what values it asks for nothing.
REFUSED: Mapping[str, tuple[str, tuple[object, ...]]] = MappingProxyType(
    {
        "max_time": ("a text would depend on how fast the machine is; limit max_new_tokens", ()),
        "guidance_scale": (
            "its second pass, without the prompt, has no place beside contrasted layers",
            (1,),
        ),
        "remove_invalid_values": (
            "what is no number is an error here (NumericsError), never hidden",
            (False,),
        ),
        "token_healing": ("it changes the prompt's last token; leave out what is to be healed", (False,)),
        "forced_bos_token_id": (f"{_ENCODER}; write the token into the prompt", ()),
        "decoder_start_token_id": (_ENCODER, ()),
        "bos_token_id": (
            "it begins empty prompts alone, which are refused; the tokenizer writes its own",
            (),
        ),
        "output_attentions": (_RECORDED, (False,)),
        "output_hidden_states": (_RECORDED, (False,)),
        "output_scores": (_RECORDED, (False,)),
        "output_logits": (_RECORDED, (False,)),
        "return_dict_in_generate": ("a list of Generation is returned", (False,)),
        "dola_layers": ("give the strategy itself: lm.generate(prompt, dola.DoLa('high'))", ()),
        "low_memory": (_GONE, (False,)),
        "penalty_alpha": (_GONE, (0,)),
        "diversity_penalty": (_GONE, (0,)),
        "num_beam_groups": (_GONE, (1,)),
        "constraints": (_GONE, ()),
        "force_words_ids": (_GONE, ()),
        "use_mtp": ("a model's own guesses ahead are of its plain scores", (False,)),
        "assistant_early_exit": ("drafts would come of the first layers alone; give an assistant_model", ()),
        "assistant_ensemble_weight": ("the tokens would be another's mixture, and no strategy's", ()),
        "speculation_type": ("drafts come of an assistant_model or prompt_lookup_num_tokens", ()),
        "is_assistant": (_ASSISTANT, (False,)),
        "num_assistant_tokens": (_ASSISTANT, (20,)),
        "num_assistant_tokens_schedule": (_ASSISTANT, ("constant",)),
        "assistant_confidence_threshold": (_ASSISTANT, (0.4,)),
        "assistant_lookbehind": (_ASSISTANT, (10,)),
        "target_lookbehind": (_ASSISTANT, (10,)),
        "cache_config": ("its caches keep approximate numbers, other ones under other padding", ()),
        "continuous_batching_config": ("iter_generate makes the batches: give it a batch_size", ()),
    }
)

# What other calls of the host take, and ours do not.
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "logits_processor": "it may hold what it has seen, and there are several batches: generate takes it",
        "streamer": "one text at a time can be streamed: generate takes it",
        "assistant_model": "generate takes it, a prompt at a time",
        "on_text": "one text at a time can be streamed: generate takes it",
        "stopping_criteria": "stop= ends a text at strings and patterns, max_new_tokens at a length",
        "prefix_allowed_tokens_fn": "give generate a PrefixConstrainedLogitsProcessor as logits_processor",
        "tokenizer": "it is the model's: dola.LanguageModel(model, tokenizer)",
        "custom_generate": "a strategy is given as one: lm.generate(prompt, dola.DoLa('high'))",
        "negative_prompt_ids": "guidance is not served",
        "input_ids": "give token ids as the prompt",
        "attention_mask": "prompts are padded here: give each without",
        "batch_size": "iter_generate takes it; generate makes one batch",
    }
)

# In a configuration, of no meaning to a call: who wrote it, and what begins an empty prompt.
_SILENT = frozenset({"transformers_version", "bos_token_id", "decoder_start_token_id"})

# Caches that change the numbers, or the whole way of working.
_OTHER_NUMBERS = ("quantized", "paged")

# By name: what it needs to have an effect. Those that the released commands always pass are not asked.
_SAMPLING_ONLY = frozenset({"min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"})
_BEAMS_ONLY = frozenset({"early_stopping", "length_penalty"})

_OURS = frozenset(GenerationSettings.__dataclass_fields__) - {"host", "stop", "seed"}


def read_settings(
    given: Mapping[str, Any],
    generation_config: GenerationConfig | None = None,
    *,
    stop: Stop | Sequence[Stop] | None = None,
    seed: int | None = None,
) -> GenerationSettings:
    """The settings of a call, all of which are served.

    Args:
        given: by keyword; they count more than `generation_config`.

    Raises:
        StrategyError: a setting that the host does not know (with the nearest that it does), one that is not
            served (with why), of the wrong type, out of range, or without effect beside the others.
    """
    if generation_config is not None and not isinstance(generation_config, GenerationConfig):
        raise StrategyError(
            "generation_config must be a transformers.GenerationConfig, found"
            f" {type(generation_config).__name__}: give the settings by keyword, or GenerationConfig(...)"
        )
    said = _served(given, "")
    configured: dict[str, Any] = {}
    if generation_config is not None:
        every = {name: value for name, value in _entries(generation_config).items() if name not in _SILENT}
        configured = _served(every, "generation_config: ")
    if "max_new_tokens" in said and "max_length" in said:
        raise StrategyError("max_new_tokens and max_length are two ways to say how long: give one")
    settings = configured | said
    if "max_new_tokens" in said or ("max_new_tokens" in configured and "max_length" not in said):
        settings.pop("max_length", None)
    elif "max_length" in settings:
        settings.pop("max_new_tokens", None)
    _check_types(settings)
    _check_together(settings, said)
    stops = (*_stops(settings.get("stop_strings")), *_stops(stop))
    ours = {name: settings[name] for name in _OURS & settings.keys()}
    host = {name: settings[name] for name in settings.keys() - _OURS - {"stop_strings"}}
    read = GenerationSettings(**ours, stop=stops, seed=seed, host=host)
    _ask_host(settings)
    return read


def _entries(config: GenerationConfig) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if not name.startswith("_")}


def _served(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What says something, and is served."""
    said = {name: value for name, value in given.items() if value is not None}
    known = _entries(GenerationConfig.from_dict({}))
    for name, value in said.items():
        if name in SERVED:
            continue
        why, nothing = REFUSED.get(name, ("", ()))
        if why and value in nothing:
            continue
        if why:
            raise StrategyError(f"{place}{name}={value!r} is not served: {why}")
        if name in known:
            raise StrategyError(f"{place}{name}={value!r} is not served: this dola does not know it yet")
        raise StrategyError(f"{place}{_unknown(name, known)}")
    return {name: value for name, value in said.items() if name in SERVED}


def _unknown(name: str, known: Collection[str]) -> str:
    if name in _ELSEWHERE:
        return f"{name} is not taken here: {_ELSEWHERE[name]}"
    nearest = difflib.get_close_matches(name, [*known, "stop", "seed", *_ELSEWHERE], n=1)
    hint = f": did you mean {nearest[0]!r}?" if nearest else ", nor anything near it"
    return f"there is no setting {name!r} in transformers' GenerationConfig{hint}"


def _check_types(settings: Mapping[str, Any]) -> None:
    hints = typing.get_type_hints(HostSettings)
    for name, value in settings.items():
        if not _fits(value, hints[name]):
            raise StrategyError(f"{name} must be {_in_words(hints[name])}, found {value!r}")


_NUMBERS: Mapping[object, type] = MappingProxyType({int: numbers.Integral, float: numbers.Real})


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) in (typing.Union, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if hint in _NUMBERS:
        return isinstance(value, _NUMBERS[hint]) and not isinstance(value, bool)
    if get_origin(hint) is Sequence:
        (element,) = get_args(hint)
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        return listed and all(_fits(each, element) for each in typing.cast("Sequence[object]", value))
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and len(value) == len(get_args(hint))
    return hint is Any or isinstance(value, hint)


def _in_words(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a string"}
    if get_origin(hint) in (typing.Union, UnionType):
        return " or ".join(_in_words(each) for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is Sequence:
        return f"a list, each of it {_in_words(get_args(hint)[0])}"
    if get_origin(hint) is tuple:
        return "a pair: (tokens, factor)"
    return words.get(hint, str(hint))


def _check_together(settings: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    if settings.get("cache_implementation") in _OTHER_NUMBERS:
        raise StrategyError(
            f"cache_implementation={settings['cache_implementation']!r} is not served: its numbers would"
            " depend on what is beside a prompt; attach the strategy, and call model.generate"
        )
    beams = settings.get("num_beams", 1) > 1
    for names, fine, needed in (
        (_SAMPLING_ONLY, settings.get("do_sample", False), "do_sample=True"),
        (_BEAMS_ONLY, beams, "num_beams above 1"),
    ):
        idle = [name for name in said if name in names and not fine]
        if idle:
            raise StrategyError(f"{idle[0]}={said[idle[0]]!r} has no effect without {needed}")


def _ask_host(settings: Mapping[str, Any]) -> None:
    config: Any = GenerationConfig.from_dict({})
    try:
        config.update(**settings)
    except (TypeError, ValueError, AttributeError) as error:
        raise StrategyError(f"transformers refuses these settings: {in_one_line(error)}") from error


def _stops(stop: Stop | Sequence[Stop] | None) -> Sequence[Stop]:
    if stop is None:
        return ()
    return stop if isinstance(stop, list | tuple) else (typing.cast("Stop", stop),)
