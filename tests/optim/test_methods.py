"""Landing, LandingPC, the Riemannian methods, RSDM and SLPG against their formulas and defining properties."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lcat.optim import RSDM, SLPG, Landing, LandingPC, RiemannianAdam, RiemannianSGD, naive
from lcat.optim.retractions import RETRACTIONS
from lcat.optim.rsdm import hashed, permutation, random_directions
from lcat.optim.slpg import _proximal
from tests.optim.optim_support import DTYPES, SHAPES, error, orthonormal, parameter, polar_by_svd, random, step, wide

NAIVE_RETRACTIONS = {"qr": naive.retract_qr, "polar": naive.retract_polar, "cayley": naive.retract_cayley}


def near(*shape, dtype=torch.float64, seed=0, size=0.02):
    """Not quite orthonormal, where the terms that vanish on the manifold do not."""
    return orthonormal(*shape, dtype=dtype, seed=seed) + size * random(*shape, dtype=dtype, seed=seed + 1)


# -- Landing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_landing_equals_the_formula(shape, dtype):
    X, G = near(*shape, dtype=dtype), 0.2 * random(*shape, dtype=dtype, seed=2)
    got = step(Landing, X, [G], lr=0.05, attraction=0.7, check="off")
    expected = wide(X) - 0.05 * naive.landing_field(wide(X), wide(G), 0.7)
    torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_landing_error_is_exact_in_the_field(dtype):
    """E' = E - 2 eta a (E + E^2) + eta^2 F F^H: what the safe step rests on."""
    X, G = near(3, 5, dtype=dtype, size=0.1), random(3, 5, dtype=dtype, seed=2)
    F = naive.landing_field(X, G, 0.7)
    E = naive.gram(X) - naive.eye_like(X)
    X1 = X - 0.1 * F
    expected = E - 2 * 0.1 * 0.7 * (E + E @ E) + 0.01 * F @ F.mH
    torch.testing.assert_close(naive.gram(X1) - naive.eye_like(X1), expected, rtol=0, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(
    cls=st.sampled_from([Landing, LandingPC]),
    seed=st.integers(0, 10_000),
    lr=st.sampled_from([1e-2, 0.3, 1.0, 1e3, 1e9]),
    safe=st.sampled_from([0.1, 0.5, 0.9]),
    dtype=st.sampled_from(DTYPES),
    size=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_landing_never_leaves_the_safe_region(cls, seed, lr, safe, dtype, size):
    p = parameter(orthonormal(3, 5, dtype=dtype, seed=seed))
    optimizer = cls([p], lr=lr, safe=safe)
    for k in range(6):
        p.grad = size * random(3, 5, dtype=dtype, seed=seed + k)
        optimizer.step()
        assert error(p.detach()) <= safe + 1e-9


def test_landing_comes_back_from_outside():
    p = parameter(near(3, 5, size=0.1))
    before = error(p.detach())
    optimizer = Landing([p], lr=0.3, check="off", safe=min(0.9, before / 2))
    for _ in range(100):
        p.grad = torch.zeros(3, 5).double()
        optimizer.step()
    assert error(p.detach()) < 1e-10 < before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_landing_pc_equals_the_formula(shape, dtype):
    X, G = near(*shape, dtype=dtype), 0.1 * random(*shape, dtype=dtype, seed=2)
    got = step(LandingPC, X, [G], lr=0.05, base="sgd", check="off")
    W = wide(X)
    expected = W - 0.05 * naive.relative_gradient(W, wide(G)) - 0.5 * (naive.gram(W) - naive.eye_like(W)) @ W
    torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-14)


def test_landing_pc_leaves_the_error_that_is_stated():
    """From an orthonormal start |X X^H - I| = eta^2 |R R^H| after one step."""
    X, G = orthonormal(3, 5), random(3, 5, seed=2)
    R = naive.relative_gradient(X, G)
    got = step(LandingPC, X, [G], lr=0.1, base="sgd")
    torch.testing.assert_close(error(got), float(0.01 * torch.linalg.matrix_norm(R @ R.mH)), rtol=1e-9, atol=0)


# -- retractions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 9), (1, 4, 4), (3, 1, 4)])
@pytest.mark.parametrize("name", RETRACTIONS)
def test_retractions(name, shape, dtype):
    """Equal the formulas, land on the manifold, fix X at V = 0 and agree with X + V to first order."""
    X = orthonormal(*shape, dtype=dtype)
    V = naive.euclidean_projection(X, random(*shape, dtype=dtype, seed=1))
    V = 0.9 * V / torch.linalg.matrix_norm(V)[..., None, None]
    retract = RETRACTIONS[name]
    got = retract(X, V, 1.0)
    torch.testing.assert_close(got, NAIVE_RETRACTIONS[name](X, V), rtol=0, atol=1e-13)
    assert error(got) < 1e-13
    torch.testing.assert_close(retract(X, 0 * V, 1.0), X, rtol=0, atol=1e-14)
    tiny = retract(X, 1e-5 * V, 1.0)
    torch.testing.assert_close((tiny - X) / 1e-5, V, rtol=0, atol=2e-5)


@pytest.mark.parametrize("max_step", [0.5, 1.0, 3.0, 20.0, None])
def test_polar_for_any_guard(max_step):
    X = orthonormal(4, 3, 5)
    V = naive.euclidean_projection(X, random(4, 3, 5, seed=1))
    V = V / torch.linalg.matrix_norm(V)[..., None, None] * (5.0 if max_step is None else max_step)
    got = RETRACTIONS["polar"](X, V, max_step)
    torch.testing.assert_close(got, polar_by_svd(X + V), rtol=0, atol=1e-12)


# -- Riemannian methods ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("retraction", RETRACTIONS)
def test_riemannian_sgd_equals_the_formula(retraction, shape, dtype):
    X, grads = orthonormal(*shape, dtype=dtype), [0.1 * random(*shape, dtype=dtype, seed=k) for k in range(3)]
    expected, buffer = wide(X), torch.zeros_like(wide(X))
    for G in grads:
        buffer = 0.9 * naive.euclidean_projection(expected, buffer) + naive.euclidean_projection(expected, wide(G))
        expected = NAIVE_RETRACTIONS[retraction](expected, -0.2 * buffer)
    got = step(RiemannianSGD, X, grads, lr=0.2, momentum=0.9, retraction=retraction)
    torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-12)


def test_riemannian_adam_equals_the_formula():
    X, grads = orthonormal(2, 3, 5), [random(2, 3, 5, seed=k) for k in range(4)]
    expected, m, v = X, torch.zeros_like(X), torch.zeros(2, 1, 1).double()
    for t, G in enumerate(grads, start=1):
        g = naive.euclidean_projection(expected, G)
        m = 0.9 * naive.euclidean_projection(expected, m) + 0.1 * g
        v = 0.999 * v + 0.001 * torch.linalg.matrix_norm(g)[..., None, None] ** 2
        direction = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        expected = naive.retract_qr(expected, -0.05 * direction)
    torch.testing.assert_close(step(RiemannianAdam, X, grads, lr=0.05), expected, rtol=0, atol=1e-12)


def test_momentum_buffers_are_tangent_where_they_are_used():
    X = orthonormal(3, 5)
    p = parameter(X)
    optimizer = RiemannianSGD([p], lr=0.1, momentum=0.9)
    for k in range(3):
        at = p.detach().clone()
        p.grad = random(3, 5, seed=k)
        optimizer.step()
        buffer = optimizer.state[p]["momentum_buffer"]
        assert torch.linalg.matrix_norm(naive.symmetric(buffer @ at.mH)) < 1e-14


# -- RSDM --------------------------------------------------------------------------------------------------


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


# -- SLPG --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_slpg_equals_the_formula(shape, dtype):
    X, G = orthonormal(*shape, dtype=dtype), 0.2 * random(*shape, dtype=dtype, seed=1)
    got = step(SLPG, X, [G], lr=0.1)
    torch.testing.assert_close(wide(got), naive.slpg(wide(X), wide(G), 0.1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("regularizer", ["l1", "l21"])
def test_proximal_maps_are_minimizers(regularizer):
    Z = random(1, 3, 5)

    def value(Y):
        penalty = Y.abs().sum() if regularizer == "l1" else torch.linalg.vector_norm(Y, dim=-2).sum()
        return 0.4 * penalty + 0.5 * (Y - Z).square().sum()

    best = _proximal(Z, 0.4, regularizer)
    for seed in range(50):
        assert value(best) <= value(best + 0.01 * random(1, 3, 5, seed=seed)) + 1e-12


@pytest.mark.parametrize("regularizer", ["l1", "l21"])
def test_slpg_solves_its_subproblem(regularizer):
    """With enough inner steps Y - X is tangent, and no tangent direction lowers the linearized objective."""
    X, G, eta, gamma = orthonormal(3, 6), random(3, 6, seed=1), 0.1, 0.3
    p = parameter(X)
    caught = []

    class Spy(SLPG):
        def update(self, X, D, scale, group, bucket):
            import lcat.optim.slpg as module

            inner = module.shorten_tangent
            module.shorten_tangent = lambda algebra, T, max_step: caught.append(T.clone()) or T
            try:
                return super().update(X, D, scale, group, bucket)
            finally:
                module.shorten_tangent = inner

    optimizer = Spy([p], lr=eta, regularizer=regularizer, gamma=gamma, inner=500)
    p.grad = G.clone()
    optimizer.step()
    T = caught[0][0]
    assert torch.linalg.matrix_norm(naive.symmetric(T @ X.mH)) < 1e-8

    def value(V):
        Y = X + V
        penalty = Y.abs().sum() if regularizer == "l1" else torch.linalg.vector_norm(Y, dim=-2).sum()
        return (G * V).sum() + gamma * penalty + V.square().sum() / (2 * eta)

    for seed in range(50):
        V = naive.euclidean_projection(X, random(3, 6, seed=seed + 10))
        assert value(T) <= value(T + 1e-3 * V) + 1e-9


@pytest.mark.parametrize("regularizer", ["l1", "l21"])
@pytest.mark.parametrize(("gamma", "lr"), [(1.0, 5.0), (5.0, 1.0), (100.0, 100.0)])
def test_slpg_keeps_the_rank_at_any_weight(regularizer, gamma, lr):
    p = parameter(orthonormal(4, 10))
    optimizer = SLPG([p], lr=lr, regularizer=regularizer, gamma=gamma)
    for seed in range(200):
        p.grad = random(4, 10, seed=seed)
        optimizer.step()
        assert torch.linalg.svdvals(p.detach()).min() > 0.3, f"after {seed + 1} steps"


def test_slpg_l21_selects_variables():
    """Sparse PCA: with the group penalty whole columns vanish, without it none do."""
    generator = torch.Generator().manual_seed(0)
    A = torch.zeros(12, 12).double()
    A[:4, :4] = torch.randn(4, 4, generator=generator).double()
    A = A @ A.mT + 0.05 * torch.eye(12).double()
    sizes = {}
    for gamma in (0.0, 0.15):
        p = parameter(orthonormal(2, 12))
        optimizer = SLPG([p], lr=0.05, regularizer="l21", gamma=gamma)
        for _ in range(2000):
            p.grad = -2 * p.detach() @ A
            optimizer.step()
        sizes[gamma] = torch.linalg.vector_norm(p.detach(), dim=0)
        assert error(p.detach()) < 0.1
    assert (sizes[0.15][4:] < 1e-6).all()
    assert (sizes[0.15][:4] > 0.1).any()


# -- long runs ---------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("cls", "options", "stated"),
    [
        (Landing, {"attraction": 1.0}, 5e-2),
        (LandingPC, {}, 1e-4),
        (RiemannianSGD, {"momentum": 0.9}, 1e-5),
        (RiemannianSGD, {"retraction": "polar"}, 1e-5),
        (RiemannianSGD, {"retraction": "cayley"}, 1e-5),
        (RiemannianAdam, {}, 1e-5),
        (RSDM, {"rank": 4}, 1e-5),
        (RSDM, {"rank": 4, "sampling": "orthogonal"}, 1e-5),
        (SLPG, {}, 1e-5),
    ],
)
def test_ten_thousand_steps_in_float32(cls, options, stated):
    """Errors do not add up over 10 000 noisy steps at a learning rate of 1e-3."""
    torch.manual_seed(0)
    params = [parameter(orthonormal(*s, dtype=torch.float32)) for s in [(8, 12), (16, 5), (10, 10), (4, 3, 30)]]
    optimizer = cls(params, lr=1e-3, **options)
    worst = 0.0
    for k in range(10_000):
        for p in params:
            p.grad = torch.randn(p.shape)
        optimizer.step()
        if k % 100 == 0:
            worst = max(worst, max(error(p.detach().double()) for p in params))
    assert worst < stated
