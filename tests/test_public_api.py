"""The public names and their signatures: a change here is a change that users see."""

import inspect
import subprocess
import sys

import dola

SIGNATURES = {
    "Comparison": "(task_title, data_sha256, examples, files, metrics, binary, rows, findings, notes)",
    "Result": "(kind, manifest, environment, settings, metrics, binary, counts, findings, rows, strategies,"
    " examples, tuning=None, rating=None, spec=None, released=<factory>, extra=<factory>)",
    "RunSpec": None,
    "compare": "(results, *, names=())",
    "endpoint_settings": None,
    "evaluate": "(task, *, model='smollm2', strategies=('-1',), output=None, overwrite=False, executor=None,"
    " progress=True, **settings)",
    "merge": "(results)",
    "rate": "(answers, *, truth, info, endpoint=None, device='auto', dtype=None, verdicts=None,"
    " ask_malformed_again=False, overwrite=False, progress=True)",
    "report": "(results, path, *, against=None, paper_model=None)",
    "tune": "(task, *, model='smollm2', strategy=None, buckets=(), metric=None, output=None, overwrite=False,"
    " progress=True, **settings)",
    "Attachment": "(model, strategies)",
    "Contrast": "(scores, premature=None, details=<factory>)",
    "DataError": "(message, *, path=None, line=None, column=None)",
    "DeLTa": "(M, L, alpha=0.1, filter_value=None)",
    "Depth": "(num_layers, tied_embeddings)",
    "DoLa": "(candidate_premature_layers, *, mature_layer=None, alpha=0.1, early_exit_norm=None,"
    " post_softmax=False, filter_value=None, divergence='released')",
    "DoLaStatic": "(premature_layer, *, mature_layer=None, alpha=0.1, early_exit_norm=None,"
    " post_softmax=False, filter_value=None)",
    "DolaError": None,
    "Exit": "(layer, norm=False, stream='')",
    "ExitLogits": "(logits, reads)",
    "Explanation": "(reads, details)",
    "Generation": "(prompt, text, token_ids, scores, premature_layers, finish_reason, raw_text,"
    " prompt_tokens, left_out=0)",
    "LanguageModel": "(model, tokenizer, name='')",
    "JudgeError": None,
    "LayerError": None,
    "MissingExtraError": "(feature, extra)",
    "ModelError": None,
    "NumericsError": None,
    "Read": "(exits, weights=(1.0,))",
    "ResolvedStrategy": "(strategy, reads, contrast, normalised, candidates=(), explanation=None,"
    " plain=False)",
    "RunError": None,
    "SLED": "(candidate_premature_layers='all', mature_layer=None, rate=2.0, scale=10, steps=1,"
    " early_exit_norm=False, post_softmax=True, filter_value=None)",
    "Strategy": "()",
    "StrategyError": None,
    "Trace": "(text, strategy, mature_layer, tokens)",
    "Vanilla": "(mature_layer=None)",
    "WeightsError": None,
    "__version__": None,
    "attach": "(model, strategy)",
    "custom_generate": "(model, input_ids, logits_processor, stopping_criteria, generation_config,"
    " inputs_tensor=None, *, dola_layers=None, relative_top=None, mature_layer=None, early_exit_norm=None,"
    " divergence=None, post_softmax=None, filter_value=None, strategy=None, dola_stop_strings=None,"
    " dola_tokenizer=None, **model_kwargs)",
    "find_strategy": "(name)",
    "load": "(name, *, dtype=None, device='auto', num_gpus=1, max_gpu_memory=27, device_map=None,"
    " attn_implementation=None, quantization_config=None, adapter=None, tokenizer=None, revision=None,"
    " token=None, subfolder='', trust_remote_code=False, progress=_silent)",
    "parse_strategy": "(text)",
}

METHODS = {
    "generate": "(self, prompts, strategy=Vanilla(mature_layer=None), *, generation_config=None, stop=None,"
    " seed=None, on_text=None, streamer=None, logits_processor=None, assistant_model=None, **settings)",
    "iter_generate": "(self, prompts, strategy=Vanilla(mature_layer=None), *, batch_size=None,"
    " generation_config=None, stop=None, seed=None, **settings)",
    "trace": "(self, text, strategy, *, top_k=5, prompt_length=0, continuation=())",
    "chat_prompt": "(self, messages)",
    "loglikelihood": "(self, requests, strategies, *, truncate=False, batch_tokens=None)",
    "iter_loglikelihood": "(self, requests, strategies, *, truncate=False, batch_tokens=None)",
}


def signature(function: object) -> str:
    """Names, kinds and defaults; annotations are for readers and type checkers."""
    assert callable(function)
    parameters = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=_Name(parameter.default) if inspect.isfunction(parameter.default) else parameter.default,
        )
        for parameter in inspect.signature(function).parameters.values()
    ]
    return str(inspect.Signature(parameters))


class _Name:
    def __init__(self, function: object) -> None:
        self._text = getattr(function, "__name__", "")

    def __repr__(self) -> str:
        return self._text


def test_the_public_names_are_these_and_no_others() -> None:
    assert sorted(dola.__all__) == sorted(SIGNATURES)
    assert set(dir(dola)) == set(SIGNATURES)


def test_public_signatures_are_frozen() -> None:
    for name, expected in SIGNATURES.items():
        if expected is not None:
            assert signature(getattr(dola, name)) == expected, name
    for name, expected in METHODS.items():
        assert signature(getattr(dola.LanguageModel, name)) == expected, name


def test_importing_dola_loads_neither_torch_nor_transformers() -> None:
    code = "import dola, sys; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
