"""The contrastive head: hidden states of the chosen layers in, a score per token of the vocabulary out."""

from dola.head.head import ContrastiveHead, Projection
from dola.head.scores import Scores, unusable

__all__ = ["ContrastiveHead", "Projection", "Scores", "unusable"]
