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
    fewest_datasets,
    friedman_test,
    nemenyi,
    rank_permutations,
    ranks,
    tied_groups,
)
from lcat.study.statistics.over_datasets import FEW_DATASETS


def table(seed, datasets=8, methods=5, ties=False):
    scores = np.random.default_rng(seed).normal(0.8, 0.05, size=(datasets, methods))
    return np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_ranks_and_friedman_are_scipys(seed, ties):
    scores = table(seed, ties=ties)
    assert np.array_equal(ranks(scores), stats.rankdata(-scores, axis=1))
    result, expected = friedman_test(scores), stats.friedmanchisquare(*scores.T)
    assert result.statistic == pytest.approx(expected.statistic)
    assert result.chi_square_p_value == pytest.approx(expected.pvalue)
    assert result.average_ranks == pytest.approx(average_ranks(scores).tolist())


def test_the_worked_example_of_demsar():
    """Four methods on 14 data sets with average ranks 3.143, 2.000, 2.893, 1.964 (JMLR 7, 2006, section 3.2.4)."""
    wanted = np.array([44, 28, 40.5, 27.5])
    rows = np.array([*itertools.permutations([1.0, 2.0, 3.0, 4.0]), (4.0, 3.0, 1.5, 1.5)])
    ranks_of_methods = _rows_that_sum_to(wanted, rows)
    result = friedman_test(-ranks_of_methods)
    assert [round(value, 3) for value in result.average_ranks] == [3.143, 2.0, 2.893, 1.964]
    k, n = 4, 14
    chi_square = 12 * n / (k * (k + 1)) * (sum((wanted / n) ** 2) - k * (k + 1) ** 2 / 4)
    assert round(chi_square, 2) == 9.28
    # One data set has a tie of two: the correction is 1 - (8 - 2) / (14 * 4 * 15).
    assert result.statistic == pytest.approx(chi_square / (1 - 6 / 840))
    assert round((n - 1) * chi_square / (n * (k - 1) - chi_square), 2) == 3.69
    assert result.iman_davenport == pytest.approx(13 * result.statistic / (42 - result.statistic))
    assert result.iman_davenport_p_value == pytest.approx(stats.f.sf(result.iman_davenport, 3, 39))
    assert round(critical_difference(4, 14), 2) == 1.25
    assert round(critical_difference(4, 14, alpha=0.10), 2) == 1.12


def _rows_that_sum_to(wanted, rows):
    """13 orders and one row with a tie whose ranks add up to ``wanted``, found by a random walk."""
    generator = np.random.default_rng(0)
    indices = [24, *generator.integers(0, 24, size=13)]
    for _ in range(100_000):
        distance = np.abs(rows[indices].sum(axis=0) - wanted).sum()
        if distance == 0:
            return rows[indices]
        trial = list(indices)
        trial[generator.integers(1, 14)] = generator.integers(0, 24)
        if np.abs(rows[trial].sum(axis=0) - wanted).sum() <= distance + (generator.random() < 0.05):
            indices = trial
    raise AssertionError("no such ranks")


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("seed", "methods"), [(0, 2), (1, 3), (2, 5), (3, 11)])
def test_nemenyi_is_that_of_scikit_posthocs(seed, methods, ties):
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = table(seed, datasets=FEW_DATASETS + 1, methods=methods, ties=ties)
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
    assert result.pvalue == pytest.approx(friedman_test(scores).chi_square_p_value, abs=1e-12)
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
    assert agreed.iman_davenport == math.inf
    assert math.isnan(agreed.iman_davenport_p_value), "F says nothing of data sets that agree"
    assert agreed.p_value == agreed.permutation_p_value == pytest.approx(6.0**-4)
    assert agreed.statistic == pytest.approx(5 * 2)
    many = friedman_test(np.tile([0.9, 0.8, 0.7], (FEW_DATASETS + 1, 1)))
    assert math.isnan(many.permutation_p_value)
    assert many.p_value == many.chi_square_p_value == pytest.approx(stats.chi2.sf(2 * (FEW_DATASETS + 1), 2))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("datasets", "methods"), [(2, 2), (2, 3), (4, 2), (3, 3), (2, 4)])
def test_few_data_sets_are_tested_over_all_orders_of_their_scores(datasets, methods, ties):
    """Against counting them one by one."""
    scores = table(datasets + methods, datasets, methods, ties)
    result, observed = friedman_test(scores), ranks(scores)
    orders = [list(itertools.permutations(row)) for row in observed]
    means = np.array([np.mean(choice, axis=0) for choice in itertools.product(*orders)])
    deviations = ((means - (methods + 1) / 2) ** 2).sum(axis=1)
    deviation = ((observed.mean(axis=0) - (methods + 1) / 2) ** 2).sum()
    assert result.p_value == pytest.approx(np.mean(deviations >= deviation - 1e-9))
    spans = np.ptp(means, axis=1)
    between = np.abs(observed.mean(axis=0)[:, None] - observed.mean(axis=0)[None, :])
    expected = [[np.mean(spans >= d - 1e-9) for d in row] for row in between]
    assert nemenyi(scores) == pytest.approx(np.array(expected))
    reached = [span for span in sorted(set(spans.round(9))) if np.mean(spans >= span - 1e-9) <= 0.2]
    expected_difference = reached[0] if reached else math.inf
    assert critical_difference(methods, datasets, alpha=0.2, scores=scores) == pytest.approx(expected_difference)


def test_where_orders_are_drawn_the_observed_one_counts():
    scores = np.tile(np.arange(9.0), (4, 1))
    result = friedman_test(scores)
    assert result.p_value == pytest.approx(1 / 20_001), "no p-value is 0"
    assert nemenyi(scores).min() > 0
    scores = table(0, 3, 4)
    drawn = rank_permutations._drawn(tuple(map(tuple, ranks(scores).tolist())))
    means = drawn[0] / 3
    share = np.mean(((means - 2.5) ** 2).sum(axis=1) >= ((ranks(scores).mean(axis=0) - 2.5) ** 2).sum() - 1e-9)
    # Four standard deviations of a share of 20,000 draws.
    assert share == pytest.approx(friedman_test(scores).p_value, abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("methods", [2, 3, 4, 6])
def test_fewest_data_sets_are_just_enough(methods):
    needed = fewest_datasets(methods)
    assert friedman_test(np.tile(np.arange(methods), (needed, 1))).p_value <= 0.05
    if needed > 2:
        assert friedman_test(np.tile(np.arange(methods), (needed - 1, 1))).p_value > 0.05


@pytest.mark.parametrize(("datasets", "methods"), [(2, 3), (3, 3), (4, 2), (6, 4), (10, 3)])
def test_methods_that_do_not_differ_are_called_different_at_most_as_often_as_alpha(datasets, methods):
    generator = np.random.default_rng(datasets)
    studies = generator.normal(0.8, 0.01, size=(500, datasets, methods)).round(3)
    friedman = np.mean([friedman_test(scores).p_value <= 0.05 for scores in studies])
    pairs = np.mean([(nemenyi(scores) <= 0.05).any() for scores in studies])
    # At most 5 %, and three standard deviations of a share of 500 studies.
    assert max(friedman, pairs) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 500)


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
    groups = tied_groups(values, difference)
    assert sorted(map(sorted, groups)) == sorted(map(sorted, expected))
    assert all(list(values[group]) == sorted(values[group]) for group in groups)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranks([1, 2]), r"at least 2 data sets x 2 methods; got shape \(2,\)"),
        (lambda: friedman_test([[1, 2]]), r"got shape \(1, 2\)"),
        (lambda: nemenyi([[1, math.nan], [1, 2]]), "leave out data sets on which a method has no score"),
        (lambda: critical_difference(1, 5), "at least 2 methods and 1 data set are needed; got 1 and 5"),
        (lambda: fewest_datasets(1), "methods must be at least 2; got 1"),
        (lambda: critical_difference(3, 5, alpha=0), "alpha must lie between 0 and 1; got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
