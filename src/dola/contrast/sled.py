"""SLED, Self Logits Evolution Decoding: the last layer's logits, moved to where the earlier ones point.

With z_N the mature layer's logits, z_n an earlier exit's, p_n = softmax(z_n), and I the k most probable
tokens of z_N:

    c_{n,i} = cosine(p_n - onehot_i, z_n - z_N)     over the whole vocabulary, for each i in I
    s_{n,i} = max(c_{n,i}, 0)^2                     S_n = sum_i s_{n,i}
    w_n     = S_n / sum_n S_n                       the layer's weight
    P(i)    = sum_n w_n s_{n,i} / S_n               the latent distribution; zero outside I
    z      <- z - a (1 - t/T) (softmax(z) - P)      for t = 0 .. T-1, from z_N

and at last every token outside I gets a floor. p_n - onehot_i is the gradient, in the logits, of token i's
cross-entropy: a layer votes for the tokens whose gradient the later layers went down.

Source: arXiv 2411.02433; `sled_decoding.py` of JayZhang42/SLED at 00067af6, whose numbers these are.

What a shift of logits does: one constant added to all layers moves the evolved logits by it and changes
nothing else. Added to one exit alone it changes no vote within that layer, but the length of z_n - z_N and so
the layer's weight; un-normed and normed exits therefore weigh differently too.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dola.contrast.blocks import by_blocks
from dola.contrast.most_probable import most_probable
from dola.contrast.plausibility import rule_out

# A shorter vector counts as this long, as in PyTorch's cosine similarity. Un-normed exits can be one-hot to
# the last digit of float32: the gradient of that one token is then no vector at all, and the layer has no
# vote for it.
_SHORTEST = 1e-8


class Evolution(NamedTuple):
    """The evolved logits, and what they were moved by.

    Attributes:
        logits: `[..., V]`, before the floor; float32.
        tokens: ids of the mature layer's k most probable tokens, most probable first; int64 `[..., k]`.
        latent: the latent distribution over `tokens` `[..., k]`; adds up to 1, or to 0 where no layer has
            a vote.
        layer_weights: `[E, ...]`; add up to 1 over the exits, or to 0.
    """

    logits: Tensor
    tokens: Tensor
    latent: Tensor
    layer_weights: Tensor


def evolve(mature: Tensor, exits: Tensor, *, scale: int, rate: float, steps: int) -> Evolution:
    """Move the mature layer's logits towards the distribution that the earlier exits point at.

    Args:
        mature: logits `[..., V]`, float32.
        exits: logits of the earlier layers `[E, ..., V]`, float32. An exit with a NaN or +inf has no vote.
            A token that either side rules out (-inf) does not count in the cosine.
        scale: k, how many tokens evolve; all of them where the vocabulary has no more.
        rate: a, how far. 0 leaves the logits as they are.
        steps: T, at least 1.

    Returns:
        An `Evolution`. Where no layer has a vote its latent distribution is zero and the logits still lose
        rate x softmax, as in the released code.
    """
    tokens = most_probable(mature, scale)
    votes = _votes(mature, exits, tokens)
    by_layer = votes.sum(-1)
    total = by_layer.sum(0)
    total = total.masked_fill(total == 0.0, 1.0)
    latent = votes.sum(0) / total.unsqueeze(-1)
    return Evolution(_evolved(mature, tokens, latent, rate, steps), tokens, latent, by_layer / total)


def keep_evolved(evolution: Evolution, mature_log_probs: Tensor, floor: float | None) -> Tensor:
    """The evolved logits of the k most probable tokens, and `floor` for all others and for the impossible.

    The released code's `evolution_lower_bound`. Where it then takes a log-softmax of the scores
    (`post_softmax`, in FACTOR), that comes after the floor.

    Args:
        mature_log_probs: `[..., V]`; of use where `floor` is None: all others then lie below the evolved, in
            the order of these (`dola.contrast.rule_out`).

    Returns:
        Scores `[..., V]`.
    """
    others = torch.ones_like(evolution.logits, dtype=torch.bool).scatter_(-1, evolution.tokens, value=False)
    return rule_out(evolution.logits, others | evolution.logits.isneginf(), mature_log_probs, floor)


def _evolved(mature: Tensor, tokens: Tensor, latent: Tensor, rate: float, steps: int) -> Tensor:
    logits = mature
    for step in range(steps):
        pace = rate * (1.0 - step / steps)
        logits = torch.sub(logits, torch.softmax(logits, -1), alpha=pace)
        logits = logits.scatter_add_(-1, tokens, latent * pace)
    return logits


def _votes(mature: Tensor, exits: Tensor, tokens: Tensor) -> Tensor:
    """The squares of the positive cosines `[E, ..., k]`."""
    votes = by_blocks(_cosines, exits, mature, tokens).clamp_(min=0.0).square_().nan_to_num_(nan=0.0)
    return votes.mul_(mature.gather(-1, tokens) > -torch.inf)


def _cosines(exits: Tensor, mature: Tensor, tokens: Tensor) -> Tensor:
    """cosine(softmax(z_n) - onehot_i, z_n - z_N) without the one-hot, `[E, ..., k]`.

    The tokens in I are taken out of the sums over the vocabulary and then added to each other, i's own
    apart: p_i - 1 is nearly zero in a layer that is sure of i, and ||p||^2 - 2 p_i + 1 would be noise.
    """
    ids = tokens.expand(len(exits), *tokens.shape)
    p = torch.softmax(exits, -1)
    d = torch.sub(exits, mature).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    length = torch.linalg.vector_norm(d, dim=-1, keepdim=True)
    p_i, d_i = p.gather(-1, ids), d.gather(-1, ids)
    p.scatter_(-1, ids, 0.0)
    squares = torch.linalg.vector_norm(p, dim=-1, keepdim=True).square_()
    products = p.mul_(d).sum(-1, keepdim=True)
    others = _sums_of_the_others(torch.stack([p_i * p_i, p_i * d_i]))
    p_i -= 1.0
    gradient = (others[0] + squares + p_i * p_i).sqrt_()
    agreement: Tensor = others[1] + products + p_i * d_i
    return agreement.div_(gradient.clamp_(min=_SHORTEST)).div_(length.clamp_(min=_SHORTEST))


def _sums_of_the_others(values: Tensor) -> Tensor:
    """For each of `[..., k]` the sum of all but itself, without subtracting it from the whole."""
    nothing = torch.zeros_like(values[..., :1])
    before = torch.cat([nothing, values[..., :-1].cumsum(-1)], -1)
    after = torch.cat([nothing, values[..., 1:].flip(-1).cumsum(-1)], -1).flip(-1)
    return before + after
