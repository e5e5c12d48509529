"""How values of a metric are written: shares in per cent, all others in their own unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lcat._measures import find_measure, metrics_with_unit
from lcat.study.report.table import percent, percent_points, percent_points_size

__all__ = ["PERCENT", "PLAIN", "Unit", "margin_remark", "metric_name", "unit_of"]


@dataclass(frozen=True)
class Unit:
    """A unit.

    Attributes:
        is_percent: values are shares.
        factor: that figures multiply values with.
        low, high: ends of an axis, in the unit.
        narrowest: smallest part of an axis that says something, in the unit.
    """

    is_percent: bool
    factor: float
    low: float
    high: float
    narrowest: float

    def value(self, value: Any) -> str:
        """A value: per cent with one digit, or four digits."""
        return percent(value) if self.is_percent else f"{float(value):.4g}"

    def difference(self, value: Any) -> str:
        """A difference with its sign: percentage points, or three digits."""
        return percent_points(value) if self.is_percent else f"{float(value):+.3g}".replace("-", "−")

    def size(self, value: Any) -> str:
        """A difference without its sign."""
        return percent_points_size(value) if self.is_percent else f"{abs(float(value)):.3g}"

    def sized(self, value: float) -> str:
        """The same with its unit in words.

        Example:
            >>> from lcat.study.report.unit import PERCENT, PLAIN
            >>> PERCENT.sized(0.01), PERCENT.sized(0.02), PLAIN.sized(0.5)
            ('1 point', '2 points', '0.5')
        """
        if not self.is_percent:
            return self.size(value)
        return f"{self.size(value)} point{'' if value == 0.01 else 's'}"

    def title(self, words: str) -> str:
        """Of a column with values."""
        return f"{words} %" if self.is_percent else words

    def axis(self, words: str) -> str:
        """Of an axis with values."""
        return f"{words} in %" if self.is_percent else words

    @property
    def differences(self) -> str:
        """What differences are counted in."""
        return "percentage points" if self.is_percent else "the unit of the metric"

    @property
    def differences_of_test(self) -> str:
        """What differences of test metrics are counted in."""
        return "percentage points of the test metric" if self.is_percent else "the unit of the test metric"

    @property
    def points(self) -> str:
        """What follows a difference."""
        return " points" if self.is_percent else ""


#: Of shares.
PERCENT = Unit(is_percent=True, factor=100.0, low=0.0, high=100.0, narrowest=1.0)
#: Of all other metrics.
PLAIN = Unit(is_percent=False, factor=1.0, low=-math.inf, high=math.inf, narrowest=0.0)


def unit_of(metrics: Iterable[str]) -> Unit:
    """The unit of these metrics; per cent if all of them are shares, or unknown.

    Example:
        >>> from lcat.study.report.unit import unit_of
        >>> unit_of(["accuracy", "mae"]).value(0.5), unit_of(["accuracy"]).value(0.5)
        ('0.5', '50.0')
    """
    for metric in metrics:
        try:
            if not find_measure(metric).is_share:
                return PLAIN
        except ValueError:
            continue
    return PERCENT


def metric_name(metric: str) -> str:
    """A metric as axes of figures name it.

    Example:
        >>> from lcat.study.report.unit import metric_name
        >>> metric_name("roc-auc"), metric_name("mine")
        ('ROC-AUC', 'mine')
    """
    try:
        return find_measure(metric).title
    except ValueError:
        return metric


def margin_remark(margin: float, metrics: Mapping[str, str]) -> str:
    """That a default margin says nothing of errors in a unit of their own; empty where there are none.

    Args:
        margin: the default.
        metrics: by data set.

    Example:
        >>> from lcat.study.report.unit import margin_remark
        >>> margin_remark(0.01, {"cora": "accuracy"})
        ''
        >>> margin_remark(0.01, {"sums": "mae"})[:49]
        'No margin is named for MAE on sums. The default, '
    """
    units = metrics_with_unit(metrics.values())
    if not units:
        return ""
    datasets = {one: ", ".join(name for name, metric in metrics.items() if metric == one) for one in units}
    where = " and ".join(f"{metric_name(one)} on {names}" for one, names in datasets.items())
    return (
        f"No margin is named for {where}. The default, {margin:g}, is one percentage point of a share. Here it is in "
        "the unit of the targets, where only you know which difference does not matter: name it (--margin, or margin "
        "in the plan). Until then, do not rely on 'equivalent' and 'undecided' there."
    )
