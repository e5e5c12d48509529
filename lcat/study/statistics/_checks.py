"""Checks of what the statistics are given."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcat._text import counted

__all__ = ["paired_differences", "score_table", "vector"]


def vector(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as a vector of finite numbers.

    Raises:
        ValueError: for another number of dimensions, and for NaN or infinity.
    """
    array = _numbers(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension; got shape {array.shape}")
    if not np.isfinite(array).all():
        times = counted(int(np.count_nonzero(~np.isfinite(array))), "time")
        raise ValueError(f"{name} must be finite; got nan or inf {times}")
    return array


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be real numbers, in a list or an array; got {values!r:.80}") from None


def paired_differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """``first - second`` for two vectors of one length."""
    one, two = vector("first", first), vector("second", second)
    if one.shape != two.shape:
        got = f"{one.size} and {counted(two.size, 'value')}"
        raise ValueError(f"paired tests need both methods on the same splits; got {got}")
    return one - two


def score_table(scores: ArrayLike) -> NDArray[np.float64]:
    """``scores`` as a table of finite numbers, data sets by methods, with at least two of each."""
    table = _numbers("scores", scores)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 2:
        raise ValueError(f"scores must be a table of at least 2 data sets x 2 methods; got shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite; leave out data sets on which a method has no score")
    return table


def not_negative(name: str, value: float) -> float:
    """``value`` if it is a finite number of at least 0."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number, at least 0; got {value}")
    return float(value)
