"""RSDM against its formula, and its draws."""

from __future__ import annotations

import itertools

import pytest
import torch

from lcat.optim import RSDM, naive
from lcat.optim.rsdm import hashed, permutation, random_directions
from tests.optim.optim_support import DTYPES, error, orthonormal, parameter, random, step, wide


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (2, 3, 7)])
@pytest.mark.parametrize("sampling", ["permutation", "orthogonal"])
def test_rsdm_equals_the_formula(sampling, shape, dtype):
    X, G = orthonormal(*shape, dtype=dtype), random(*shape, dtype=dtype, seed=1)
    n, age = max(shape[-2:]), torch.tensor([1.0])
    if sampling == "permutation":
        P = torch.eye(n, dtype=dtype)[permutation(age, n, 7)[0, :3]]
    else:
        P = random_directions(age, 3, n, dtype=dtype, seed=7)[0]
    got = step(RSDM, X, [G], lr=0.05, rank=3, sampling=sampling, seed=7)
    torch.testing.assert_close(wide(got), naive.submanifold(wide(X), wide(G), 0.05, P), rtol=0, atol=1e-13)


def test_draws_take_seeds_of_any_size():
    X, G = orthonormal(4, 9), random(4, 9)
    seeds = (0, 1, -1, 2**31, 2**33, 2**33 + 1, -(2**70), 2**100)
    results = [step(RSDM, X, [G], lr=0.1, rank=3, sampling="orthogonal", seed=seed) for seed in seeds]
    assert all(not torch.allclose(a, b) for a, b in itertools.combinations(results, 2))


def test_rsdm_moves_only_the_columns_it_drew():
    X = orthonormal(3, 9)
    moved = (step(RSDM, X, [random(3, 9)], lr=0.1, rank=4) - X).abs().sum(0) > 1e-12
    assert set(moved.nonzero().flatten().tolist()) == set(permutation(torch.tensor([1.0]), 9, 0)[0, :4].tolist())


def test_rsdm_moves_the_smallest_matrices_by_default():
    X = orthonormal(2, 3)
    assert not torch.allclose(step(RSDM, X, [random(2, 3)], lr=0.1), X)


def test_rsdm_of_full_rank_is_riemannian_descent_on_the_right():
    """With rank n the submanifold is everything reachable by rotating the coordinates."""
    X, G = orthonormal(4, 4), random(4, 4, seed=1)
    got = step(RSDM, X, [G], lr=0.05, rank=4, sampling="permutation", retraction="cayley")
    A = naive.skew(X.mH @ G)
    eye = torch.eye(4).double()
    expected = X @ torch.linalg.solve(eye + 0.025 * A, eye - 0.025 * A)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)


def test_draws_are_permutations_uniform_and_repeatable():
    age = torch.arange(1, 2001, dtype=torch.float32)
    draws = permutation(age, 6, 3)
    assert torch.equal(draws.sort(-1).values, torch.arange(6).expand(2000, 6))
    assert torch.equal(draws, permutation(age, 6, 3))
    assert not torch.equal(draws, permutation(age, 6, 4))
    first = torch.bincount(draws[:, 0], minlength=6) / 2000
    assert (first - 1 / 6).abs().max() < 0.04  # five standard deviations of a uniform draw
    bits = hashed(age, 50, 0).double() / 2**32
    assert abs(bits.mean() - 0.5) < 0.005
    assert abs(bits.var() - 1 / 12) < 0.002
    P = random_directions(age, 2, 4, dtype=torch.float64, seed=0)
    assert error(P) < 1e-12
    assert (P.mean(0)).abs().max() < 0.06


def test_rsdm_stabilize_removes_what_accumulates():
    def drift(stabilize):
        p = parameter(orthonormal(6, 6, dtype=torch.float32))
        optimizer = RSDM([p], lr=0.1, rank=4, stabilize=stabilize)
        for k in range(1000):
            p.grad = random(6, 6, dtype=torch.float32, seed=k)
            optimizer.step()
        return error(p.detach().double())

    assert drift(50) < 5e-6 < drift(0)
