"""How early-exit logits become scores: one strategy a file."""

from dola.strategies.base import Contrast, Depth, Exit, Strategy
from dola.strategies.dola import DoLa, DoLaStatic
from dola.strategies.parse import parse_strategy
from dola.strategies.registry import find_strategy
from dola.strategies.vanilla import Vanilla

__all__ = [
    "Contrast",
    "Depth",
    "DoLa",
    "DoLaStatic",
    "Exit",
    "Strategy",
    "Vanilla",
    "find_strategy",
    "parse_strategy",
]
