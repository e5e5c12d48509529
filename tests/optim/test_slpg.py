"""SLPG against its formula and its subproblem."""

from __future__ import annotations

import pytest
import torch

from lcat.optim import SLPG, naive
from lcat.optim import slpg as slpg_module
from lcat.optim.slpg import _proximal
from tests.optim.optim_support import DTYPES, SHAPES, error, orthonormal, parameter, random, step, wide


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
def test_slpg_solves_its_subproblem(regularizer, monkeypatch):
    """With enough inner steps Y - X is tangent, and no tangent direction lowers the linearized objective."""
    X, G, eta, gamma = orthonormal(3, 6), random(3, 6, seed=1), 0.1, 0.3
    p = parameter(X)
    caught = []

    optimizer = SLPG([p], lr=eta, regularizer=regularizer, gamma=gamma, inner=500)
    monkeypatch.setattr(slpg_module, "_proximal", lambda *arguments: caught.append(_proximal(*arguments)) or caught[-1])
    p.grad = G.clone()
    optimizer.step()
    T = (caught[-1] - X)[0]
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
