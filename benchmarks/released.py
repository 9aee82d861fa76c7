"""The released code as a contender: a checkout of voidism/DoLa in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import dola

_SERVE = """
import json, sys, time
checkout, model, threads = sys.argv[1:]
sys.path.insert(0, checkout)
import torch
torch.set_num_threads(int(threads))
answers_to, sys.stdout = sys.stdout, sys.stderr  # the released code prints
from dola import DoLa
lm = DoLa(model, "cpu", 1)
print("ready", file=answers_to, flush=True)


def modes(layers):
    return ({"mode": ("baseline", "dola-static", "dola")[min(len(layers), 3) - 1],
             "mature_layer": layers[-1] if len(layers) > 1 else None,
             "premature_layer": layers[0] if len(layers) == 2 else None,
             "candidate_premature_layers": layers[:-1] if len(layers) > 2 else None})


def score(prompt, continuations, layers):
    return [float(lm.lm_score(prompt, each, relative_top=0.0, post_softmax=False, **modes(layers))[0])
            for each in continuations]


def generate(prompts, layers, new_tokens, penalty):
    lm.model.config.eos_token_id = lm.model.generation_config.eos_token_id = None
    for prompt in prompts:
        lm.generate(prompt, max_new_tokens=new_tokens, do_sample=False, repetition_penalty=penalty,
                    verbose=False, relative_top=0.1, **modes(layers))


for line in sys.stdin:
    kind, arguments = json.loads(line)
    start = time.perf_counter()
    found = {"score": score, "generate": generate}[kind](*arguments)
    print(json.dumps([time.perf_counter() - start, found]), file=answers_to, flush=True)
"""


class ReleasedCode:
    """Scores with the released `lm_score`, generates with its `generate`; it says on stderr what goes wrong.

    `model` is a folder that transformers 4.28.1 can load: without grouped-query attention, say.
    """

    def __init__(self, checkout: Path, python: str, model: str, threads: int) -> None:
        if not (checkout / "dola.py").is_file():
            sys.exit(f"{checkout} is no checkout of the released code: it has no dola.py")
        # Our own package has the name of their module.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, "-c", _SERVE, str(checkout.resolve()), model, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._questions = cast(IO[str], self._process.stdin)
        self._answers = cast(IO[str], self._process.stdout)
        self._read()

    def score(
        self, prompt: str, continuations: Sequence[str], strategies: Sequence[dola.Strategy]
    ) -> tuple[float, list[list[float]]]:
        """Seconds for all strategies one after another, and the scores by strategy."""
        answers = [self._ask("score", prompt, continuations, layers_of(strategy)) for strategy in strategies]
        return sum(seconds for seconds, _ in answers), [scores for _, scores in answers]

    def generate(
        self, prompts: Sequence[str], strategy: dola.Strategy, *, new_tokens: int, penalty: float
    ) -> float:
        """Seconds for so many greedy tokens of every prompt, one prompt after another."""
        seconds, _ = self._ask("generate", prompts, layers_of(strategy), new_tokens, penalty)
        return seconds

    def _ask(self, kind: str, *arguments: object) -> tuple[float, Any]:
        print(json.dumps([kind, arguments]), file=self._questions, flush=True)
        seconds, found = json.loads(self._read())
        return seconds, found

    def _read(self) -> str:
        line = self._answers.readline()
        if not line:
            sys.exit(f"the released code ended with status {self._process.wait()}")
        return line


def layers_of(strategy: dola.Strategy) -> list[int]:
    """The layers by number, the mature one last, of a strategy that was resolved for a model."""
    return [int(layer) for layer in strategy.layers_text().split(",")]
