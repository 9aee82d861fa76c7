"""Examples a minute of GSM8K's kind: 8 worked examples (~800 tokens), a question, an answer with its steps.

    python benchmarks/generate_tasks.py                    # SmolLM2, float32, 2 threads, made-up texts
    python benchmarks/generate_tasks.py --prompts gsm8k.json --data-path gsm8k_test.jsonl
    python benchmarks/generate_tasks.py --released ../DoLa --python ../old/bin/python

The contenders take turns, so that a slow stretch of the machine hits all of them; a ratio is that of two
rates of the same turn; shown are medians, fewest and most. Each generates `--new-tokens` tokens a prompt,
no more and no fewer: in batches for `--questions` prompts a turn, one by one for `--alone`. What all prompts
begin with is read anew in every turn of ours, and its cost is the last line: a run over a thousand questions
pays it once, so the rates of ours are below a long run's.

The stand-in does what the released code does: one prompt at a time, all of it read again; the head of every
candidate layer on every position that is read; a sort of the vocabulary at every step; scores kept. It leaves
out what that code loses to an older library, and repeats no work within the contrast itself. How close it is
is printed, as a ratio, where the released code is timed beside it (`--released`, a checkout of it, with the
interpreter of an environment that runs it, and a folder of the same weights that it can load). Of its tokens
and of plain transformers' it is said how many prompts have the same as ours.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from released import ReleasedCode, layers_of
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, softmax
from transformers import DynamicCache

import dola
from dola.models.parts import take_apart
from dola.strategies import OWN, resolve_all
from dola.tasks.gsm8k import Gsm8k
from dola.tasks.prompts import load_demonstrations

Tokens = list[tuple[int, ...]]
Turn = Callable[[Sequence[str]], Tokens]

NAMES = ["Ann", "Ben", "Carla", "Dan", "Eve", "Finn", "Gina", "Hugo"]
THINGS = ["apples", "books", "cards", "coins", "eggs", "flowers", "letters", "stamps"]
PLAIN = "plain transformers, batch 1"
STAND_IN = "stand-in for the released DoLa"
PENALTY = 1.2  # which the released script's readme gives DoLa, and which costs the same for all


def made_up_prompts(count: int) -> list[str]:
    """Texts of GSM8K's size: 8 worked examples of some 90 tokens each, and questions of 40 to 80."""
    draw = random.Random(0)

    def question(steps: int) -> str:
        name, thing = draw.choice(NAMES), draw.choice(THINGS)
        more = [
            f"On day {day} {name} gets {draw.randint(2, 60)} more {thing}." for day in range(1, steps + 1)
        ]
        return f"{name} has {draw.randint(2, 60)} {thing}. {' '.join(more)} How many {thing} are there then?"

    def answer() -> str:
        one, two, three = (draw.randint(2, 60) for _ in range(3))
        some, all_ = one + two, one + two + three
        return (
            f"There were {one} at first. Then {two} came, so there were {one} + {two} = {some}. Then {three}"
            f" more came, and {some} + {three} = {all_}. The answer is {all_}."
        )

    shots = "".join(f"Q: {question(2)}\nA: {answer()}\n\n" for _ in range(8))
    return [f"{shots}Q: {question(draw.randint(2, 5))}\nA:" for _ in range(count)]


def prompts_of(args: argparse.Namespace) -> list[str]:
    if args.prompts is None and args.data_path is None:
        return made_up_prompts(args.questions)
    task = Gsm8k(load_demonstrations("gsm8k", args.prompts))
    return [task.prompt(example) for example in task.load(args.data_path).examples[: args.questions]]


def plain(lm: dola.LanguageModel, new_tokens: int) -> Turn:
    """transformers, one prompt at a time."""
    settings = {"max_new_tokens": new_tokens, "do_sample": False, "repetition_penalty": PENALTY}

    def turn(prompts: Sequence[str]) -> Tokens:
        found = []
        for prompt in prompts:
            inputs = lm.tokenizer(prompt, return_tensors="pt")
            output = lm.model.generate(**inputs, **settings, pad_token_id=0)
            found.append(tuple(output[0, inputs["input_ids"].shape[1] :].tolist()))
        return found

    return turn


def ours(lm: dola.LanguageModel, strategy: dola.Strategy, batch_size: int, new_tokens: int) -> Turn:
    def turn(prompts: Sequence[str]) -> Tokens:
        settings = {"max_new_tokens": new_tokens, "repetition_penalty": PENALTY}
        found = dict(lm.iter_generate(prompts, strategy, batch_size=batch_size, **settings))
        return [found[index].token_ids for index in range(len(prompts))]

    return turn


def stand_in(lm: dola.LanguageModel, strategy: dola.Strategy, new_tokens: int) -> Turn:
    """The released code's cost, step by step; see the top of this file."""
    head, layers = take_apart(lm.model).head, layers_of(strategy)

    def step(ids: Tensor, cache: DynamicCache) -> Tensor:
        output = lm.model(ids, past_key_values=cache, output_hidden_states=True, logits_to_keep=1)
        logits = {layer: head(output.hidden_states[layer]) for layer in layers}  # every position
        mature = logits.pop(layers[-1])[:, -1]
        early = torch.stack([each[:, -1] for each in logits.values()])
        final = log_softmax(mature, dim=-1)
        mixture = 0.5 * (softmax(mature, dim=-1)[None] + softmax(early, dim=-1))
        apart = [
            kl_div(log_softmax(each, dim=-1), mixture, reduction="none").mean(-1)
            for each in (mature[None], early)
        ]
        base = log_softmax(early[int((apart[0] + apart[1]).mean(-1).argmax())], dim=-1)
        best = torch.sort(final, descending=True).values[..., 0]  # of the whole vocabulary, for its greatest
        return torch.where(final < best + torch.log(torch.tensor(0.1)), -torch.inf, final - base)

    def turn(prompts: Sequence[str]) -> Tokens:
        found = []
        for prompt in prompts:
            seen = lm.tokenizer(prompt, return_tensors="pt")["input_ids"]
            new, cache, kept = seen, DynamicCache(config=lm.model.config), []
            with torch.inference_mode():
                for _ in range(new_tokens):
                    scores = step(new, cache)
                    before = scores.gather(1, seen)
                    scores.scatter_(1, seen, torch.where(before < 0, before * PENALTY, before / PENALTY))
                    kept.append(scores)
                    new = scores.argmax(-1, keepdim=True)
                    seen = torch.cat([seen, new], dim=1)
            found.append(tuple(seen[0, -new_tokens:].tolist()))
        return found

    return turn


def measure(args: argparse.Namespace, lm: dola.LanguageModel, prompts: list[str]) -> dict[str, list[float]]:
    """Examples a minute of each contender, turn by turn."""
    # Exits as the released code has them: not normed.
    pair = (dola.Vanilla(), dola.DoLa("low", early_exit_norm=False))
    vanilla, low = (each.strategy for each in resolve_all(pair, {OWN: lm.depth}))
    few = prompts[: args.alone]
    turns: dict[str, tuple[Turn, list[str]]] = {
        PLAIN: (plain(lm, args.new_tokens), few),
        STAND_IN: (stand_in(lm, low, args.new_tokens), few),
    }
    for label, strategy in (("vanilla", vanilla), ("DoLa low", low)):
        for batch in (1, args.batch):
            turn = ours(lm, strategy, batch, args.new_tokens)
            turns[f"ours, {label}, batch {batch}"] = (turn, few if batch == 1 else prompts)
    released = None
    if args.released:
        model = args.released_model or args.model
        released = ReleasedCode(args.released, args.python, model, args.threads)
    tokens: dict[str, Tokens] = {}
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(args.turns):
        for name, (turn, texts) in turns.items():
            start = time.perf_counter()
            tokens[name] = turn(texts)
            rates[name].append(60 * len(texts) / (time.perf_counter() - start))
        if released:
            for label, strategy in (("vanilla", vanilla), ("DoLa low", low)):
                seconds = released.generate(few, strategy, new_tokens=args.new_tokens, penalty=PENALTY)
                rates.setdefault(f"released code, {label}", []).append(60 * len(few) / seconds)
    compare_tokens(tokens, args)
    return rates


def compare_tokens(tokens: dict[str, Tokens], args: argparse.Namespace) -> None:
    """Whether those who should generate the same do, so that the same work is compared."""
    if any(len(each) != args.new_tokens for found in tokens.values() for each in found):
        raise SystemExit(f"expected {args.new_tokens} tokens of every prompt")
    for label, other in (("vanilla", PLAIN), ("DoLa low", STAND_IN)):
        for batch in (1, args.batch):
            same = map(tuple.__eq__, tokens[f"ours, {label}, batch {batch}"], tokens[other])
            print(f"  ours, {label}, batch {batch}: {sum(same)} of {args.alone} as {other}")


def show(rates: dict[str, list[float]], batch: int) -> None:
    for name, found in rates.items():
        print(f"  {name:34s} {statistics.median(found):7.2f} examples a minute", end="")
        print(f"  ({min(found):.2f} to {max(found):.2f})")
    ours_low, ours_vanilla = f"ours, DoLa low, batch {batch}", f"ours, vanilla, batch {batch}"
    pairs = [
        (ours_low, STAND_IN),
        (ours_low, "released code, DoLa low"),
        (ours_vanilla, "released code, vanilla"),
        (STAND_IN, "released code, DoLa low"),
        (ours_vanilla, PLAIN),
        ("ours, vanilla, batch 1", PLAIN),
        ("ours, vanilla, batch 1", "ours, DoLa low, batch 1"),
        (ours_vanilla, ours_low),
    ]
    for one, other in pairs:
        if one in rates and other in rates:
            ratios = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
            print(f"  {one} is {statistics.median(ratios):.2f} x {other}", end="")
            print(f"  ({min(ratios):.2f} to {max(ratios):.2f})")


def shared_cost(lm: dola.LanguageModel, prompts: Sequence[str]) -> tuple[int, float]:
    """How many tokens the prompts begin with in common, and the seconds that reading them takes."""
    ids = [lm.tokenizer(prompt)["input_ids"] for prompt in prompts]
    pairs = zip(min(ids), max(ids), strict=False)
    length = next((at for at, (one, other) in enumerate(pairs) if one != other), min(map(len, ids)))
    start = time.perf_counter()
    with torch.inference_mode():
        lm.model(torch.tensor([ids[0][:length]]), logits_to_keep=1)
    return length, time.perf_counter() - start


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2", help="alias, folder, or hub id")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--questions", type=int, default=16, help="of a turn in batches")
    parser.add_argument("--alone", type=int, default=2, help="questions of a turn at batch 1")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--prompts", type=Path, help="the worked examples of GSM8K, as `dola eval --prompts`")
    parser.add_argument("--data-path", type=Path, help="GSM8K's test file, or its folder")
    parser.add_argument("--released", type=Path, help="a checkout of the released code")
    parser.add_argument("--released-model", help="a folder that it can load; default: --model")
    parser.add_argument("--python", default="python", help="the interpreter that runs the released code")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    lm = dola.load(args.model, dtype="float32", device="cpu")
    # No token: every contender generates as many as it is asked for.
    lm.model.generation_config.eos_token_id = lm.model.config.vocab_size
    prompts = prompts_of(args)
    lengths = [len(lm.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    print(f"{args.model}, {args.threads} threads, {len(prompts)} questions of {min(lengths)} to", end=" ")
    print(f"{max(lengths)} tokens, {args.new_tokens} new ones each, {args.turns} turns")
    show(measure(args, lm, prompts), args.batch)
    length, seconds = shared_cost(lm, prompts)
    print(f"  reading the {length} tokens that all prompts begin with: {seconds:.2f} s")


if __name__ == "__main__":
    main()
