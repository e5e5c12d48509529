"""COPA chooses by ranks alone: no rescaling matters, and nothing dominates what it chooses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lcat.study.analysis.copa import copa, pareto_front, relative_ranks

# Few distinct values, so that ties are common.
TABLES = arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.integers(1, 4)),
    elements=st.integers(-4, 4).map(float),
)
NORMS = st.sampled_from([1.0, 1.5, 2.0, 7.0, 300.0, math.inf])
# Strictly increasing on the integers -4 .. 4, also in floating point.
RESCALINGS = st.sampled_from(
    [lambda y: 1e-9 * y + 5, lambda y: y**3, np.exp, np.arctan, lambda y: 1e6 * y - 1e3, lambda y: 2 * y + np.sign(y)]
)


def brute_force_dominates(one, two):
    return all(a <= b for a, b in zip(one, two, strict=True)) and any(a < b for a, b in zip(one, two, strict=True))


@settings(max_examples=300, deadline=None)
@given(TABLES, NORMS, st.data())
def test_unchanged_under_any_increasing_rescaling(table, p, data):
    weights = data.draw(st.lists(st.sampled_from([0.25, 1.0, 3.0]), min_size=table.shape[1], max_size=table.shape[1]))
    before = copa(table, weights, p)
    rescaled = np.column_stack([data.draw(RESCALINGS)(column) for column in table.T])
    after = copa(rescaled, weights, p)
    assert after.best == before.best
    for name in ("order", "ranks", "scores", "pareto"):
        assert np.array_equal(getattr(after, name), getattr(before, name)), name


@settings(max_examples=300, deadline=None)
@given(TABLES, NORMS, st.data())
def test_the_choice_is_pareto_optimal_and_of_least_norm(table, p, data):
    weights = data.draw(
        st.lists(st.sampled_from([0.0, 0.3, 1.0, 50.0]), min_size=table.shape[1], max_size=table.shape[1]).filter(any)
    )
    choice = copa(table, weights, p)
    assert not any(brute_force_dominates(other, table[choice.best]) for other in table)
    assert choice.scores[choice.best] == pytest.approx(choice.scores.min(), abs=1e-11)
    assert choice.order[0] == choice.best
    expected = [not any(brute_force_dominates(other, row) for other in table) for row in table]
    assert choice.pareto.tolist() == expected
    assert pareto_front(table).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(TABLES, NORMS, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(table, p, random):
    order = list(range(len(table)))
    random.shuffle(order)
    before, after = copa(table, p=p), copa(table[order], p=p)
    assert np.array_equal(after.scores, before.scores[order])
    assert np.array_equal(after.pareto, before.pareto[order])
    assert after.scores[after.best] == pytest.approx(before.scores[before.best], abs=1e-11)


def test_norms_by_hand():
    table = [[1, 4], [2, 3], [3, 2], [4, 1]]
    ranks = np.array(table) / 4
    assert np.allclose(copa(table).ranks, ranks)
    assert np.allclose(copa(table, p=1).scores, [0.625] * 4)
    assert np.allclose(copa(table, p=2).scores, 0.5 * np.sqrt((ranks**2).sum(axis=1)))
    assert np.allclose(copa(table, p=math.inf).scores, [0.5, 0.375, 0.375, 0.5])
    # (w u)^p with w = (3/4, 1/4)
    assert copa(table, [3, 1], 2).scores[0] == pytest.approx(math.hypot(0.75 * 0.25, 0.25 * 1.0))
    # a large p comes near the maximum and does not underflow
    assert np.allclose(copa(table, p=1e4).scores, copa(table, p=math.inf).scores, rtol=1e-3)


def test_only_proportions_of_weights_count():
    table = np.random.default_rng(0).normal(size=(20, 3))
    one, two = copa(table, [1, 2, 3]), copa(table, [10, 20, 30])
    assert one.best == two.best
    assert np.allclose(one.scores, two.scores)


def test_a_weight_of_one_alone_is_the_ordinary_minimum():
    table = np.random.default_rng(1).normal(size=(30, 2))
    for p in (1, 2, math.inf):
        assert copa(table, [1, 0], p).best == table[:, 0].argmin()


def test_ties_share_the_highest_rank_and_missing_values_are_last():
    assert relative_ranks([2, 1, 2, 0]).tolist() == [1.0, 0.5, 1.0, 0.25]
    assert relative_ranks([math.nan, 1.0, math.inf, 0.0]).tolist() == [1.0, 0.5, 0.75, 0.25]
    assert pareto_front([[math.nan, 0], [1, 0], [0, 5]]).tolist() == [False, True, True]


def test_equal_candidates_are_on_the_front_together():
    assert pareto_front([[1, 2], [1, 2], [2, 1], [2, 2]]).tolist() == [True, True, True, False]


def test_many_candidates_go_in_blocks():
    table = np.random.default_rng(2).integers(0, 40, size=(700, 3)).astype(float)
    expected = [not ((table <= row).all(axis=1) & (table < row).any(axis=1)).any() for row in table]
    assert pareto_front(table).tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]], [1], 2), "one number for each of 2 objectives; got 1"),
        (([[1, 2]], [1, -1], 2), r"at least 0 and not all 0; got \[1.0, -1.0\]"),
        (([[1, 2]], [0, 0], 2), "not all 0"),
        (([[1, 2]], [1, math.nan], 2), "must be finite"),
        (([[1, 2]], None, 0.5), "p must be at least 1.*got 0.5"),
        (([[1, 2]], None, math.nan), "p must be at least 1"),
        (([1, 2], None, 2), r"candidates x objectives; got shape \(2,\)"),
        ((np.empty((0, 2)), None, 2), r"got shape \(0, 2\)"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        copa(*arguments)
