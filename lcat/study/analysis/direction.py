"""Which of two values of a metric is better, where its values end, and how exactly tables show them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from lcat._measures import find_measure, sign_of

__all__ = ["are_shares", "direction_of", "is_share", "limits_of", "metrics_by_dataset", "shown", "signs"]


def signs(frame: pd.DataFrame) -> pd.Series:
    """Per row, what its metric is multiplied with so that more is better: 1 or -1."""
    return frame["metric"].map(lambda name: sign_of(str(name))).astype(float)


def direction_of(rows: pd.DataFrame) -> float:
    """The same of all rows of one data set, which have one metric; failed ones may have none."""
    names = rows.loc[rows["metric"] != "", "metric"]
    return sign_of(str(names.iloc[0])) if len(names) else 1.0


def metrics_by_dataset(frame: pd.DataFrame) -> dict[str, str]:
    """The metric of each data set; empty text where no cell has one.

    Example:
        >>> import pandas as pd
        >>> from lcat.study.analysis.direction import metrics_by_dataset
        >>> metrics_by_dataset(pd.DataFrame({"dataset": ["a", "a"], "metric": ["", "mae"]}))
        {'a': 'mae'}
    """
    return {
        str(dataset): next((str(name) for name in rows["metric"] if isinstance(name, str) and name), "")
        for dataset, rows in frame.groupby("dataset", sort=False)
    }


def are_shares(frame: pd.DataFrame) -> bool:
    """Whether all metrics are shares, which are shown in per cent; those that lcat does not know are."""
    return all(is_share(name) for name in set(metrics_by_dataset(frame).values()))


def limits_of(metric: str) -> tuple[float, float]:
    """No value of the metric lies outside; 0 and 1 for metrics that lcat does not know.

    Example:
        >>> from lcat.study.analysis.direction import limits_of
        >>> limits_of("accuracy"), limits_of("r2")
        ((0.0, 1.0), (-inf, 1.0))
    """
    try:
        measure = find_measure(metric)
    except ValueError:
        return 0.0, 1.0
    return measure.low, measure.high


def shown(values: pd.Series | pd.DataFrame, metric: str) -> pd.Series | pd.DataFrame:
    """Values as exact as tables show them, and turned so that more is better: what is equal here is a tie.

    Shares are shown to a tenth of a per cent, others with four digits.

    Example:
        >>> import pandas as pd
        >>> from lcat.study.analysis.direction import shown
        >>> shown(pd.Series([0.81234, 12.3449]), "rmse").tolist()
        [-0.8123, -12.34]
    """
    if is_share(metric):
        rounded = (values * 1000).round() / 1000
        return rounded * sign_of(metric)
    return values.map(_four_digits) * sign_of(metric)


def _four_digits(value: float) -> float:
    if not math.isfinite(value) or value == 0:
        return float(value)
    return float(np.round(value, 3 - math.floor(math.log10(abs(value)))))


def is_share(metric: str) -> bool:
    """Whether a metric is shown in per cent, as those that lcat does not know are."""
    try:
        return find_measure(metric).is_share
    except ValueError:
        return True
