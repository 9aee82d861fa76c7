"""The tasks work where torch is not: so they start at once, and travel to other processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import dola.tasks
from dola.tasks.factor import Factor
from dola.tasks.gsm8k import Gsm8k
from dola.tasks.prompts import load_demonstrations
from dola.tasks.strqa import StrategyQA
from dola.tasks.tfqa import TfqaOpen
from dola.tasks.tfqa_mc import TruthfulQAMC
from dola.tasks.vicuna import Vicuna

DATA = Path(__file__).parent / "data"


def test_no_task_imports_torch_or_transformers() -> None:
    rooms = Path(dola.tasks.__path__[0])
    modules = sorted(f"dola.tasks.{file.stem}" for file in rooms.glob("*.py") if file.stem != "__init__")
    assert "dola.tasks.tfqa_mc" in modules
    script = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print(*({'torch', 'transformers', 'numpy', 'pooch'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_tasks_and_examples_survive_the_way_between_processes() -> None:
    tfqa, gsm8k, strqa = (load_demonstrations(name, DATA / "prompts") for name in ("tfqa", "gsm8k", "strqa"))
    tasks = {
        "truthfulqa": (TruthfulQAMC(tfqa), TfqaOpen(tfqa)),
        "factor/expert_factor.csv": (Factor(),),
        "gsm8k": (Gsm8k(gsm8k),),
        "strategyqa": (StrategyQA(strqa),),
        "vicuna": (Vicuna("a model"),),
    }
    for task, path in ((task, path) for path, ones in tasks.items() for task in ones):
        examples = task.load(DATA / path).examples
        assert pickle.loads(pickle.dumps((task, examples))) == (task, examples)
