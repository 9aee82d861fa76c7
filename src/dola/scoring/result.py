"""What scoring gives back: a log-likelihood for every continuation and every strategy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LogLikelihood:
    """One continuation under one strategy.

    Attributes:
        score: the sum of the tokens' scores, in nats.
        token_scores: of each token; its log-probability under vanilla, else the strategy's score
            (its `filter_value` for a token that is ruled out).
        premature_layers: the layer that each token was contrasted with; None where nothing is contrasted.
        left_out: how many candidates, of all tokens together, held NaN or infinity and were left out of the
            choice of that layer.
    """

    score: float
    token_scores: tuple[float, ...]
    premature_layers: tuple[int, ...] | None
    left_out: int = 0

    @property
    def tokens(self) -> int:
        return len(self.token_scores)


@dataclass(frozen=True)
class Scored:
    """All continuations of one prompt.

    Attributes:
        prompt_is_prefix: of each continuation, whether the prompt's own tokens begin the joint tokenisation.
            Where they do not, the tokens after as many as the prompt has are scored, as released.
        truncated: how many of the prompt's tokens were cut on the left to fit the model's context.
        by_strategy: log-likelihoods `[strategy][continuation]`.
    """

    prompt_is_prefix: tuple[bool, ...]
    truncated: int
    by_strategy: tuple[tuple[LogLikelihood, ...], ...]
