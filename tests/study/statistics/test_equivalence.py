"""Equivalence, verdicts and power: against statsmodels, baycomp, simulation, and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lcat.study.statistics import (
    corrected_t_test,
    equivalence_test,
    posterior,
    samples_to_decide,
    smallest_difference,
    verdict,
)
from lcat.study.statistics.equivalence import _power_of_equivalence


def scores(seed, runs, shift=0.0):
    generator = np.random.default_rng(seed)
    return generator.normal(0.8 + shift, 0.01, runs), generator.normal(0.8, 0.01, runs)


@pytest.mark.parametrize(
    ("runs", "shift", "margin"), [(3, 0.0, 0.01), (5, 0.004, 0.02), (10, -0.01, 0.01), (40, 0.0, 0.005)]
)
def test_against_statsmodels(runs, shift, margin):
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    first, second = scores(runs, runs, shift)
    expected, *_ = weightstats.ttost_paired(first, second, -margin, margin)
    result = equivalence_test(first, second, margin=margin, test_train_ratio=0)
    assert result.p_value == pytest.approx(expected, rel=1e-9)
    # The interval says the same as the test.
    assert (result.p_value <= 0.05) == (-margin <= result.low and result.high <= margin)


@pytest.mark.parametrize("folds", [5, 10])
@pytest.mark.parametrize("repetitions", [1, 3])
def test_posterior_against_baycomp(folds, repetitions):
    baycomp = pytest.importorskip("baycomp")
    first, second = scores(folds, folds * repetitions, 0.005)
    # baycomp's runs are repetitions of a cross-validation; the share of test nodes is 1 / folds.
    worse, equivalent, better = baycomp.two_on_single(second, first, rope=0.004, runs=repetitions)
    result = posterior(first, second, margin=0.004, test_train_ratio=1 / (folds - 1))
    assert (result.worse, result.equivalent, result.better) == pytest.approx((worse, equivalent, better), abs=1e-9)


@pytest.mark.parametrize(("runs", "power", "alpha"), [(3, 0.8, 0.05), (5, 0.8, 0.05), (10, 0.9, 0.01), (50, 0.5, 0.05)])
def test_smallest_difference_against_statsmodels(runs, power, alpha):
    statistics = pytest.importorskip("statsmodels.stats.power")
    first, second = scores(runs, runs)
    expected = statistics.TTestPower().solve_power(nobs=runs, alpha=alpha, power=power)
    result = smallest_difference(first, second, test_train_ratio=0, power=power, alpha=alpha)
    assert result == pytest.approx(expected * (first - second).std(ddof=1), rel=1e-6)


def test_overlapping_splits_see_less():
    first, second = scores(0, 10)
    one, overlapping = (smallest_difference(first, second, test_train_ratio=ratio) for ratio in (0, 1 / 9))
    assert overlapping == pytest.approx(one * math.sqrt((1 / 10 + 1 / 9) / (1 / 10)))


@pytest.mark.parametrize(
    ("mean", "margin", "error", "degrees"),
    [(0, 1, 0.4, 2), (0.3, 1, 0.3, 4), (0, 1, 0.3, 9), (0.5, 1, 0.2, 29), (1, 1, 0.1, 9)],
)
def test_power_of_equivalence_by_simulation(mean, margin, error, degrees):
    from scipy import special

    generator = np.random.default_rng(0)
    count = 400_000
    means = generator.normal(mean, error, count)
    errors = error * np.sqrt(generator.chisquare(degrees, count) / degrees)
    bound = special.stdtrit(degrees, 0.95)
    simulated = ((means + bound * errors <= margin) & (means - bound * errors >= -margin)).mean()
    assert _power_of_equivalence(mean, margin, error, degrees, 0.05) == pytest.approx(simulated, abs=0.004)


def test_power_of_equivalence_at_the_margin_is_its_level():
    assert _power_of_equivalence(0.01, 0.01, 0.0001, 9, 0.05) == pytest.approx(0.05, abs=1e-6)


def test_samples_to_decide():
    first, second = np.array([0.82, 0.85, 0.84, 0.86]), np.array([0.80, 0.84, 0.84, 0.83])
    needed = samples_to_decide(first, second, margin=0.01, test_train_ratio=0)
    assert needed > 4
    statistics = pytest.importorskip("statsmodels.stats.power")
    difference = first - second
    effect = difference.mean() / difference.std(ddof=1)
    powers = [statistics.TTestPower().power(effect, n, 0.05) for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]


def test_samples_to_decide_equals():
    # A mean of zero and a spread of one margin: equivalence alone can be shown.
    first, second = np.array([0.81, 0.80, 0.79]), np.array([0.80, 0.80, 0.80])
    needed = samples_to_decide(first, second, margin=0.01, test_train_ratio=0)
    powers = [_power_of_equivalence(0, 0.01, 0.01 / math.sqrt(n), n - 1, 0.05) for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]


def test_without_overlap_some_number_is_always_enough():
    """A difference of a five hundredth of the spread, ten times the margin."""
    spread = np.array([1.0, -1.0, 0.5, -0.5, 0.0])
    needed = samples_to_decide(spread + 0.002, 0 * spread, margin=0.0002, test_train_ratio=0)
    stats = pytest.importorskip("scipy.stats")
    exact = ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * spread.std(ddof=1) / 0.002) ** 2
    assert needed == pytest.approx(exact, rel=1e-3)
    assert samples_to_decide(spread + 1e-12, 0 * spread, margin=1e-13, test_train_ratio=0) == math.inf


def test_no_number_of_overlapping_splits_is_enough():
    first, second = scores(1, 5)
    first, second = first - (first - second).mean(), second
    assert samples_to_decide(first, second, margin=0.005, test_train_ratio=1 / 4) == math.inf


@pytest.mark.parametrize(
    ("difference", "different", "equivalent", "expected"),
    [
        (0.02, 0.01, 0.9, "better"),
        (-0.02, 0.01, 0.9, "worse"),
        (0.001, 0.4, 0.01, "equivalent"),
        (0.002, 0.01, 0.01, "equivalent"),
        (0.01, 0.2, 0.3, "undecided"),
        (0.01, math.nan, math.nan, "undecided"),
        (0.0, 1.0, math.nan, "undecided"),
    ],
)
def test_verdicts(difference, different, equivalent, expected):
    assert verdict(difference, different, equivalent) == expected


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_too_few_runs_claim_nothing(runs):
    first, second = scores(0, runs)
    assert math.isnan(equivalence_test(first, second, test_train_ratio=0).p_value)
    assert math.isnan(posterior(first, second, test_train_ratio=0).better)
    assert math.isnan(smallest_difference(first, second, test_train_ratio=0))
    assert math.isnan(samples_to_decide(first, second, test_train_ratio=0))


def test_equal_scores_are_equivalent_as_far_as_the_resolution_goes():
    same = [0.8] * 5
    assert math.isnan(equivalence_test(same, same, test_train_ratio=0).p_value)  # no variance is known
    assert equivalence_test(same, same, test_train_ratio=0, resolution=1 / 1000).p_value < 1e-3
    assert equivalence_test(same, same, test_train_ratio=0, resolution=1 / 20).p_value > 0.05


def test_both_directions_mirror():
    first, second = scores(3, 8, 0.01)
    forward, back = posterior(first, second, test_train_ratio=0), posterior(second, first, test_train_ratio=0)
    assert (forward.worse, forward.better) == pytest.approx((back.better, back.worse))
    one, other = (equivalence_test(*pair, test_train_ratio=0) for pair in ((first, second), (second, first)))
    assert (one.p_value, one.low) == pytest.approx((other.p_value, -other.high))
    assert corrected_t_test(first, second, test_train_ratio=0).difference == one.difference


@pytest.mark.parametrize("margin", [0, -0.01, math.nan, math.inf])
def test_margins_are_checked(margin):
    with pytest.raises(ValueError, match="margin must be above 0, in the unit of the scores"):
        equivalence_test([1, 2, 3], [1, 2, 4], margin=margin, test_train_ratio=0)


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match=r"alpha must be between 0 and 0\.5"):
        verdict(0.0, 0.1, 0.1, alpha=0.7)
    with pytest.raises(ValueError, match="power must be above alpha"):
        smallest_difference([1, 2, 3], [1, 2, 4], test_train_ratio=0, power=0.01)
    with pytest.raises(ValueError, match="test_train_ratio"):
        posterior([1, 2, 3], [1, 2, 4], test_train_ratio=-1)
    with pytest.raises(ValueError, match="same splits"):
        samples_to_decide([1, 2, 3], [1, 2], test_train_ratio=0)


@pytest.mark.parametrize("wrong", [5, -0.01, "0.05", None, True])
def test_a_verdict_needs_p_values(wrong):
    with pytest.raises(ValueError, match=r"p_different must be a p-value in 0 \.\. 1, or nan; got "):
        verdict(0.1, wrong, 0.5)
    with pytest.raises(ValueError, match=r"p_equivalent must be a p-value in 0 \.\. 1, or nan; got "):
        verdict(0.1, 0.5, wrong)
    assert verdict(0.1, math.nan, math.nan) == "undecided"
