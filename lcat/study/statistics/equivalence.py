"""Two methods on the same splits: are they equally good, within a margin that matters?

A p-value above 0.05 says that a difference was not seen, not that there is none. Here are the test of equivalence, a
verdict from both tests, the Bayesian answer, and what a study could have seen at all. Everything is made from the mean
and the standard error of :func:`~lcat.study.statistics.corrected_t_test`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcat._numbers import as_float
from lcat.study.statistics._checks import not_negative
from lcat.study.statistics.paired import FEWEST_PAIRS, mean_and_spread
from lcat.study.statistics.shares import check_share

__all__ = [
    "MARGIN",
    "Equivalence",
    "Posterior",
    "Verdict",
    "alpha_of_look",
    "equivalence_test",
    "posterior",
    "samples_to_decide",
    "smallest_difference",
    "verdict",
]

#: Differences below this do not matter, unless somebody says otherwise: one percentage point of a share.
MARGIN = 0.01
#: More samples than this are not proposed: from here on only what all splits share stays in the error.
_LIMIT = 1_000_000_000

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True)
class Equivalence:
    """What a test of equivalence found.

    Attributes:
        difference: mean of first minus second.
        margin: the largest difference that does not matter.
        p_value: the larger one of the two one-sided tests; ``nan`` where there are too few pairs for a test.
        low, high: interval of the difference whose level belongs to the test (90 % for alpha = 0.05): the methods are
            equivalent if it lies within the margin. ``nan`` where it is not known.
        runs: number of pairs.
    """

    difference: float
    margin: float
    p_value: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class Posterior:
    """What is believed of a difference after a study, if nothing was known of it before.

    Attributes:
        worse: probability that the first method is worse by more than the margin.
        equivalent: that the difference is within the margin.
        better: that the first method is better by more than the margin.
    """

    worse: float
    equivalent: float
    better: float


def equivalence_test(
    first: ArrayLike,
    second: ArrayLike,
    *,
    margin: float = MARGIN,
    test_train_ratio: float,
    resolution: float = 0.0,
    alpha: float = 0.05,
) -> Equivalence:
    r"""Two one-sided tests (TOST) of "the methods differ by more than the margin".

    With the mean difference :math:`\bar d` of J runs and its standard error :math:`e`, both as in
    :func:`corrected_t_test`, and Student's distribution :math:`T_{J-1}`,

    .. math:: p = \max\left\{ P\!\left(T_{J-1} \ge \frac{\bar d + m}{e}\right),
              P\!\left(T_{J-1} \le \frac{\bar d - m}{e}\right) \right\}

    A p-value of at most alpha claims that the true difference is within :math:`\pm m`; that claim is false with
    probability alpha at most.

    Source: Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", Journal of
    Pharmacokinetics and Biopharmaceutics 15, 1987.

    Args:
        first: scores of one method, one per run, ``[J]``.
        second: of the other, run j on the same split.
        margin: m, above 0, in the unit of the scores.
        test_train_ratio: as in :func:`corrected_t_test`.
        resolution: as in :func:`corrected_t_test`.
        alpha: level of the test, in (0, 0.5).

    Raises:
        ValueError: for different lengths, values that are not finite, a margin that is not above 0.

    Note:
        There is no test (p is ``nan``) with fewer than three pairs, nor where the variance is not known (the same
        difference in all runs, with resolution 0).

    Example:
        >>> from lcat.study.statistics import equivalence_test
        >>> a, b = [0.831, 0.848, 0.842, 0.857, 0.849], [0.830, 0.850, 0.843, 0.855, 0.849]
        >>> round(equivalence_test(a, b, margin=0.01, test_train_ratio=0).p_value, 5)
        7e-05
    """
    margin, alpha = read_margin(margin), read_alpha(alpha)
    mean, spread, runs = mean_and_spread(first, second, resolution=resolution)
    not_negative("test_train_ratio", test_train_ratio)
    if runs < 2 or spread == 0:
        return Equivalence(mean, margin, math.nan, math.nan, math.nan, runs)
    from scipy import special

    error = spread * math.sqrt(1 / runs + test_train_ratio)
    degrees = runs - 1
    p_value = max(
        float(special.stdtr(degrees, -(mean + margin) / error)), float(special.stdtr(degrees, (mean - margin) / error))
    )
    half = float(special.stdtrit(degrees, 1 - alpha)) * error
    return Equivalence(mean, margin, p_value if runs >= FEWEST_PAIRS else math.nan, mean - half, mean + half, runs)


def verdict(difference: float, p_different: float, p_equivalent: float, *, alpha: float = 0.05) -> Verdict:
    """One word from both tests, for the first method.

    Args:
        difference: mean of first minus second.
        p_different: of :func:`corrected_t_test`, adjusted for the number of tests where there are several.
        p_equivalent: of :func:`equivalence_test`, adjusted likewise.
        alpha: level of both, in (0, 0.5).

    Returns:
        ``"equivalent"`` if the difference is shown to be within the margin, also where it is shown not to be zero:
        the margin says that such a difference does not matter. Otherwise ``"better"`` or ``"worse"`` if it is shown not
        to be zero, and ``"undecided"`` if neither is shown, or where there is no test (``nan``).

    Example:
        >>> from lcat.study.statistics import verdict
        >>> (
        ...     verdict(0.002, p_different=0.3, p_equivalent=0.01),
        ...     verdict(0.03, p_different=0.01, p_equivalent=0.9),
        ... )
        ('equivalent', 'better')
    """
    alpha = read_alpha(alpha)
    for name, value in (("p_different", p_different), ("p_equivalent", p_equivalent)):
        number = as_float(value)
        if number is None or number < 0 or number > 1:  # nan is neither
            raise ValueError(f"{name} must be a p-value in 0 .. 1, or nan; got {value!r}")
    if p_equivalent <= alpha:
        return "equivalent"
    if p_different <= alpha:
        return "better" if difference > 0 else "worse"
    return "undecided"


def alpha_of_look(look: int, alpha: float = 0.05) -> float:
    r"""The level of one look at results that keep coming: :math:`\alpha / (k (k + 1))` for look k.

    The levels of all looks add up to alpha. So a false claim at any of them has a probability of alpha at most,
    whatever the looks are like and however many there are (the union bound).

    Args:
        look: k, from 1.
        alpha: level of all looks together, in (0, 0.5).

    Raises:
        ValueError: for a look below 1, or alpha out of range.

    Example:
        >>> from lcat.study.statistics import alpha_of_look
        >>> [round(alpha_of_look(look), 4) for look in (1, 2, 3)]
        [0.025, 0.0083, 0.0042]
    """
    if look < 1:
        raise ValueError(f"looks are numbered from 1; got {look}")
    return read_alpha(alpha) / (look * (look + 1))


def posterior(
    first: ArrayLike,
    second: ArrayLike,
    *,
    margin: float = MARGIN,
    test_train_ratio: float,
    resolution: float = 0.0,
) -> Posterior:
    r"""The Bayesian correlated t test: probabilities of better, worse and practically equivalent.

    With a prior that knows nothing, the true difference has the distribution :math:`\bar d + e\, T_{J-1}`, with the
    mean :math:`\bar d` and standard error :math:`e` of :func:`corrected_t_test`. The margin is the region of practical
    equivalence.

    Source: Benavoli, Corani, Demsar and Zaffalon, "Time for a change: a tutorial for comparing multiple classifiers
    through Bayesian analysis", JMLR 18, 2017.

    Args:
        first: scores of one method, one per run, ``[J]``.
        second: of the other, run j on the same split.
        margin: above 0, in the unit of the scores.
        test_train_ratio: as in :func:`corrected_t_test`.
        resolution: as in :func:`corrected_t_test`.

    Returns:
        Three probabilities that add up to 1; ``nan`` with fewer than three pairs or an unknown variance.

    Raises:
        ValueError: for different lengths, values that are not finite, a margin that is not above 0.

    Example:
        >>> from lcat.study.statistics import posterior
        >>> belief = posterior(
        ...     [0.84, 0.86, 0.85, 0.88], [0.80, 0.83, 0.80, 0.84], test_train_ratio=0
        ... )
        >>> round(belief.better, 3)
        0.997
    """
    margin = read_margin(margin)
    mean, spread, runs = mean_and_spread(first, second, resolution=resolution)
    not_negative("test_train_ratio", test_train_ratio)
    if runs < FEWEST_PAIRS or spread == 0:
        return Posterior(math.nan, math.nan, math.nan)
    from scipy import special

    error = spread * math.sqrt(1 / runs + test_train_ratio)
    worse = float(special.stdtr(runs - 1, (-margin - mean) / error))
    better = float(special.stdtr(runs - 1, (mean - margin) / error))
    return Posterior(worse, max(1.0 - worse - better, 0.0), better)


def smallest_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    test_train_ratio: float,
    resolution: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    r"""The true difference that a study of this size and spread shows with probability ``power``.

    The corrected t test rejects with probability :math:`1 - F(t) + F(-t)` for the noncentral t distribution :math:`F`
    with :math:`J - 1` degrees of freedom and noncentrality :math:`\delta / e`; this is the :math:`\delta` at which that
    is ``power``. The standard error :math:`e` is taken for known, as is usual in planning.

    Args:
        first: scores of one method, one per run, ``[J]``.
        second: of the other, run j on the same split.
        test_train_ratio: as in :func:`corrected_t_test`.
        resolution: as in :func:`corrected_t_test`.
        power: probability of showing it, between alpha and 1.
        alpha: level of the test, in (0, 0.5).

    Returns:
        In the unit of the scores; ``nan`` with fewer than three pairs or an unknown variance.

    Raises:
        ValueError: for different lengths, values that are not finite, a power out of range.

    Example:
        >>> from lcat.study.statistics import smallest_difference
        >>> a, b = [0.83, 0.85, 0.84, 0.86, 0.85], [0.82, 0.82, 0.83, 0.83, 0.84]
        >>> round(smallest_difference(a, b, test_train_ratio=0), 4)
        0.0184
    """
    alpha = read_alpha(alpha)
    check_share("power", power)
    if power <= alpha:
        raise ValueError(f"power must be above alpha, {alpha}; got {power}")
    _, spread, runs = mean_and_spread(first, second, resolution=resolution)
    not_negative("test_train_ratio", test_train_ratio)
    if runs < FEWEST_PAIRS or spread == 0:
        return math.nan
    return _noncentrality(runs - 1, power, alpha) * spread * math.sqrt(1 / runs + test_train_ratio)


def samples_to_decide(
    first: ArrayLike,
    second: ArrayLike,
    *,
    margin: float = MARGIN,
    test_train_ratio: float,
    resolution: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """How many samples it takes until one of the two tests decides, if the truth is what was seen so far.

    The smallest J with which the corrected t test shows a difference, or :func:`equivalence_test` shows equivalence,
    with probability ``power``, for the mean and the spread of these runs. An estimate for planning: few runs know
    neither well.

    Args:
        first: scores of one method, one per run, ``[J]``.
        second: of the other, run j on the same split.
        margin: above 0, in the unit of the scores.
        test_train_ratio: as in :func:`corrected_t_test`. Above 0 the variance never falls below a limit, so that no
            number of samples may be enough.
        resolution: as in :func:`corrected_t_test`.
        power: in (0, 1).
        alpha: level of both tests, in (0, 0.5).

    Returns:
        The number of samples, at least 3; ``inf`` if a thousand million do not suffice; ``nan`` with fewer than three
        pairs, or an unknown variance.

    Raises:
        ValueError: for different lengths, values that are not finite, a margin or power out of range.

    Complexity:
        O(J), and at most 60 evaluations of the power, each an integral.

    Example:
        >>> from lcat.study.statistics import samples_to_decide
        >>> a, b = [0.83, 0.85, 0.84, 0.86, 0.85], [0.82, 0.85, 0.83, 0.86, 0.86]
        >>> samples_to_decide(a, b, margin=0.01, test_train_ratio=0)
        9.0
    """
    margin, alpha = read_margin(margin), read_alpha(alpha)
    check_share("power", power)
    mean, spread, runs = mean_and_spread(first, second, resolution=resolution)
    not_negative("test_train_ratio", test_train_ratio)
    if runs < FEWEST_PAIRS or spread == 0:
        return math.nan

    def decides(count: int) -> bool:
        error = spread * math.sqrt(1 / count + test_train_ratio)
        return (
            _power_of_t(abs(mean) / error, count - 1, alpha) >= power
            or _power_of_equivalence(mean, margin, error, count - 1, alpha) >= power
        )

    # Both powers grow with the number of samples.
    low, high = FEWEST_PAIRS - 1, FEWEST_PAIRS
    while not decides(high):
        if high >= _LIMIT:
            return math.inf
        low, high = high, min(2 * high, _LIMIT)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return float(high)


def read_margin(margin: float) -> float:
    """The margin, if it is a number above 0; a ValueError otherwise."""
    number = as_float(margin)
    if number is None or not (number > 0 and math.isfinite(number)):
        raise ValueError(
            f"margin must be above 0, in the unit of the scores (0.01 is one point of a share); got {margin!r}"
        )
    return number


def read_alpha(alpha: float) -> float:
    """The level of tests, if it is a number in (0, 0.5); a ValueError otherwise."""
    number = as_float(alpha)
    if number is None or not 0 < number < 0.5:
        raise ValueError(f"alpha must be between 0 and 0.5; got {alpha!r}")
    return number


def _power_of_t(noncentrality: float, degrees: int, alpha: float) -> float:
    """Probability that the two-sided test rejects, for a true difference of so many errors."""
    from scipy import special

    bound = float(special.stdtrit(degrees, 1 - alpha / 2))
    return _mean_over_errors(
        degrees,
        lambda factor: special.ndtr(noncentrality - bound * factor) + special.ndtr(-noncentrality - bound * factor),
    )


@lru_cache(maxsize=256)
def _noncentrality(degrees: int, power: float, alpha: float) -> float:
    """At which :func:`_power_of_t` is ``power``."""
    from scipy import optimize

    high = 1.0
    while _power_of_t(high, degrees, alpha) < power:
        high *= 2
    return float(optimize.brentq(lambda value: _power_of_t(value, degrees, alpha) - power, 0.0, high))


def _power_of_equivalence(mean: float, margin: float, error: float, degrees: int, alpha: float) -> float:
    r"""Probability that both one-sided tests reject, for a true difference of ``mean`` and a true error of ``error``.

    Given an estimated error of :math:`u\, e`, both reject where the mean is within :math:`\pm (m - t u e)`.
    """
    from scipy import special

    bound = float(special.stdtrit(degrees, 1 - alpha))
    center, reach = mean / error, margin / error

    def inside(factor: NDArray[np.float64]) -> NDArray[np.float64]:
        width = reach - bound * factor
        return np.asarray(special.ndtr(width - center) - special.ndtr(-width - center))

    return _mean_over_errors(degrees, inside, largest=reach / bound)  # beyond, no mean is near enough


def _mean_over_errors(
    degrees: int, function: Callable[[NDArray[np.float64]], NDArray[np.float64]], largest: float = math.inf
) -> float:
    """Mean of a function of the factor by which an error is estimated wrongly, over the factors below ``largest``.

    The square of the factor is a chi-square variable over its degrees of freedom.
    """
    # Beyond eight standard deviations nothing is left.
    low, high = max(0.0, 1 - 8 / math.sqrt(2 * degrees)), min(largest, 1 + 8 / math.sqrt(2 * degrees))
    if high <= low:
        return 0.0
    nodes, weights = _gauss()
    factor = low + (high - low) * (nodes + 1) / 2
    half = degrees / 2
    log_density = (
        math.log(2) + half * math.log(half) - math.lgamma(half)
        + (degrees - 1) * np.log(factor) - half * factor**2
    )  # fmt: skip
    return float((high - low) / 2 * (weights * function(factor) * np.exp(log_density)).sum())


@lru_cache(maxsize=1)
def _gauss() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of a rule on [-1, 1] that is exact for smooth functions."""
    nodes, weights = np.polynomial.legendre.leggauss(120)
    return nodes, weights
