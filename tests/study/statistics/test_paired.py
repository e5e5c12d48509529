"""Paired tests agree with SciPy, statsmodels and baycomp, and keep what they promise on simulated folds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lcat.study.statistics import corrected_t_test, fewest_wilcoxon_pairs, holm, wilcoxon_test


def scores(seed, runs, shift=0.01):
    generator = np.random.default_rng(seed)
    base = generator.normal(0.8, 0.03, size=runs)
    return base + generator.normal(shift, 0.01, size=runs), base


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("runs", [3, 5, 17])
def test_without_correction_it_is_the_paired_t_test(seed, runs):
    first, second = scores(seed, runs)
    result, expected = corrected_t_test(first, second, test_train_ratio=0), stats.ttest_rel(first, second)
    assert (result.statistic, result.p_value) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    interval = expected.confidence_interval(0.95)
    assert (result.low, result.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


@pytest.mark.parametrize(("folds", "repeats"), [(10, 1), (5, 3), (10, 10)])
def test_corrected_repeated_k_fold_is_that_of_baycomp(folds, repeats):
    baycomp = pytest.importorskip("baycomp")
    first, second = scores(folds * repeats, folds * repeats)
    result = corrected_t_test(first, second, test_train_ratio=1 / (folds - 1))
    mean, variance, degrees = baycomp.CorrelatedTTest.compute_statistics(second, first, repeats)
    assert result.difference == pytest.approx(mean)
    assert result.statistic == pytest.approx(mean / math.sqrt(variance))
    # The posterior is a t distribution: twice its tail beyond 0 is the two-sided p-value.
    tail = min(baycomp.CorrelatedTTest.probs(first, second, runs=repeats))
    assert result.p_value == pytest.approx(2 * tail)
    assert (result.low, result.high) == pytest.approx(stats.t.interval(0.95, degrees, mean, math.sqrt(variance)))


def test_correction_holds_its_level_where_the_ordinary_test_does_not():
    """Two equal methods on random 80/20 splits of 60 examples: the scores of one split differ by which examples
    are drawn, and splits overlap, exactly the case of Nadeau and Bengio.
    """
    generator = np.random.default_rng(1)
    wrong = {0.0: 0, 0.25: 0}
    for _ in range(400):
        # Each example is right or wrong for both methods, each with its own luck; training nodes do not matter here
        # but for a shared shift that every split of this data set inherits.
        first, second = (generator.random((2, 60)) < 0.8).astype(float)
        runs = [generator.permutation(60)[:30] for _ in range(12)]
        a, b = (np.array([method[run].mean() for run in runs]) for method in (first, second))
        for ratio in wrong:
            wrong[ratio] += corrected_t_test(a, b, test_train_ratio=4 * ratio).p_value < 0.05
    assert wrong[0.0] / 400 > 0.3
    assert wrong[0.25] / 400 < 0.15


def test_no_variance():
    equal = corrected_t_test([0.8, 0.9, 0.7], [0.8, 0.9, 0.7], test_train_ratio=0.25)
    assert (equal.statistic, equal.p_value) == (0.0, 1.0)
    constant = corrected_t_test([0.83, 0.93, 0.73], [0.82, 0.92, 0.72], test_train_ratio=0.25)
    assert (constant.statistic, constant.p_value) == (math.inf, 2 / 2**3)
    assert math.isnan(constant.low), "a width of 0 would be a claim"
    assert corrected_t_test([0.82, 0.92], [0.83, 0.93], test_train_ratio=0).statistic == -math.inf
    assert math.isnan(corrected_t_test([0.8], [0.7], test_train_ratio=0).p_value)
    assert math.isnan(wilcoxon_test([0.8], [0.7]).p_value)


def test_two_pairs_decide_nothing():
    two = corrected_t_test([0.8, 0.9], [0.7, 0.8], test_train_ratio=0, resolution=0.01)
    assert math.isnan(two.p_value)
    assert two.low < 0.1 < two.high
    assert not math.isnan(corrected_t_test([0.8, 0.9, 0.7], [0.7, 0.8, 0.6], test_train_ratio=0).p_value)


def test_resolution_is_the_variance_of_rounding():
    first, second = np.array([0.83, 0.93, 0.73]), np.array([0.82, 0.92, 0.72])
    result = corrected_t_test(first, second, test_train_ratio=0, resolution=0.01)
    assert result.statistic == pytest.approx(0.01 / math.sqrt(0.01**2 / 6 / 3))
    assert result.p_value == pytest.approx(2 * stats.t.sf(math.sqrt(18), 2))
    assert result.low == pytest.approx(0.01 - stats.t.ppf(0.975, 2) * math.sqrt(0.01**2 / 18))


@pytest.mark.parametrize("nodes", [20, 100, 1000])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_layers_that_do_not_differ_are_called_different_at_most_as_often_as_alpha(seeds, nodes):
    """500 studies of four layers, whose seeds vary by about the step of a score; one pair, and Holm over all six."""
    generator = np.random.default_rng(seeds * nodes)
    accuracy = 0.8 + generator.normal(0, 0.008, size=(500, 4, seeds)) + 0.5 / nodes
    scores = np.round(np.round(accuracy * nodes) / nodes, 12)
    one, family = 0, 0
    for study in scores:
        p_values = [
            corrected_t_test(a, b, test_train_ratio=0, resolution=1 / nodes).p_value
            for a, b in itertools.combinations(study, 2)
        ]
        one += p_values[0] <= 0.05
        family += min(holm(p_values)) <= 0.05
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 500)
    assert one / 500 <= limit
    assert family / 500 <= limit


@pytest.mark.parametrize(("alpha", "tests"), [(0.05, 1), (0.05, 6), (0.01, 1), (0.05, 28)])
def test_fewest_wilcoxon_pairs_are_just_enough(alpha, tests):
    pairs = fewest_wilcoxon_pairs(alpha, tests)
    base = np.zeros(pairs)
    assert tests * wilcoxon_test(base + np.arange(1, pairs + 1), base).p_value <= alpha
    fewer = np.zeros(pairs - 1)
    assert tests * wilcoxon_test(fewer + np.arange(1, pairs), fewer).p_value > alpha


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("runs", [5, 8, 40, 60])
def test_wilcoxon_is_scipys(seed, runs):
    first, second = scores(seed, runs)
    result, expected = wilcoxon_test(first, second), stats.wilcoxon(first, second)
    assert (result.statistic, result.p_value) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))


def test_wilcoxon_by_hand():
    # Ranks of |d| = 1, 2, 3, 4, 5, 6 with -2 alone negative: W = 2; of 64 sign patterns 3 have a sum of at most 2.
    result = wilcoxon_test([1, -2, 3, 4, 5, 6], [0] * 6)
    assert (result.statistic, result.p_value) == (2.0, 6 / 64)
    assert wilcoxon_test([1, 2, 3], [1, 2, 3]).p_value == 1.0


def test_wilcoxon_ignores_rounding_of_the_last_digit():
    # 0.83 - 0.82 and 0.85 - 0.84 differ by 1e-17: ties all the same.
    first, second = [0.83, 0.85, 0.90, 0.70, 0.60, 0.50], [0.82, 0.84, 0.91, 0.65, 0.52, 0.41]
    hundredths = wilcoxon_test([83, 85, 90, 70, 60, 50], [82, 84, 91, 65, 52, 41])
    result = wilcoxon_test(first, second)
    assert (result.statistic, result.p_value) == (hundredths.statistic, hundredths.p_value)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_statsmodels(seed):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    values = np.random.default_rng(seed).beta(0.4, 3.0, size=12)
    assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1])


def test_holm_by_hand_and_with_missing_values():
    assert holm([0.01, 0.02, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.04, 0.04, 0.02])
    adjusted = holm([0.01, math.nan, 0.04])
    assert (adjusted[0], adjusted[2]) == (0.02, 0.04)
    assert math.isnan(adjusted[1])
    assert holm([]).tolist() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corrected_t_test([1, 2], [1], test_train_ratio=0), "same splits; got 2 and 1 value"),
        (lambda: corrected_t_test([1, 2], [1, 2], test_train_ratio=-0.1), "at least 0; got -0.1"),
        (lambda: corrected_t_test([1, 2], [1, 2], test_train_ratio=math.inf), "at least 0; got inf"),
        (lambda: corrected_t_test([1, 2], [1, 2], test_train_ratio=0, level=2), "level must lie between"),
        (lambda: wilcoxon_test([1, math.nan], [1, 2]), "first must be finite"),
        (lambda: holm([0.5, 1.5]), r"must lie in \[0, 1\]; got 1.5"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
