"""Two methods on the same splits: is the difference more than chance?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcat.study.statistics._checks import not_negative, paired_differences, vector
from lcat.study.statistics.shares import check_share

__all__ = ["FEWEST_PAIRS", "PairedTest", "corrected_t_test", "fewest_wilcoxon_pairs", "holm", "wilcoxon_test"]

#: With fewer pairs than this :func:`corrected_t_test` gives no p-value.
FEWEST_PAIRS = 3


@dataclass(frozen=True)
class PairedTest:
    """What a paired test found.

    Attributes:
        difference: mean of first minus second.
        statistic: t of the t test, the smaller sum of signed ranks of Wilcoxon's.
        p_value: two-sided; ``nan`` where there are too few pairs for a test.
        low, high: confidence interval of the difference; ``nan`` for Wilcoxon's test and where it is not known.
        runs: number of pairs.
    """

    difference: float
    statistic: float
    p_value: float
    low: float
    high: float
    runs: int


def corrected_t_test(
    first: ArrayLike, second: ArrayLike, *, test_train_ratio: float, level: float = 0.95, resolution: float = 0.0
) -> PairedTest:
    r"""The corrected resampled t test of Nadeau and Bengio, for scores that come in steps.

    With the differences :math:`d_j` of J runs, their mean :math:`\bar d` and unbiased variance :math:`s^2`,

    .. math:: t = \frac{\bar d}{\sqrt{\left(\frac1J + \frac{n_{test}}{n_{train}}\right)
              \left(s^2 + \frac{r^2}{6}\right)}}

    is compared with Student's distribution of :math:`J - 1` degrees of freedom. The ordinary test has :math:`1/J`
    alone; on splits that share training nodes it calls chance a difference far too often.

    :math:`r` is the ``resolution`` of a score: an accuracy on m test nodes is a multiple of 1/m, so it says where a
    model stands up to a rounding error of variance :math:`r^2/12`, and a difference of two up to :math:`r^2/6`.
    Without that term a few runs whose differences happen to be equal would have variance 0 and p = 0: with three
    seeds, 100 test nodes and four layers that do not differ, Holm's rule then finds a difference in up to 14 % of
    studies at the level of 5 %, and in 3 % at most with it (``benchmarks/statistics_null.py``).

    What to pass as ``test_train_ratio``:

    - random splits: :math:`n_{test} / n_{train}`;
    - k-fold cross-validation, repeated r times: :math:`1 / (k - 1)` with J = k r (Bouckaert and Frank, "Evaluating
      the replicability of significance tests for comparing learning algorithms", PAKDD 2004);
    - one fixed split and many seeds: 0, the ordinary paired t test. It then speaks of this split alone.

    Source: Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.

    Args:
        first: scores of one method, one per run, ``[J]``.
        second: of the other, run j on the same split.
        test_train_ratio: see above; at least 0.
        level: of the confidence interval, in (0, 1).
        resolution: smallest step between two scores, at least 0: 1/m for an accuracy on m test nodes.

    Raises:
        ValueError: for different lengths, values that are not finite, a negative ratio or resolution.

    Note:
        There is no test (p is ``nan``) with fewer than three pairs: two decide nothing. Equal scores in all runs
        give p = 1. The same difference other than 0 in all runs, with resolution 0, has no estimate of its variance:
        p is then that of the exact sign test, :math:`2 / 2^J`, and there is no interval.

    Example:
        >>> from lcat.study.statistics import corrected_t_test
        >>> a, b = [0.83, 0.85, 0.84, 0.86, 0.85], [0.82, 0.82, 0.83, 0.83, 0.84]
        >>> round(corrected_t_test(a, b, test_train_ratio=0).p_value, 4)
        0.0213
        >>> round(corrected_t_test(a, b, test_train_ratio=1 / 4).p_value, 4)
        0.0705
        >>> round(corrected_t_test(a, b, test_train_ratio=0, resolution=1 / 100).p_value, 4)
        0.0262
    """
    check_share("level", level)
    not_negative("test_train_ratio", test_train_ratio)
    mean, spread, runs = mean_and_spread(first, second, resolution=resolution)
    if runs < 2:
        return PairedTest(mean, math.nan, math.nan, math.nan, math.nan, runs)
    from scipy import special

    if spread == 0:
        statistic = 0.0 if mean == 0 else math.copysign(math.inf, mean)
        p_value = 1.0 if mean == 0 else 2.0 ** (1 - runs)
        return PairedTest(mean, statistic, _if_enough(runs, p_value), math.nan, math.nan, runs)
    error = spread * math.sqrt(1 / runs + test_train_ratio)
    statistic = mean / error
    p_value = float(2 * special.stdtr(runs - 1, -abs(statistic)))
    half = float(special.stdtrit(runs - 1, 0.5 + level / 2)) * error
    return PairedTest(mean, statistic, _if_enough(runs, p_value), mean - half, mean + half, runs)


def mean_and_spread(first: ArrayLike, second: ArrayLike, *, resolution: float) -> tuple[float, float, int]:
    """Mean and standard deviation of the differences, that of rounding included, and their number.

    Args:
        first: scores of one method, one per run, ``[J]``.
        second: of the other.
        resolution: smallest step between two scores, see :func:`corrected_t_test`.

    Returns:
        The mean (``nan`` without runs), the standard deviation (``nan`` below two runs), and J.

    Raises:
        ValueError: for different lengths, values that are not finite, or a negative resolution.
    """
    difference = paired_differences(first, second)
    not_negative("resolution", resolution)
    runs = difference.size
    mean = float(difference.mean()) if runs else math.nan
    if runs < 2:
        return mean, math.nan, runs
    # Differences of equal scores may differ in their last digit: that is no variance.
    spread = float(difference.std(ddof=1))
    spread = 0.0 if spread <= 1e-12 * max(1.0, abs(mean)) else spread
    if spread == 0 and abs(mean) <= 1e-12:
        mean = 0.0
    return mean, math.sqrt(spread**2 + resolution**2 / 6), runs


def _if_enough(runs: int, p_value: float) -> float:
    return p_value if runs >= FEWEST_PAIRS else math.nan


def wilcoxon_test(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Wilcoxon's signed-rank test, two-sided: SciPy's, with an answer where all differences are zero.

    The differences are ranked by size; under chance the ranks of positive and of negative ones have equal sums. Zero
    differences are dropped, as Wilcoxon did. The p-value is exact for up to 50 pairs without ties and zeros, and
    SciPy's permutation or normal approximation otherwise. With J pairs no p-value is below 2 / 2^J: five pairs never
    reach 0.05.

    Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945; for methods over
    data sets Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006.

    Args:
        first: scores of one method, one per data set (or run), ``[J]``.
        second: of the other.

    Raises:
        ValueError: for different lengths, or values that are not finite.

    Example:
        >>> from lcat.study.statistics import wilcoxon_test
        >>> wilcoxon_test(
        ...     [0.9, 0.8, 0.7, 0.95, 0.85, 0.6], [0.8, 0.75, 0.68, 0.94, 0.82, 0.56]
        ... ).p_value
        0.03125
    """
    difference = paired_differences(first, second)
    runs = difference.size
    mean = float(difference.mean()) if runs else math.nan
    if runs < 2:
        return PairedTest(mean, math.nan, math.nan, math.nan, math.nan, runs)
    # 0.83 - 0.82 and 0.85 - 0.84 are one difference to a reader, and a tie to this test.
    difference = np.round(difference, 12)
    if not difference.any():
        return PairedTest(mean, 0.0, 1.0, math.nan, math.nan, runs)
    from scipy import stats

    result = stats.wilcoxon(difference)
    return PairedTest(mean, float(result.statistic), float(result.pvalue), math.nan, math.nan, runs)


def fewest_wilcoxon_pairs(alpha: float = 0.05, tests: int = 1) -> int:
    """The smallest number of pairs with which Wilcoxon's test can reach ``alpha`` at all.

    The smallest p-value of J pairs is 2 / 2^J; Holm's rule over m tests asks the smallest for alpha / m.

    Args:
        alpha: level, in (0, 1).
        tests: m, at least 1.

    Example:
        >>> from lcat.study.statistics import fewest_wilcoxon_pairs
        >>> fewest_wilcoxon_pairs(), fewest_wilcoxon_pairs(tests=6)
        (6, 8)
    """
    check_share("alpha", alpha)
    if tests < 1:
        raise ValueError(f"tests must be at least 1; got {tests}")
    return math.ceil(1 + math.log2(tests / alpha))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    r"""p-values adjusted for the number of tests, by Holm's step-down rule.

    With the p-values in ascending order, :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})`. Calling
    those below alpha significant makes a false claim among all of them with probability alpha at most, whatever
    their dependence. Entries that are ``nan`` stay so and do not count.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    Args:
        p_values: ``[m]``, each in [0, 1] or ``nan``.

    Returns:
        The adjusted p-values in the given order, ``[m]``.

    Raises:
        ValueError: for values outside [0, 1].

    Example:
        >>> from lcat.study.statistics import holm
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    array = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(array)
    tested = vector("p_values", array[known])
    if ((tested < 0) | (tested > 1)).any():
        raise ValueError(f"p_values must lie in [0, 1]; got {tested[(tested < 0) | (tested > 1)][0]}")
    order = np.argsort(tested, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, tested[order] * np.arange(tested.size, 0, -1)))
    adjusted = np.empty_like(tested)
    adjusted[order] = stepped
    array[known] = adjusted
    return array
