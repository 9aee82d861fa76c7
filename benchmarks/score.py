"""Seconds a question of multiple-choice scoring: shared prefixes against one full forward pass an answer.

    python benchmarks/score.py                                # SmolLM2, float32, 2 threads, made-up texts
    python benchmarks/score.py --strategy=-1 --strategy=low --strategy=high --memory
    python benchmarks/score.py --requests questions.jsonl     # lines of {"prompt": .., "continuations": [..]}
    python benchmarks/score.py --released ../DoLa --python ../old/bin/python --released-model ../smollm2-mha

The slow path does what the released code does: for each strategy and each answer a full forward pass without
a cache, the head on every position for every layer, a loop over the positions. It stands in for the released
code's cost; with `--released`, a checkout of that code is timed beside it, in an interpreter that runs it and
with a folder of the same weights that it can load.

They take turns: ours scores a window of requests, then each of the others one of them. The ratio, by the
length of prompts and answers together (what a full pass an answer reads), is the median over the windows but
the first, which reads the few-shot prompt, as a run over hundreds of questions does once. Scores must agree.

Memory is the peak over what the process held with the weights loaded, measured in a process of its own.
"""

import argparse
import functools
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from released import ReleasedCode, layers_of
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, softmax

import dola
from dola.models.parts import take_apart
from dola.strategies import OWN, resolve_all

Request = tuple[str, list[str]]
Scores = list[list[float]]
Others = dict[str, Callable[[Request], tuple[float, Scores]]]
"""By name, what scores one request by all strategies: seconds, and the scores by strategy."""

VOCABULARY = """
the a one every most people water snow city river old new small bright never always often can will is was
made found grows stands near under before because music paper stone garden letter number
"""
WORDS = VOCABULARY.split()

# Results of one window of requests come together: less than this between two of them.
TOGETHER_S = 0.02


def made_up_requests(count: int) -> list[Request]:
    """Texts of the size of TruthfulQA's: a few-shot prompt of about 230 tokens, 8 to 12 short answers."""
    draw = random.Random(0)

    def words(least: int, most: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(least, most)))

    def answer() -> str:
        return f" {draw.choice(WORDS[:5]).capitalize()} {draw.choice(WORDS[:9])} {words(2, 16)}."

    shots = "".join(f"Q: {words(9, 12)}?\nA: {words(18, 22)}.\n\n" for _ in range(6))
    return [
        (f"{shots}Q: {words(8, 12)}?\nA:", [answer() for _ in range(draw.randint(8, 12))])
        for _ in range(count)
    ]


def requests_of(path: Path | None, count: int) -> list[Request]:
    if path is None:
        return made_up_requests(count)
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines()[:count])
    return [(row["prompt"], row["continuations"]) for row in rows]


def timed_slow_path(
    lm: dola.LanguageModel, strategies: Sequence[dola.Strategy], request: Request
) -> tuple[float, Scores]:
    start = time.perf_counter()
    scores = slow_path(lm, request, strategies)
    return time.perf_counter() - start, scores


def slow_path(lm: dola.LanguageModel, request: Request, strategies: Sequence[dola.Strategy]) -> Scores:
    """One question, answer by answer and strategy by strategy, as the released `lm_score` goes about it."""
    prompt, answers = request
    return [[_slow_score(lm, prompt, answer, strategy) for answer in answers] for strategy in strategies]


def _slow_score(lm: dola.LanguageModel, prompt: str, answer: str, strategy: dola.Strategy) -> float:
    joint = lm.tokenizer(prompt + answer, return_tensors="pt")["input_ids"]
    start = len(lm.tokenizer(prompt)["input_ids"])
    head, layers = take_apart(lm.model).head, layers_of(strategy)
    with torch.inference_mode():
        states = lm.model(joint, output_hidden_states=True, use_cache=False, logits_to_keep=1).hidden_states
        logits = {layer: head(states[layer])[0] for layer in layers}  # every position, every layer
        mature = logits.pop(layers[-1])
        places = range(start - 1, joint.shape[1] - 1)
        scores = log_softmax(mature[places], dim=-1)
        if logits:
            chosen = [_most_divergent(logits, mature, at) for at in places]
            early = torch.stack([logits[layer][at] for layer, at in zip(chosen, places, strict=True)])
            scores = scores - log_softmax(early, dim=-1)
        return float(scores[range(len(places)), joint[0, start:]].sum())


def _most_divergent(logits: dict[int, Tensor], mature: Tensor, at: int) -> int:
    """The candidate that diverges most from the mature layer at a position, by the released formula."""
    early = torch.stack([each[at] for each in logits.values()])
    mixture = 0.5 * (softmax(mature[at], dim=-1)[None] + softmax(early, dim=-1))
    both = (mature[at][None], early)
    apart = [kl_div(log_softmax(each, dim=-1), mixture, reduction="none").mean(-1) for each in both]
    return list(logits)[int((apart[0] + apart[1]).argmax())]


@dataclass
class Window:
    """Requests that ours scored together, and one of them by each of the others. Seconds."""

    ours_s: float
    others_s_per_character: dict[str, float]
    questions: int = 0
    characters: int = 0

    def ratio(self, other: str) -> float:
        return self.others_s_per_character[other] / (self.ours_s / self.characters)

    def __str__(self) -> str:
        each = self.ours_s / self.questions
        others = (
            f"{other} {each * self.ratio(other):.2f} s (ratio {self.ratio(other):.1f})"
            for other in self.others_s_per_character
        )
        return f"a question: ours {each:.2f} s, {', '.join(others)}"


def compare(
    requests: list[Request], lm: dola.LanguageModel, strategies: list[dola.Strategy], others: Others
) -> None:
    """One run of ours over all requests; as each window is done, each of the others takes its turn."""
    windows: list[Window] = []
    gaps = dict.fromkeys(others, 0.0)
    start = time.perf_counter()
    for index, scored in lm.iter_loglikelihood(requests, strategies):
        seconds = time.perf_counter() - start
        if not windows or seconds > TOGETHER_S:
            windows.append(Window(seconds, {}))
            found = [[each.score for each in row] for row in scored.by_strategy]
            for name, other in others.items():
                took, expected = other(requests[index])
                windows[-1].others_s_per_character[name] = took / _length(requests[index])
                gaps[name] = max(gaps[name], _largest_gap(found, expected))
        windows[-1].questions += 1
        windows[-1].characters += _length(requests[index])
        start = time.perf_counter()
    for number, window in enumerate(windows):
        print(f"  {window}{'' if number else ' (few-shot prompt included)'}")
    steady = windows[1:] or windows
    mean = sum(window.ours_s for window in steady) / sum(window.questions for window in steady)
    print(f"ours {mean:.2f} s a question")
    for name, gap in gaps.items():
        ratios = [window.ratio(name) for window in steady]
        print(f"{name}: median ratio {statistics.median(ratios):.1f}", end="")
        print(f" ({min(ratios):.1f} to {max(ratios):.1f}); scores differ by up to {gap:.1g} of 1 + |score|")


def _length(request: Request) -> int:
    """Characters of all texts, each from the prompt's beginning."""
    prompt, answers = request
    return sum(len(prompt) + len(answer) for answer in answers)


def _largest_gap(found: Scores, expected: Scores) -> float:
    return max(
        abs(one - other) / (1 + abs(other))
        for row, other_row in zip(found, expected, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )


def peak_memory(
    name: str, threads: int, which: str, request: Request, strategies: list[dola.Strategy]
) -> float:
    """GiB over the weights for one question (the slow path: one answer). Run in a process of its own."""
    torch.set_num_threads(threads)
    lm = dola.load(name, dtype="float32", device="cpu")
    before = _peak_kib()
    if which == "ours":
        lm.loglikelihood([request], strategies)
    else:
        slow_path(lm, (request[0], request[1][:1]), strategies)
    return (_peak_kib() - before) / 2**20


def _peak_kib() -> int:
    """What this process held at most. (`getrusage` would count what its parent held when it was started.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2", help="alias, folder, or hub id")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--requests", type=Path, help="JSON lines of prompt and continuations")
    parser.add_argument("--strategy", action="append", help="may be given several times; default: low")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    parser.add_argument("--released", type=Path, help="a checkout of the released code")
    parser.add_argument("--released-model", help="a folder that it can load; default: --model")
    parser.add_argument("--python", default="python", help="the interpreter that runs the released code")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    lm = dola.load(args.model, dtype="float32", device="cpu")
    # The released multiple-choice script rules out no token, and norms no early exit.
    released = "alpha=0.0,early_exit_norm=false"
    texts = [name if name == "-1" else f"{name}:{released}" for name in args.strategy or ["low"]]
    strategies = [each.strategy for each in resolve_all(map(dola.parse_strategy, texts), {OWN: lm.depth})]
    requests = requests_of(args.requests, args.questions)
    print(f"{args.model}, {args.threads} threads, {len(requests)} questions, {' and '.join(texts)}")
    others: Others = {"slow path": functools.partial(timed_slow_path, lm, strategies)}
    if args.released:
        released = ReleasedCode(args.released, args.python, args.released_model or args.model, args.threads)
        others["released code"] = lambda request: released.score(*request, strategies)
    compare(requests, lm, strategies, others)
    if args.memory:
        for which in ("ours", "slow"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peak = pool.apply(peak_memory, (args.model, args.threads, which, requests[0], strategies))
            print(f"peak memory over the weights, {which}: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
