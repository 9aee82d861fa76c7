"""The released code as a contender: a checkout of voidism/DoLa in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

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
for line in sys.stdin:
    prompt, continuations, layers = json.loads(line)
    mode = ("baseline", "dola-static", "dola")[min(len(layers), 3) - 1]
    early = {"mature_layer": layers[-1] if len(layers) > 1 else None,
             "premature_layer": layers[0] if len(layers) == 2 else None,
             "candidate_premature_layers": layers[:-1] if len(layers) > 2 else None}
    start = time.perf_counter()
    scores = [lm.lm_score(prompt, each, mode=mode, relative_top=0.0, post_softmax=False, **early)[0]
              for each in continuations]
    answer = [time.perf_counter() - start, [float(each) for each in scores]]
    print(json.dumps(answer), file=answers_to, flush=True)
"""


class ReleasedCode:
    """Scores with the released `lm_score`; it says on stderr what goes wrong there.

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

    def __call__(
        self, prompt: str, continuations: Sequence[str], strategies: Sequence[dola.Strategy]
    ) -> tuple[float, list[list[float]]]:
        """Seconds for all strategies one after another, and the scores by strategy."""
        seconds, scores = 0.0, []
        for strategy in strategies:
            layers = [layer for layer, _ in strategy.exits]
            print(json.dumps([prompt, continuations, layers]), file=self._questions, flush=True)
            took, found = json.loads(self._read())
            seconds += took
            scores.append(found)
        return seconds, scores

    def _read(self) -> str:
        line = self._answers.readline()
        if not line:
            sys.exit(f"the released code ended with status {self._process.wait()}")
        return line
