"""How early-exit logits become scores: one strategy a file."""

from dola.strategies.base import (
    Contrast,
    Explanation,
    ResolvedStrategy,
    Strategy,
    resolve_all,
    resolve_strategy,
)
from dola.strategies.delta import DeLTa
from dola.strategies.dola import DoLa, DoLaStatic
from dola.strategies.exit_logits import ExitLogits
from dola.strategies.grid import grid_texts
from dola.strategies.label import strategy_label
from dola.strategies.layers import Bucket, candidate_layers, candidates_from, candidates_text
from dola.strategies.parse import parse_named, parse_strategy
from dola.strategies.reads import OWN, Depth, Depths, Exit, Read, all_reads, exits_of
from dola.strategies.registry import find_strategy
from dola.strategies.sled import SLED
from dola.strategies.vanilla import Vanilla

__all__ = [
    "OWN",
    "SLED",
    "Bucket",
    "Contrast",
    "DeLTa",
    "Depth",
    "Depths",
    "DoLa",
    "DoLaStatic",
    "Exit",
    "ExitLogits",
    "Explanation",
    "Read",
    "ResolvedStrategy",
    "Strategy",
    "Vanilla",
    "all_reads",
    "candidate_layers",
    "candidates_from",
    "candidates_text",
    "exits_of",
    "find_strategy",
    "grid_texts",
    "parse_named",
    "parse_strategy",
    "resolve_all",
    "resolve_strategy",
    "strategy_label",
]
