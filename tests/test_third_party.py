"""`examples/dola-mean`, a third party's strategy: installed in an environment of its own, and used there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import textwrap
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

import dola
from tiny_language_model import tiny_language_model

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "dola-mean"
TFQA = ["eval", "tfqa-mc", "--data-path", str(HERE / "data" / "truthfulqa"), "--limit", "2"]
TFQA += ["--prompts", str(HERE / "data" / "prompts"), "--device", "cpu"]

Python = Callable[..., str]
"""Runs the environment's Python with these arguments, and gives what it writes."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """An environment that sees the packages of this one, and in which alone the example is installed."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    program = str(home / ("Scripts" if os.name == "nt" else "bin") / "python")
    found = sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)})
    here = [
        Path(dola.__file__).parents[1],
        *(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")),
    ]
    Path(found, "beside.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys(here)))
    source = shutil.copytree(EXAMPLE, home / "source")  # which the build writes into
    # setuptools comes with torch: nothing is fetched.
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", str(source)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, env=environment, cwd=home, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "pip", *install)
    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny random model of 6 layers."""
    folder = tmp_path_factory.mktemp("model")
    lm = tiny_language_model(num_hidden_layers=6, max_position_embeddings=8192)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return str(folder)


def test_the_example_is_installed_nowhere_but_there() -> None:
    with pytest.raises(dola.StrategyError, match="unknown strategy 'mean'"):
        dola.parse_strategy("mean:low")


def test_the_example_that_contributors_read_is_the_one_installed_here() -> None:
    code = (EXAMPLE / "dola_mean.py").read_text(encoding="utf-8")
    shown = (HERE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert textwrap.indent(code, "    ") in shown


PROGRAM = """

import sys

import numpy as np
import torch

import dola
from dola_mean import Mean

assert dola.find_strategy("mean") is Mean
for text in ("mean:low", "mean:high,4", "mean:0,2,4,-1:share=0.2", "mean:2,6"):
    assert str(dola.parse_strategy(text)) == text
for each in (Mean("low"), Mean((1, 3), share=0.25), Mean((0,), 5, 1e-7)):
    assert dola.parse_strategy(str(each)) == each, each

lm = dola.load(sys.argv[1], dtype="float32", device="cpu")
strategy, share = Mean((1, 4), share=0.25), 0.25
ids = torch.tensor([lm.tokenizer("the cat sat on the mat")["input_ids"]])
with torch.inference_mode():
    states = lm.model(ids, output_hidden_states=True).hidden_states
    normed = [lm.model.model.norm(states[1]), lm.model.model.norm(states[4]), states[6]]
    z = [lm.model.lm_head(each)[0].double() for each in normed]
    expected = (1 - share) * z[2] + share * (z[0] + z[1]) / 2
    with dola.attach(lm.model, [strategy]):
        torch.testing.assert_close(lm.model(ids).logits[0].double(), expected, atol=1e-4, rtol=1e-4)

likely = torch.log_softmax(expected, -1)
of_text = [float(likely[at, token]) for at, token in enumerate(ids[0, 1:].tolist())]
text = lm.tokenizer.decode(ids[0])
((scored,),) = lm.loglikelihood([(text[:1], [text[1:]])], [strategy])[0].by_strategy
np.testing.assert_allclose(scored.token_scores, of_text, atol=1e-4)
assert scored.premature_layers is None

trace = lm.trace(text, strategy)
assert trace.strategy == "mean:1,4,6:share=0.25" and trace.mature_layer == 6
for at, token in enumerate(trace.tokens):
    assert abs(token.score - float(expected[at, token.token_id])) < 1e-3
    assert token.details == {
        "agrees": {n: float(each[at].argmax() == expected[at].argmax()) for n, each in zip((1, 4), z)}
    }

(generation,) = lm.generate([text], strategy, max_new_tokens=3)
with dola.attach(lm.model, strategy):
    by_host = lm.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
assert list(generation.token_ids) == by_host[0, ids.shape[1]:].tolist()
"""


def test_attach_generate_loglikelihood_and_trace_compute_its_formula(
    python: Python, model: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    python(str(program), model)


COMMANDS = """
import json, sys
from dola.cli.main import dola

for arguments in json.loads(sys.argv[1]):
    dola(arguments, prog_name="dola", standalone_mode=False)
"""


def test_generate_eval_and_the_report_know_it_by_its_name(python: Python, model: str, tmp_path: Path) -> None:
    output = tmp_path / "o.json"
    asked = ["--model-name", model, "--device", "cpu"]
    mean = ["--early-exit-layers", "mean:low:share=0.25", "--max-new-tokens", "3"]
    high = ["--early-exit-layers", "-1", "--early-exit-layers", "mean:high", "--output-path", str(output)]
    commands = [
        ["generate", "a cat", *asked, *mean, "--compare", "--explain"],
        [*TFQA, *asked, *high],
        ["report", str(output), "--format", "md"],
    ]
    shown = python("-c", COMMANDS, json.dumps(commands))
    assert "[mean:low:share=0.25]" in shown
    assert "Bars: of each candidate layer, agrees." in shown
    ours = json.loads(output.read_text())["dola"]
    assert [row["label"] for row in ours["rows"][:2]] == ["vanilla", "mean:high"]
    assert ours["strategies"][1]["spec"] == "mean:3,5,6"
    assert "| mean:high |" in shown
