"""The contextual stochastic block model has the rates, means and noise that its arguments say."""

from __future__ import annotations

import math

import pytest
import torch

from lcat.data import csbm, csbm_distance
from lcat.data.datasets.csbm import _bernoulli_successes, _triangle


def _rates(data):
    row, col = data.edge_index
    zeros, ones = int((data.y == 0).sum()), int((data.y == 1).sum())
    same = data.y[row] == data.y[col]
    inside = zeros * (zeros - 1) + ones * (ones - 1)
    return float(same.sum()) / inside, float((~same).sum()) / (2 * zeros * ones)


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.1), (0.5, 0.5), (0.05, 0.2), (1.0, 0.0), (0.0, 1.0)])
def test_edge_rates(p, q):
    data = csbm(n=801, p=p, q=q, seed=3)
    inside, across = _rates(data)
    # Five standard deviations of a binomial over the unordered pairs.
    assert abs(inside - p) <= 5 * math.sqrt(p * (1 - p) / 160_000)
    assert abs(across - q) <= 5 * math.sqrt(q * (1 - q) / 160_000)


def test_graph_is_simple_sorted_and_undirected():
    data = csbm(n=300, q=0.2, seed=1)
    assert data.validate()
    assert data.is_undirected()
    assert not data.has_self_loops()
    position = data.edge_index[0] * 300 + data.edge_index[1]
    assert bool((position.diff() > 0).all())  # strictly: sorted and without duplicates


def test_self_loops_are_added_once_each():
    plain, looped = csbm(n=50, seed=2), csbm(n=50, seed=2, self_loops=True)
    loops = looped.edge_index[:, looped.edge_index[0] == looped.edge_index[1]]
    assert loops.size(1) == 50
    assert looped.num_edges == plain.num_edges + 50


@pytest.mark.parametrize(("regime", "expected"), [("easy", 10 * 0.1 * math.sqrt(2 * math.log(4000))), ("hard", 0.1)])
def test_regime_sets_distance_and_noise(regime, expected):
    data = csbm(n=4000, p=0.01, q=0.01, regime=regime, d=25, seed=0)
    means = [data.x[data.y == label].mean(0) for label in (0, 1)]
    # Each mean of 2000 draws has a standard error of sigma / sqrt(2000) in each of 25 coordinates.
    assert abs(float((means[1] - means[0]).norm()) - expected) < 0.03
    noise = torch.cat([data.x[data.y == label] - means[label] for label in (0, 1)])
    assert abs(float(noise.std()) - 0.1) < 0.002
    assert bool((means[1] > means[0]).all())


def test_default_has_the_published_sizes():
    data = csbm()
    assert (data.num_nodes, data.num_features) == (1000, 21)
    assert data.y.bincount().tolist() == [500, 500]
    assert round(csbm_distance("easy"), 3) == 3.717


def test_mu_and_distance_are_two_names_of_one_thing():
    one = csbm(n=100, mu=0.3, d=9, seed=5)
    two = csbm(n=100, distance=2 * 0.3 * 3, d=9, seed=5)
    torch.testing.assert_close(one.x, two.x)
    assert torch.equal(one.edge_index, two.edge_index)


def test_equal_seeds_give_equal_graphs_and_leave_the_global_generator_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, two, other = csbm(n=120, seed=7), csbm(n=120, seed=7), csbm(n=120, seed=8)
    assert torch.equal(before, torch.get_rng_state())
    for key in ("x", "y", "edge_index", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(one[key], two[key]), key
    assert not torch.equal(one.edge_index, other.edge_index)
    assert not torch.equal(one.y, other.y)


def test_masks_are_a_stratified_partition():
    data = csbm(n=1000, seed=0)
    masks = torch.stack([data.train_mask, data.val_mask, data.test_mask]).int()
    assert bool((masks.sum(0) == 1).all())
    assert [int(mask.sum()) for mask in masks] == [600, 200, 200]
    assert [int(data.y[mask.bool()].sum()) for mask in masks] == [300, 100, 100]


def test_triangle_reads_every_pair_once():
    row, col = _triangle(torch.arange(200 * 199 // 2))
    assert bool((col < row).all())
    assert (row * 1000 + col).unique().numel() == 200 * 199 // 2
    # Far out, where the square root is not exact.
    big = torch.tensor([10**12 - 1, 10**12, 10**15 + 3])
    row, col = _triangle(big)
    assert torch.equal(row * (row - 1) // 2 + col, big)
    assert bool((col >= 0).all())
    assert bool((col < row).all())


def test_skipping_draws_what_coins_would():
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(10)
    for _ in range(4000):
        counts[_bernoulli_successes(10, 0.3, generator)] += 1
    # Every position, the first and the last included, is hit with the same probability.
    assert bool(((counts / 4000 - 0.3).abs() < 5 * math.sqrt(0.21 / 4000)).all())
    assert _bernoulli_successes(10, 1e-300, generator).numel() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 3}, ["n must", "3"]),
        ({"q": 1.5}, ["q is a probability", "1.5"]),
        ({"p": -0.1}, ["p is a probability", "-0.1"]),
        ({"sigma": 0.0}, ["sigma", "0.0"]),
        ({"d": 0}, ["d must", "0"]),
        ({"regime": "medium"}, ["easy, hard", "medium"]),
        ({"regime": "easy", "mu": 1.0}, ["regime and mu"]),
        ({"mu": -1.0}, ["mu must", "-1.0"]),
        ({"distance": math.nan}, ["distance must", "nan"]),
        ({"fractions": (0.5, 0.5, 0.5)}, ["fractions", "0.5"]),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=r"must|is a probability|at most one") as caught:
        csbm(**{"n": 100, **arguments})
    for word in words:
        assert word in str(caught.value)


def test_the_smallest_graphs():
    assert csbm(n=5).num_nodes == 5
    with pytest.raises(ValueError, match=r"a graph with n = 4 cannot be split with fractions \(0.6, 0.2, 0.2\)"):
        csbm(n=4)


def test_graphs_that_fit_into_no_memory_are_refused_at_once():
    """They were drawn for minutes, until the system ended the process."""
    with pytest.raises(ValueError, match=r"5240 features are about 3e\+11 edges: drawing"):
        csbm(10**6)
    for name, value in (("n", 2**70), ("n", 10**400), ("d", 10**9), ("d", 10**400)):
        with pytest.raises(ValueError, match=f"{name} must be at most 67108864"):
            csbm(**{"n": 60, name: value})
    assert csbm(10**5, p=1e-5, q=1e-5, d=1).num_edges > 0  # large and sparse is no problem


@pytest.mark.parametrize(("name", "value"), [("sigma", 1e39), ("distance", 1e300), ("mu", 1e39)])
def test_features_that_are_no_float32_are_refused(name, value):
    with pytest.raises(ValueError, match="features must fit into float32"):
        csbm(60, **{name: value})


@pytest.mark.parametrize("fractions", [None, 0.6, "60/20/20"])
def test_fractions_that_are_no_row(fractions):
    with pytest.raises(ValueError, match="fractions must be three positive numbers"):
        csbm(60, fractions=fractions)
