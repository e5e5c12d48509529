"""Ranks and their tests agree with SciPy, scikit-posthocs and autorank, and with Demsar's worked example."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lcat.study.statistics import (
    average_ranks,
    critical_difference,
    friedman_test,
    nemenyi,
    ranks,
    tied_groups,
)


def table(seed, datasets=8, methods=5, ties=False):
    found = np.random.default_rng(seed).normal(0.8, 0.05, size=(datasets, methods))
    return np.round(found, 1) if ties else found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_ranks_and_friedman_are_scipys(seed, ties):
    scores = table(seed, ties=ties)
    assert np.array_equal(ranks(scores), stats.rankdata(-scores, axis=1))
    found, expected = friedman_test(scores), stats.friedmanchisquare(*scores.T)
    assert (found.statistic, found.p_value) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert found.average_ranks == pytest.approx(average_ranks(scores).tolist())


def test_the_worked_example_of_demsar():
    """Four methods on 14 data sets with average ranks 3.143, 2.000, 2.893, 1.964 (JMLR 7, 2006, section 3.2.4)."""
    wanted = np.array([44, 28, 40.5, 27.5])
    rows = np.array([*itertools.permutations([1.0, 2.0, 3.0, 4.0]), (4.0, 3.0, 1.5, 1.5)])
    chosen = _rows_that_sum_to(wanted, rows)
    found = friedman_test(-chosen)
    assert [round(value, 3) for value in found.average_ranks] == [3.143, 2.0, 2.893, 1.964]
    k, n = 4, 14
    chi_square = 12 * n / (k * (k + 1)) * (sum((wanted / n) ** 2) - k * (k + 1) ** 2 / 4)
    assert round(chi_square, 2) == 9.28
    # One data set has a tie of two: the correction is 1 - (8 - 2) / (14 * 4 * 15).
    assert found.statistic == pytest.approx(chi_square / (1 - 6 / 840))
    assert round((n - 1) * chi_square / (n * (k - 1) - chi_square), 2) == 3.69
    assert found.iman_davenport == pytest.approx(13 * found.statistic / (42 - found.statistic))
    assert found.iman_davenport_p_value == pytest.approx(stats.f.sf(found.iman_davenport, 3, 39))
    assert round(critical_difference(4, 14), 2) == 1.25
    assert round(critical_difference(4, 14, alpha=0.10), 2) == 1.12


def _rows_that_sum_to(wanted, rows):
    """13 orders and one row with a tie whose ranks add up to ``wanted``, found by a random walk."""
    generator = np.random.default_rng(0)
    chosen = [24, *generator.integers(0, 24, size=13)]
    for _ in range(100_000):
        distance = np.abs(rows[chosen].sum(axis=0) - wanted).sum()
        if distance == 0:
            return rows[chosen]
        trial = list(chosen)
        trial[generator.integers(1, 14)] = generator.integers(0, 24)
        if np.abs(rows[trial].sum(axis=0) - wanted).sum() <= distance + (generator.random() < 0.05):
            chosen = trial
    raise AssertionError("no such ranks")


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("seed", "methods"), [(0, 2), (1, 3), (2, 5), (3, 11)])
def test_nemenyi_is_that_of_scikit_posthocs(seed, methods, ties):
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = table(seed, methods=methods, ties=ties)
    # Ranks do not care for the direction, as the test is two-sided.
    expected = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    assert nemenyi(scores) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_ranks_and_critical_difference_are_those_of_autorank(seed):
    autorank = pytest.importorskip("autorank")
    pandas = pytest.importorskip("pandas")
    # Uniform numbers are not normal, and shifted columns differ: autorank then takes Friedman and Nemenyi.
    generator = np.random.default_rng(seed)
    scores = generator.exponential(0.05, size=(30, 4)) + 0.05 * np.arange(4)
    frame = pandas.DataFrame(scores, columns=list("abcd"))
    result = autorank.autorank(frame, alpha=0.05, verbose=False, force_mode="nonparametric")
    assert (result.omnibus, result.posthoc) == ("friedman", "nemenyi")
    assert result.rankdf.loc[list("abcd"), "meanrank"].to_numpy() == pytest.approx(average_ranks(scores))
    assert result.pvalue == pytest.approx(friedman_test(scores).p_value, abs=1e-12)
    # autorank reads its quantile from a table of three digits.
    assert result.cd == pytest.approx(critical_difference(4, 30), abs=2e-3)


def test_a_difference_of_just_the_critical_one_has_p_equal_alpha():
    for alpha in (0.01, 0.05, 0.1):
        value = critical_difference(6, 9, alpha=alpha) / math.sqrt(6 * 7 / (6 * 9)) * math.sqrt(2)
        assert stats.studentized_range.sf(value, 6, math.inf) == pytest.approx(alpha, abs=1e-7)


def test_extremes():
    same = friedman_test(np.full((4, 3), 0.5))
    assert (same.statistic, same.p_value, same.iman_davenport_p_value) == (0.0, 1.0, 1.0)
    assert (nemenyi(np.full((4, 3), 0.5)) == 1).all()
    agreed = friedman_test(np.tile([0.9, 0.8, 0.7], (5, 1)))
    assert (agreed.iman_davenport, agreed.iman_davenport_p_value) == (math.inf, 0.0)
    assert agreed.statistic == pytest.approx(5 * 2)


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_all_largest_ones(seed):
    generator = np.random.default_rng(seed)
    values, difference = generator.uniform(1, 6, size=7), float(generator.uniform(0.3, 3))
    close = [
        set(group)
        for size in range(2, 8)
        for group in itertools.combinations(range(7), size)
        if max(values[list(group)]) - min(values[list(group)]) < difference
    ]
    expected = [group for group in close if not any(group < other for other in close)]
    found = tied_groups(values, difference)
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    assert all(list(values[group]) == sorted(values[group]) for group in found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranks([1, 2]), r"at least 2 data sets x 2 methods; got shape \(2,\)"),
        (lambda: friedman_test([[1, 2]]), r"got shape \(1, 2\)"),
        (lambda: nemenyi([[1, math.nan], [1, 2]]), "leave out data sets on which a method has no score"),
        (lambda: critical_difference(1, 5), "at least 2 methods and 1 data set are needed; got 1 and 5"),
        (lambda: critical_difference(3, 5, alpha=0), "alpha must lie between 0 and 1; got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
