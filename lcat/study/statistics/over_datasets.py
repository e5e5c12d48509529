"""Many methods over many data sets: ranks, Friedman's test, Nemenyi's test and the critical difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcat.study.statistics._checks import score_table, vector
from lcat.study.statistics.rank_permutations import rank_distribution
from lcat.study.statistics.shares import check_share

__all__ = [
    "FEW_DATASETS",
    "FriedmanTest",
    "average_ranks",
    "critical_difference",
    "fewest_datasets",
    "friedman_test",
    "nemenyi",
    "ranks",
    "tied_groups",
]

#: Up to so many data sets ranks are tested by permutation; the usual approximations are for more.
FEW_DATASETS = 15


@dataclass(frozen=True)
class FriedmanTest:
    """Do the methods differ at all?

    Attributes:
        statistic: Friedman's chi-square, corrected for ties.
        p_value: the one to use: ``permutation_p_value`` for up to :data:`FEW_DATASETS` data sets, else
            ``iman_davenport_p_value``.
        permutation_p_value: probability of such a statistic when the scores of each data set are permuted; exact, or
            of 20,000 draws; ``nan`` for more than :data:`FEW_DATASETS` data sets.
        chi_square_p_value: of chi-square with k - 1 degrees of freedom; an approximation for many data sets.
        iman_davenport: the statistic of Iman and Davenport, less conservative.
        iman_davenport_p_value: of F with (k - 1) and (k - 1)(N - 1) degrees of freedom, for many data sets; ``nan``
            where the statistic is infinite, because all data sets agree: F says nothing then.
        average_ranks: of the k methods, 1 for one that is best everywhere.
        datasets: N.
    """

    statistic: float
    p_value: float
    permutation_p_value: float
    chi_square_p_value: float
    iman_davenport: float
    iman_davenport_p_value: float
    average_ranks: tuple[float, ...]
    datasets: int


def ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Ranks of the methods on every data set: 1 for the highest score, tied methods share their mean rank.

    Args:
        scores: data sets by methods, ``[N, k]``, higher is better.

    Returns:
        ``[N, k]``.

    Example:
        >>> from lcat.study.statistics import ranks
        >>> ranks([[0.9, 0.8, 0.8], [0.5, 0.7, 0.6]]).tolist()
        [[1.0, 2.5, 2.5], [3.0, 1.0, 2.0]]
    """
    table = score_table(scores)
    higher = (table[:, None, :] > table[:, :, None]).sum(axis=2)
    equal = (table[:, None, :] == table[:, :, None]).sum(axis=2)
    ranked: NDArray[np.float64] = higher + (equal + 1) / 2
    return ranked


def average_ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Mean over the data sets of :func:`ranks`, ``[k]``.

    Example:
        >>> from lcat.study.statistics import average_ranks
        >>> average_ranks([[0.9, 0.8, 0.7], [0.6, 0.6, 0.5]]).tolist()
        [1.25, 1.75, 3.0]
    """
    mean: NDArray[np.float64] = ranks(scores).mean(axis=0)
    return mean


def friedman_test(scores: ArrayLike) -> FriedmanTest:
    r"""Friedman's test and Iman and Davenport's form of it.

    With average ranks :math:`R_j` of k methods on N data sets,

    .. math:: \chi^2_F = \frac{12 N}{k (k + 1)} \left[\sum_j R_j^2 - \frac{k (k + 1)^2}{4}\right], \qquad
              F_F = \frac{(N - 1) \chi^2_F}{N (k - 1) - \chi^2_F}

    and :math:`\chi^2_F` is divided by :math:`1 - \sum (t^3 - t) / (N k (k^2 - 1))` over groups of t tied methods.

    Sources: Friedman, "The use of ranks to avoid the assumption of normality", JASA 32, 1937; Iman and Davenport,
    "Approximations of the critical region of the Friedman statistic", Communications in Statistics A9, 1980; Demsar,
    JMLR 7, 2006.

    Both distributions are approximations for many data sets. Two data sets that agree on three methods make
    :math:`F_F` infinite, and do so by chance once in six times. So for few data sets the p-value is that of the
    permutation test: the share of all orders of the scores within each data set that give such a statistic.

    Args:
        scores: data sets by methods, ``[N, k]``, higher is better, N and k at least 2.

    Raises:
        ValueError: for another shape, or values that are not finite.

    Note:
        Where all methods are tied everywhere, all p-values are 1.

    Complexity:
        N k².

    Example:
        >>> from lcat.study.statistics import friedman_test
        >>> result = friedman_test(
        ...     [[0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.7, 0.6, 0.8], [0.6, 0.5, 0.4]]
        ... )
        >>> (
        ...     round(result.statistic, 3),
        ...     round(result.iman_davenport, 3),
        ...     round(result.p_value, 3),
        ... )
        (3.5, 2.333, 0.273)
    """
    table = score_table(scores)
    count, methods = table.shape
    ranked = ranks(table)
    mean = ranked.mean(axis=0)
    # (t^3 - t) summed over groups of t is (t^2 - 1) summed over their members.
    tied = (table[:, None, :] == table[:, :, None]).sum(axis=2).astype(np.float64)
    correction = 1 - (tied**2 - 1).sum() / (count * methods * (methods**2 - 1))
    if correction <= 1e-12:
        return FriedmanTest(0.0, 1.0, 1.0, 1.0, 0.0, 1.0, tuple(mean.tolist()), count)
    from scipy import special

    deviation = float(((mean - (methods + 1) / 2) ** 2).sum())
    statistic = 12 * count / (methods * (methods + 1)) * deviation / float(correction)
    rest = count * (methods - 1) - statistic
    if rest <= 1e-9 * statistic:
        variant, variant_p = math.inf, math.nan
    else:
        variant = (count - 1) * statistic / rest
        variant_p = float(special.fdtrc(methods - 1, (methods - 1) * (count - 1), variant))
    few = count <= FEW_DATASETS
    chi_square_p = float(special.chdtrc(methods - 1, statistic))
    permuted = rank_distribution(ranked).p_of_deviation(deviation) if few else math.nan
    return FriedmanTest(
        statistic=statistic,
        p_value=permuted if few else chi_square_p if math.isnan(variant_p) else variant_p,
        permutation_p_value=permuted,
        chi_square_p_value=chi_square_p,
        iman_davenport=variant,
        iman_davenport_p_value=variant_p,
        average_ranks=tuple(mean.tolist()),
        datasets=count,
    )


def nemenyi(scores: ArrayLike) -> NDArray[np.float64]:
    r"""p-values of Nemenyi's test for every pair of methods.

    :math:`q_{ij} = |R_i - R_j| / \sqrt{k (k + 1) / (6 N)}` times :math:`\sqrt 2` is compared with the studentized range
    of k groups and infinite degrees of freedom. The number of pairs is accounted for. For up to
    :data:`FEW_DATASETS` data sets the distribution of the range of average ranks is that over all orders of the scores
    within each data set, not its limit: four data sets that agree on two methods do so by chance once in eight times,
    where the limit says p = 0.046.

    Source: Nemenyi, "Distribution-free multiple comparisons", Princeton 1963; Demsar, JMLR 7, 2006.

    Args:
        scores: data sets by methods, ``[N, k]``, higher is better.

    Returns:
        A symmetric table ``[k, k]`` with ones on its diagonal.

    Example:
        >>> from lcat.study.statistics import nemenyi
        >>> round(float(nemenyi([[3, 2, 1], [3, 2, 1], [2, 3, 1], [3, 2, 1]])[0, 2]), 4)
        0.0417
    """
    table = score_table(scores)
    count, methods = table.shape
    ranked = ranks(table)
    mean = ranked.mean(axis=0)
    difference = np.round(np.abs(mean[:, None] - mean[None, :]), 12)
    few = rank_distribution(ranked) if count <= FEW_DATASETS else None
    unit = math.sqrt(methods * (methods + 1) / (6 * count)) / math.sqrt(2)
    p_values = np.ones((methods, methods))
    upper = np.triu_indices(methods, 1)
    # The integral behind each value takes a while: once for every distinct one.
    distinct, positions = np.unique(difference[upper], return_inverse=True)
    tails = [_range_tail(float(d) / unit, methods) if few is None else few.p_of_range(float(d)) for d in distinct]
    p_values[upper] = np.array(tails)[positions]
    p_values.T[upper] = p_values[upper]
    return p_values


def critical_difference(methods: int, datasets: int, *, alpha: float = 0.05, scores: ArrayLike | None = None) -> float:
    r"""Average ranks closer than this are not distinguished by Nemenyi's test.

    .. math:: CD = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    with :math:`q_\alpha` the quantile of the studentized range divided by :math:`\sqrt 2`: the limit for many data
    sets. With ``scores`` of up to :data:`FEW_DATASETS` data sets it is the smallest difference that chance reaches with
    probability ``alpha`` at most, as in :func:`nemenyi`; ``inf`` where it reaches every difference more often.

    Args:
        methods: k, at least 2.
        datasets: N, at least 1.
        alpha: level of the test, in (0, 1).
        scores: the table of scores, ``[N, k]``, to count the orders of.

    Example:
        Four methods on 14 data sets, the worked example of Demsar (2006), who rounds to 1.25:

        >>> from lcat.study.statistics import critical_difference
        >>> round(critical_difference(4, 14), 3)
        1.254
    """
    if methods < 2 or datasets < 1:
        raise ValueError(f"at least 2 methods and 1 data set are needed; got {methods} and {datasets}")
    check_share("alpha", alpha)
    if scores is not None and datasets <= FEW_DATASETS:
        return rank_distribution(ranks(scores)).critical_range(alpha)
    return _range_quantile(alpha, methods) / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * datasets))


def fewest_datasets(methods: int, alpha: float = 0.05) -> int:
    """The smallest number of data sets that can show a difference of methods, if all of them agree.

    N data sets agree by chance on one order of k methods with probability :math:`1 / (k!)^{N - 1}`, the smallest
    p-value of :func:`friedman_test`.

    Args:
        methods: k, at least 2.
        alpha: level, in (0, 1).

    Example:
        >>> from lcat.study.statistics import fewest_datasets
        >>> [fewest_datasets(methods) for methods in (2, 3, 4)]
        [6, 3, 2]
    """
    check_share("alpha", alpha)
    if methods < 2:
        raise ValueError(f"methods must be at least 2; got {methods}")
    return max(2, 1 + math.ceil(math.log(1 / alpha) / math.log(math.factorial(methods)) - 1e-12))


def tied_groups(ranks: Sequence[float] | NDArray[np.float64], difference: float) -> list[list[int]]:
    """The bars of a critical-difference diagram: largest groups of methods whose average ranks lie close together.

    Args:
        ranks: average ranks ``[k]``.
        difference: the critical difference; methods whose ranks differ by less belong together.

    Returns:
        Indices into ``ranks`` from the best on, one list a group of two or more.

    Example:
        >>> from lcat.study.statistics import tied_groups
        >>> tied_groups([1.2, 3.0, 1.9, 2.5], 1.0)
        [[0, 2], [2, 3], [3, 1]]
    """
    values = vector("ranks", np.asarray(ranks))
    order = np.argsort(values, kind="stable")
    groups: list[list[int]] = []
    reached = -1
    for start in range(order.size):
        stop = start
        while stop + 1 < order.size and values[order[stop + 1]] - values[order[start]] < difference:
            stop += 1
        if stop > start and stop > reached:
            groups.append([int(index) for index in order[start : stop + 1]])
            reached = stop
    return groups


@lru_cache(maxsize=1024)
def _range_tail(value: float, methods: int) -> float:
    from scipy import stats

    return float(stats.studentized_range.sf(value, methods, math.inf))


@lru_cache(maxsize=64)
def _range_quantile(alpha: float, methods: int) -> float:
    from scipy import stats

    return float(stats.studentized_range.ppf(1 - alpha, methods, math.inf))
