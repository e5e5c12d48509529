"""How sure a mean over seeds, splits or folds is."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lcat.study.statistics._checks import not_negative, vector
from lcat.study.statistics.shares import check_share

__all__ = ["Interval", "IntervalMethod", "check_method", "confidence_interval"]

IntervalMethod = Literal["t", "bootstrap"]


@dataclass(frozen=True)
class Interval:
    """A mean and what is known of it.

    Attributes:
        mean: arithmetic mean; ``nan`` without values.
        std: unbiased standard deviation (division by n - 1); ``nan`` below two values.
        low, high: ends of the confidence interval; ``nan`` below two values.
        runs: number of values.
    """

    mean: float
    std: float
    low: float
    high: float
    runs: int


def confidence_interval(
    values: ArrayLike,
    *,
    level: float = 0.95,
    method: IntervalMethod = "t",
    test_train_ratio: float = 0.0,
    resolution: float = 0.0,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    r"""Mean, unbiased standard deviation and confidence interval of a mean.

    ``method="t"`` takes Student's distribution with :math:`J - 1` degrees of freedom,

    .. math:: \bar x \pm t_{J-1} \sqrt{\left(\tfrac1J + \rho\right) \left(s^2 + \tfrac{r^2}{12}\right)}

    with :math:`\rho = 0` for independent runs. Runs on resampled splits share training nodes; for these
    :math:`\rho = n_{test} / n_{train}` (Nadeau and Bengio, "Inference for the generalization error", Machine Learning
    52, 2003) keeps the interval from becoming far too narrow. :math:`r` is the ``resolution``: an accuracy on m test
    nodes is a multiple of 1/m, so equal accuracies are known up to a rounding error and no interval has width 0.

    ``method="bootstrap"`` draws the runs again with replacement and takes the bias-corrected and accelerated
    quantiles of the means (Efron, "Better bootstrap confidence intervals", JASA 82, 1987; SciPy's implementation). It
    assumes independent runs and needs more than a handful of them.

    Args:
        values: one number a run, ``[J]``.
        level: share of such intervals that hold the true mean, in (0, 1).
        method: ``"t"`` or ``"bootstrap"``.
        test_train_ratio: :math:`\rho` above; for ``"t"`` only.
        resolution: :math:`r` above, the smallest step between two values, at least 0; for ``"t"`` only.
        resamples: bootstrap draws.
        seed: of the bootstrap draws.

    Raises:
        ValueError: for values that are not finite, an unknown method, a level outside (0, 1) or a negative ratio.

    Complexity:
        J, or J times ``resamples`` for the bootstrap.

    Example:
        >>> from lcat.study.statistics import confidence_interval
        >>> interval = confidence_interval([0.80, 0.82, 0.81])
        >>> (
        ...     round(interval.mean, 3),
        ...     round(interval.std, 3),
        ...     round(interval.low, 3),
        ...     round(interval.high, 3),
        ... )
        (0.81, 0.01, 0.785, 0.835)
    """
    array = vector("values", values)
    check_share("level", level)
    check_method("method", method)
    if test_train_ratio < 0 or (test_train_ratio and method == "bootstrap"):
        raise ValueError(
            "test_train_ratio must be at least 0, and 0 for method 'bootstrap', which assumes independent runs; "
            f"got {test_train_ratio} for method {method!r}"
        )
    not_negative("resolution", resolution)
    if array.size == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, math.nan, math.nan, math.nan, 1)
    std = float(array.std(ddof=1))
    if np.all(array == array[0]):  # no rounding of the mean then
        mean, std = float(array[0]), 0.0
    if method == "t" or std == 0:
        spread = math.sqrt(std**2 + resolution**2 / 12)
        half = _t_quantile(level, array.size - 1) * spread * math.sqrt(1 / array.size + test_train_ratio)
        return Interval(mean, std, mean - half, mean + half, array.size)
    low, high = _bootstrap(array, level, resamples, seed)
    return Interval(mean, std, low, high, array.size)


def check_method(name: str, method: str) -> None:
    """``method`` is one of :data:`IntervalMethod`; ``name`` is that of the argument, for the message."""
    if method not in ("t", "bootstrap"):
        raise ValueError(f"{name} must be 't' or 'bootstrap'; got {method!r}")


def _t_quantile(level: float, degrees: int) -> float:
    from scipy import special

    return float(special.stdtrit(degrees, 0.5 + level / 2))


def _bootstrap(array: np.ndarray, level: float, resamples: int, seed: int) -> tuple[float, float]:
    from scipy import stats

    with warnings.catch_warnings():
        # Of two runs the jackknife has no skewness: SciPy warns and gives nan, and we fall back below.
        warnings.simplefilter("ignore")
        interval = stats.bootstrap(
            (array,), np.mean, confidence_level=level, n_resamples=resamples, rng=np.random.default_rng(seed)
        ).confidence_interval
        if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
            interval = stats.bootstrap(
                (array,),
                np.mean,
                confidence_level=level,
                n_resamples=resamples,
                method="percentile",
                rng=np.random.default_rng(seed),
            ).confidence_interval
    return float(interval.low), float(interval.high)
