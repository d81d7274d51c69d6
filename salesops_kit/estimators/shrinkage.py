"""Beta-binomial shrinkage of small groups' rates towards what all groups share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from salesops_kit.estimators.intervals import CONFIDENCE, Array, Numbers

WEAKEST, STRONGEST = 2.0, 2000.0
_GRID = 400


@dataclass(frozen=True)
class Prior:
    """What is known of a group's rate before its own deals: a mean, worth ``strength`` deals."""

    mean: float
    strength: float


def shrink(successes: Numbers, n: Numbers, prior: Prior) -> tuple[Array, Array, Array]:
    """The posterior mean of each group's rate and its equal-tailed 95 % credible interval.

    The rate is ``(successes + mean x strength) / (n + strength)``. A group without deals gets the
    prior's mean. A prior without a mean (no deals anywhere) gives missing values.

    >>> rate, low, high = shrink(6, 8, Prior(mean=0.30, strength=20))
    >>> round(float(rate), 4)
    0.4286
    """
    won, size = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    alpha = prior.mean * prior.strength + won
    beta = (1 - prior.mean) * prior.strength + size - won
    tail = (1 - CONFIDENCE) / 2
    rate = alpha / (alpha + beta)
    # With a mean of exactly 0 or 1 the beta distribution is a point, which the quantile function refuses.
    proper = (alpha > 0) & (beta > 0)
    safe_alpha, safe_beta = np.where(proper, alpha, 1.0), np.where(proper, beta, 1.0)
    low = np.where(proper, special.betaincinv(safe_alpha, safe_beta, tail), rate)
    high = np.where(proper, special.betaincinv(safe_alpha, safe_beta, 1 - tail), rate)
    return rate, low, high


def estimate_prior(successes: Numbers, n: Numbers) -> Prior:
    """The prior that the groups themselves suggest (empirical Bayes).

    The mean is the pooled rate. The strength comes from the posterior mean of the intraclass
    correlation ``1 / (strength + 1)`` under the beta-binomial likelihood, with strengths from 2 to
    2,000 equally likely on the log scale. One group says nothing about differences between groups and
    gives a strength of about 16; many groups with the same rate give a strong prior, groups far apart
    a weak one. Without any deal the mean is missing.
    """
    won, size = np.atleast_1d(np.asarray(successes, float)), np.atleast_1d(np.asarray(n, float))
    won, size = won[size > 0], size[size > 0]
    mean = float(won.sum() / size.sum()) if size.size else float("nan")
    strengths = np.geomspace(WEAKEST, STRONGEST, _GRID)
    log_likelihood = np.zeros(_GRID)
    if 0 < mean < 1:
        alpha, beta = mean * strengths[:, None], (1 - mean) * strengths[:, None]
        log_likelihood = (special.betaln(won + alpha, size - won + beta) - special.betaln(alpha, beta)).sum(
            axis=1
        )
    weights = np.exp(log_likelihood - log_likelihood.max())
    correlation = float((weights / (strengths + 1)).sum() / weights.sum())
    return Prior(mean, 1 / correlation - 1)
