"""Intervals are SciPy's, and hold the true mean as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lcat.study.statistics import confidence_interval


@pytest.mark.parametrize("runs", [2, 3, 5, 30])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_t_interval_is_scipys(runs, level):
    values = np.random.default_rng(runs).normal(0.8, 0.02, size=runs)
    interval = confidence_interval(values, level=level)
    low, high = stats.t.interval(level, runs - 1, loc=values.mean(), scale=stats.sem(values))
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))
    assert (interval.mean, interval.std, interval.runs) == (
        pytest.approx(values.mean()),
        pytest.approx(values.std(ddof=1)),
        runs,
    )


def test_bootstrap_is_scipys():
    values = np.random.default_rng(0).gamma(2.0, size=25)
    interval = confidence_interval(values, method="bootstrap", seed=3, resamples=2000)
    expected = stats.bootstrap((values,), np.mean, n_resamples=2000, rng=np.random.default_rng(3)).confidence_interval
    assert (interval.low, interval.high) == (expected.low, expected.high)
    assert confidence_interval(values, method="bootstrap", seed=3, resamples=2000) == interval
    assert confidence_interval(values, method="bootstrap", seed=4, resamples=2000) != interval


def test_correction_widens_by_the_right_factor():
    values = [0.80, 0.83, 0.81, 0.84, 0.79]
    plain, corrected = confidence_interval(values), confidence_interval(values, test_train_ratio=0.25)
    factor = math.sqrt((1 / 5 + 0.25) / (1 / 5))
    assert corrected.high - corrected.mean == pytest.approx(factor * (plain.high - plain.mean))


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_few_or_equal_values(method):
    assert math.isnan(confidence_interval([], method=method).mean)
    one = confidence_interval([0.7], method=method)
    assert (one.mean, one.runs) == (0.7, 1)
    assert all(math.isnan(value) for value in (one.std, one.low, one.high))
    equal = confidence_interval([0.7, 0.7, 0.7], method=method)
    assert (equal.std, equal.low, equal.high) == (0.0, 0.7, 0.7)
    rounded = confidence_interval([0.7, 0.7, 0.7], method=method, resolution=0.1)
    assert rounded.high - 0.7 == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(12 * 3))
    two = confidence_interval([0.6, 0.8], method=method)
    assert two.low < 0.7 < two.high


def test_coverage():
    generator = np.random.default_rng(5)
    samples = generator.normal(1.0, 3.0, size=(2000, 6))
    held = sum((interval := confidence_interval(row, level=0.9)).low <= 1.0 <= interval.high for row in samples)
    # Binomial with 2000 draws and share 0.9: four standard deviations are 0.027.
    assert abs(held / 2000 - 0.9) < 0.027


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0, math.nan]}, "values must be finite; got nan or inf 1 time"),
        ({"values": [[1.0]]}, r"values must have one dimension; got shape \(1, 1\)"),
        ({"values": [1.0], "level": 1.0}, "level must lie between 0 and 1; got 1.0"),
        ({"values": [1.0], "method": "z"}, "method must be 't' or 'bootstrap'; got 'z'"),
        ({"values": [1.0], "test_train_ratio": -1}, "test_train_ratio must be at least 0.*got -1"),
        ({"values": [1.0], "resolution": math.inf}, "resolution must be a number, at least 0; got inf"),
        ({"values": [1.0], "method": "bootstrap", "test_train_ratio": 0.5}, "assumes independent runs; got 0.5"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        confidence_interval(**arguments)
