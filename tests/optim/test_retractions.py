"""Retractions against their formulas."""

from __future__ import annotations

import pytest
import torch

from lcat.optim import naive
from lcat.optim.retractions import RETRACTIONS
from tests.optim.optim_support import DTYPES, NAIVE_RETRACTIONS, error, orthonormal, polar_by_svd, random


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
