"""RiemannianSGD and RiemannianAdam against their formulas."""

from __future__ import annotations

import pytest
import torch

from lcat.optim import RiemannianAdam, RiemannianSGD, naive
from lcat.optim.retractions import RETRACTIONS
from tests.optim.optim_support import DTYPES, NAIVE_RETRACTIONS, SHAPES, orthonormal, parameter, random, step, wide


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
