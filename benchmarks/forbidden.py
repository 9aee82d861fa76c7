"""Answers with a token that no rule would choose, under settings of the host that forbid tokens.

    python benchmarks/forbidden.py --data TruthfulQA.csv --questions 100    # the table of docs/defaults.md

A step follows the rules if it takes, of the tokens that the settings allow, a plausible one (p at least alpha
times the likeliest's), or, where none is plausible, the likeliest. What is allowed is asked of the host's
processors on scores of zero, and p of the states that the host hands to the head of its own: nothing of
dola's decides the verdict, so the same file measures an older version (`PYTHONPATH=old/src`).
"""

import argparse
import csv
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, logging

import dola

ALPHA = 0.1


class OnlyBrace(LogitsProcessor):
    """What a grammar does at the first token of an answer in JSON."""

    def __init__(self, token: int, start: int) -> None:
        self.token, self.start = token, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] > self.start:
            return scores
        kept = torch.full_like(scores, -math.inf)
        kept[:, self.token] = scores[:, self.token]
        return kept


def settings_of(tokenizer: Any) -> dict[str, dict[str, Any]]:
    """The settings by name; `grammar` stands for a processor of one's own."""
    beginnings = ["The", "I", "It", "There", "In", "A", "Yes", "No", "You", "If"]
    words = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in beginnings]
    return {
        "none": {},
        "repetition_penalty=1.2": {"repetition_penalty": 1.2},
        "no_repeat_ngram_size=2": {"no_repeat_ngram_size": 2},
        "no_repeat_ngram_size=3": {"no_repeat_ngram_size": 3},
        "min_new_tokens=20": {"min_new_tokens": 20},
        "bad_words_ids (10 first words)": {"bad_words_ids": words},
        "suppress_tokens (full stop, comma)": {
            "suppress_tokens": [tokenizer(mark, add_special_tokens=False)["input_ids"][0] for mark in ".,"]
        },
        "a grammar (first token is {)": {"grammar": True},
        "guidance_scale=1.5": {"guidance_scale": 1.5},
    }


def prompts(lm: Any, path: Path, count: int) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        questions = [row["Question"] for row in csv.DictReader(stream)]
    chosen = random.Random(0).sample(questions, count)
    return [lm.chat_prompt([{"role": "user", "content": question}]) for question in chosen]


def batches(lm: Any, texts: Sequence[str], size: int) -> Iterator[dict[str, Tensor]]:
    tokenizer = lm.tokenizer
    tokenizer.padding_side = "left"
    for start in range(0, len(texts), size):
        yield dict(tokenizer(texts[start : start + size], return_tensors="pt", padding=True))


@torch.no_grad()
def derailed(lm: Any, strategy: Any, texts: Sequence[str], settings: Mapping[str, Any], args: Any) -> int:
    """How many of the answers have such a token."""
    found = 0
    for inputs in batches(lm, texts, args.batch_size):
        start = inputs["input_ids"].shape[1]
        asked = {name: value for name, value in settings.items() if name != "grammar"}
        brace = lm.tokenizer("{", add_special_tokens=False)["input_ids"][0]
        own = LogitsProcessorList([OnlyBrace(brace, start)] if "grammar" in settings else [])
        states: list[Tensor] = []
        head = lm.model.get_output_embeddings()
        hook = head.register_forward_pre_hook(
            lambda _module, given, kept=states: kept.append(given[0][:, -1])
        )
        with nullcontext() if strategy is None else dola.attach(lm.model, strategy):
            output = lm.model.generate(
                **inputs, max_new_tokens=args.tokens, do_sample=False, logits_processor=own, **asked
            )
        hook.remove()
        if "guidance_scale" in asked:  # every other pass is the unconditional one
            states = states[::2]
        log_p = torch.log_softmax(linear(torch.stack(states, 1), head.weight).float(), -1)
        broken = breaches(lm, output, inputs, own, asked, log_p, contrasted=strategy is not None)
        found += sum(map(bool, broken))
    return found


def breaches(
    lm: Any,
    output: Tensor,
    inputs: Mapping[str, Tensor],
    own: Any,
    asked: Mapping[str, Any],
    log_p: Tensor,
    *,
    contrasted: bool,
) -> list[int]:
    """Of each row, how many of its tokens break the rules; `log_p` `[B, n, V]` of the model at each step."""
    model, (rows, start) = lm.model, inputs["input_ids"].shape
    config = GenerationConfig(**{**model.generation_config.to_dict(), **asked, "guidance_scale": None})
    config._eos_token_tensor = torch.tensor([config.eos_token_id]).flatten()
    if "repetition_penalty" in asked:  # forbids nothing
        config.repetition_penalty = None
    processors = model._get_logits_processor(
        config, input_ids_seq_length=start, logits_processor=own, device="cpu", model_kwargs=dict(inputs)
    )
    broken = [0] * rows
    ended = torch.zeros(rows, dtype=torch.bool)
    for step in range(output.shape[1] - start):
        allowed = processors(output[:, : start + step], torch.zeros_like(log_p[:, step])) > -1e4
        left = log_p[:, step].masked_fill(~allowed, -math.inf)
        plausible = allowed & (
            log_p[:, step] >= log_p[:, step].amax(-1, keepdim=True) + math.log(ALPHA) - 1e-3
        )
        taken = output[:, start + step]
        fine = plausible[torch.arange(rows), taken]
        if not contrasted:  # vanilla: the likeliest, but for what penalties and guidance make of it
            fine = fine | allowed[torch.arange(rows), taken]
        likeliest = left[torch.arange(rows), taken] >= left.amax(-1) - 1e-3
        fine = fine | (~plausible.any(-1) & likeliest)
        for row in range(rows):
            broken[row] += int(not ended[row] and not fine[row])
        ended |= torch.isin(taken, config._eos_token_tensor)
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="TruthfulQA.csv")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--contrast-only", action="store_true", help="vanilla is the host's, and known")
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    lm = dola.load(args.model, dtype="float32", device="cpu")
    texts = prompts(lm, args.data, args.questions)
    for name, settings in settings_of(lm.tokenizer).items():
        row: dict[str, Any] = {"setting": name, "answers": len(texts)}
        vanilla = [] if args.contrast_only else [("vanilla", None)]
        for label, strategy in (*vanilla, ("high", dola.DoLa("high", alpha=ALPHA))):
            try:
                row[label] = derailed(lm, strategy, texts, settings, args)
            except dola.DolaError as error:
                row[label] = f"refused: {str(error)[:40]}"
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
