"""The Inception Score, of whichever classifier: are single images clear, and all of them together diverse?"""

from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import Estimate, bootstrap

SPLITS = 10


class Splits(NamedTuple):
    """The mean and the standard deviation of the scores of `count` equal parts, as papers report them."""

    count: int
    mean: float
    deviation: float


def inception_score(probabilities: Tensor) -> float:
    """exp(E KL(p(y|x) || p(y))), from 1 to the number of classes, of p(y|x) [N, classes]. Salimans et al. 2016, section 4.

    The KL is taken as the entropy of the mean less the mean entropy, which stands probabilities of 0. In float64.
    """
    p = probabilities.double()
    return float((torch.special.entr(p.mean(0)).sum() - torch.special.entr(p).sum(1).mean()).exp())


def score_estimate(probabilities: Tensor, seed: int = 0) -> Estimate:
    """The score of all samples [N, classes] at once, as DDPM's code has it, with the bootstrap's standard error."""
    return bootstrap(inception_score, probabilities, seed=seed)


def split_scores(probabilities: Tensor) -> Splits:
    """The scores of 10 parts (fewer of fewer samples). A part takes every tenth sample, so that no order by class harms it.

    Small parts score lower: with few samples, p(y) follows them.
    """
    count = min(SPLITS, len(probabilities))
    scores = torch.tensor([inception_score(probabilities[start::count]) for start in range(count)])
    return Splits(count, float(scores.mean()), float(scores.std(correction=0)))
