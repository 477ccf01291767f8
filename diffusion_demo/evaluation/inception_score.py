"""Inception Score for any classifier: high if single images are unambiguous and the set is diverse."""

from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo.evaluation.bootstrap import Estimate, bootstrap

SPLITS = 10


class Splits(NamedTuple):
    """Mean and standard deviation of the scores of `count` equal parts, as papers report them."""

    count: int
    mean: float
    deviation: float


def inception_score(probabilities: Tensor) -> float:
    """Return exp(E KL(p(y|x) || p(y))), from 1 to the number of classes. Salimans et al. 2016, section 4.

    probabilities: p(y|x) [N, classes]. The KL divergence is computed in float64 as the entropy of the mean minus the
    mean entropy, which is defined for probabilities of 0.
    """
    p = probabilities.double()
    return float((torch.special.entr(p.mean(0)).sum() - torch.special.entr(p).sum(1).mean()).exp())


def score_estimate(probabilities: Tensor, seed: int = 0) -> Estimate:
    """Return the score of all samples [N, classes] as one set, like DDPM's code, with the bootstrap standard error."""
    return bootstrap(inception_score, probabilities, seed=seed)


def split_scores(probabilities: Tensor) -> Splits:
    """Return the mean score of 10 parts, or of one part per sample if there are fewer than 10.

    Part i takes every tenth sample from i, so that samples sorted by class do no harm. Small parts score lower, because
    p(y) then follows the few samples.
    """
    count = min(SPLITS, len(probabilities))
    scores = torch.tensor([inception_score(probabilities[start::count]) for start in range(count)])
    return Splits(count, float(scores.mean()), float(scores.std(correction=0)))
