"""Landing and LandingPC against their formulas and bounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lcat.optim import Landing, LandingPC, naive
from tests.optim.optim_support import DTYPES, SHAPES, error, orthonormal, parameter, random, step, wide


def near(*shape, dtype=torch.float64, seed=0, size=0.02):
    """Not quite orthonormal, where the terms that vanish on the manifold do not."""
    return orthonormal(*shape, dtype=dtype, seed=seed) + size * random(*shape, dtype=dtype, seed=seed + 1)


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
