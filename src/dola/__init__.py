"""DoLa, decoding by contrasting layers, as a language-model head for any Hugging Face causal model.

    with dola.attach(model, dola.DoLa("high")):
        model.generate(**inputs, max_new_tokens=64)

The public names are imported when they are first used: `import dola` itself loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "Attachment": "dola.hosts.transformers",
    "attach": "dola.hosts.transformers",
    "custom_generate": "dola.hosts.transformers",
    "Contrast": "dola.strategies",
    "Depth": "dola.strategies",
    "DoLa": "dola.strategies",
    "DoLaStatic": "dola.strategies",
    "DeLTa": "dola.strategies",
    "Exit": "dola.strategies",
    "ExitLogits": "dola.strategies",
    "Explanation": "dola.strategies",
    "Read": "dola.strategies",
    "ResolvedStrategy": "dola.strategies",
    "SLED": "dola.strategies",
    "Strategy": "dola.strategies",
    "Vanilla": "dola.strategies",
    "find_strategy": "dola.strategies",
    "parse_strategy": "dola.strategies",
    "Generation": "dola.language_model",
    "LanguageModel": "dola.language_model",
    "Trace": "dola.scoring.trace",
    "Comparison": "dola.result",
    "Result": "dola.result",
    "RunSpec": "dola.runs.spec",
    "compare": "dola.runs.compare",
    "endpoint_settings": "dola.judges.settings",
    "evaluate": "dola.runs.evaluate",
    "merge": "dola.runs.compare",
    "rate": "dola.runs.rate",
    "report": "dola.reports.write",
    "tune": "dola.runs.tuning",
    "load": "dola.loader",
    "DataError": "dola.errors",
    "DolaError": "dola.errors",
    "JudgeError": "dola.errors",
    "LayerError": "dola.errors",
    "MissingExtraError": "dola.errors",
    "ModelError": "dola.errors",
    "NumericsError": "dola.errors",
    "RunError": "dola.errors",
    "StrategyError": "dola.errors",
    "WeightsError": "dola.errors",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from dola.errors import DataError as DataError
    from dola.errors import DolaError as DolaError
    from dola.errors import JudgeError as JudgeError
    from dola.errors import LayerError as LayerError
    from dola.errors import MissingExtraError as MissingExtraError
    from dola.errors import ModelError as ModelError
    from dola.errors import NumericsError as NumericsError
    from dola.errors import RunError as RunError
    from dola.errors import StrategyError as StrategyError
    from dola.errors import WeightsError as WeightsError
    from dola.hosts.transformers import Attachment as Attachment
    from dola.hosts.transformers import attach as attach
    from dola.hosts.transformers import custom_generate as custom_generate
    from dola.judges.settings import endpoint_settings as endpoint_settings
    from dola.language_model import Generation as Generation
    from dola.language_model import LanguageModel as LanguageModel
    from dola.loader import load as load
    from dola.reports.write import report as report
    from dola.result import Comparison as Comparison
    from dola.result import Result as Result
    from dola.runs.compare import compare as compare
    from dola.runs.compare import merge as merge
    from dola.runs.evaluate import evaluate as evaluate
    from dola.runs.rate import rate as rate
    from dola.runs.spec import RunSpec as RunSpec
    from dola.runs.tuning import tune as tune
    from dola.scoring.trace import Trace as Trace
    from dola.strategies import SLED as SLED
    from dola.strategies import Contrast as Contrast
    from dola.strategies import DeLTa as DeLTa
    from dola.strategies import Depth as Depth
    from dola.strategies import DoLa as DoLa
    from dola.strategies import DoLaStatic as DoLaStatic
    from dola.strategies import Exit as Exit
    from dola.strategies import ExitLogits as ExitLogits
    from dola.strategies import Explanation as Explanation
    from dola.strategies import Read as Read
    from dola.strategies import ResolvedStrategy as ResolvedStrategy
    from dola.strategies import Strategy as Strategy
    from dola.strategies import Vanilla as Vanilla
    from dola.strategies import find_strategy as find_strategy
    from dola.strategies import parse_strategy as parse_strategy


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'dola' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
