"""What ranks of methods do by chance: the exact distribution for few data sets, where approximations claim too much.

Where methods do not differ, every order of the scores of one data set is equally likely, whatever their distribution.
So the null distribution of anything made of average ranks is that over all permutations within the rows of the table of
ranks. It is counted in full where that is cheap, and drawn otherwise.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["RankDistribution", "rank_distribution"]

#: Draws where counting in full would take too long; the smallest p-value is then 1 / (draws + 1).
DRAWS = 20_000
#: Sums of ranks that are held at once while counting in full.
_MAX_STATES = 300_000


@dataclass(frozen=True)
class RankDistribution:
    r"""How average ranks spread by chance.

    Attributes:
        deviations: :math:`\sum_j (R_j - (k + 1) / 2)^2` of every (distinct or drawn) outcome.
        ranges: largest less smallest average rank of the same outcomes.
        weights: probability of each outcome; they add up to 1 - ``observed``.
        observed: weight of the observed table itself, 0 where all outcomes were counted.
    """

    deviations: NDArray[np.float64]
    ranges: NDArray[np.float64]
    weights: NDArray[np.float64]
    observed: float

    def p_of_deviation(self, value: float) -> float:
        """Probability of a deviation of at least ``value``."""
        return min(1.0, self.observed + float(self.weights[self.deviations >= value - 1e-9].sum()))

    def p_of_range(self, value: float) -> float:
        """Probability that the average ranks of any two methods differ by at least ``value``."""
        return min(1.0, self.observed + float(self.weights[self.ranges >= value - 1e-9].sum()))

    def critical_range(self, alpha: float) -> float:
        """The smallest difference of average ranks that chance reaches with probability ``alpha`` at most.

        ``inf`` if it reaches every one of them more often: there are too few data sets for any verdict.
        """
        for value in np.unique(np.round(self.ranges, 9)):
            if self.p_of_range(float(value)) <= alpha:
                return float(value)
        return math.inf


def rank_distribution(ranks: NDArray[np.float64]) -> RankDistribution:
    """The null distribution for a table of ranks, ties included.

    Args:
        ranks: data sets by methods, ``[N, k]``.

    Complexity:
        At most 300,000 states times k! per data set in full (few methods), else 20,000 draws of N k numbers. The last
        few tables are remembered.

    Example:
        Two data sets that agree on the order of three methods do so by chance once in six times:

        >>> import numpy as np
        >>> from lcat.study.statistics.rank_permutations import rank_distribution
        >>> distribution = rank_distribution(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
        >>> round(distribution.p_of_range(2.0), 4)
        0.1667
    """
    # Neither the order of the data sets nor that of the methods within each matters to chance.
    rows = sorted(tuple(sorted(map(float, row))) for row in ranks)
    return _distribution(tuple(rows))


@lru_cache(maxsize=32)
def _distribution(rows: tuple[tuple[float, ...], ...]) -> RankDistribution:
    counted = _counted(rows)
    sums, weights, observed = _drawn(rows) if counted is None else counted
    mean = sums / len(rows)
    deviations = ((mean - (len(rows[0]) + 1) / 2) ** 2).sum(axis=1)
    return RankDistribution(deviations, mean.max(axis=1) - mean.min(axis=1), weights, observed)


def _counted(
    rows: tuple[tuple[float, ...], ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
    """All distinct sums of ranks (sorted, for methods are exchangeable) with their probabilities."""
    methods = len(rows[0])
    if math.factorial(methods) > _MAX_STATES:
        return None
    sums, weights = np.array([rows[0]]), np.ones(1)
    for row in rows[1:]:
        orders = np.array(sorted(set(itertools.permutations(row))))
        if len(sums) * len(orders) > _MAX_STATES:
            return None
        every = np.sort((sums[:, None, :] + orders[None, :, :]).reshape(-1, methods), axis=1)
        sums, inverse = np.unique(np.round(every, 6), axis=0, return_inverse=True)
        spread = np.repeat(weights / len(orders), len(orders))
        weights = np.zeros(len(sums))
        np.add.at(weights, inverse.reshape(-1), spread)
    return sums, weights, 0.0


def _drawn(rows: tuple[tuple[float, ...], ...]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    generator = np.random.default_rng(0)
    table = np.array(rows)
    sums = np.zeros((DRAWS, table.shape[1]))
    for row in table:
        sums += generator.permuted(np.broadcast_to(row, sums.shape), axis=1)
    # The observed table counts as one of the draws: the test keeps its level with any number of them.
    share = 1 / (DRAWS + 1)
    return sums, np.full(DRAWS, share), share
