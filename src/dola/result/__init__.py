"""What a run comes to, as a value and as a file. No torch in this room."""

from dola.result.comparison import Comparison
from dola.result.examples import Answer, Completion, GeneratedExample, ScoredExample
from dola.result.figures import Measure, PairedDifference
from dola.result.parts import Bucket, Fold, JudgeName, RatedBy, Settings, StrategyFigures, Tuning
from dola.result.result import KEY, Result
from dola.result.rows import Row, Rows

__all__ = [
    "KEY",
    "Answer",
    "Bucket",
    "Comparison",
    "Completion",
    "Fold",
    "GeneratedExample",
    "JudgeName",
    "Measure",
    "PairedDifference",
    "RatedBy",
    "Result",
    "Row",
    "Rows",
    "ScoredExample",
    "Settings",
    "StrategyFigures",
    "Tuning",
]
