"""Long runs of every method."""

from __future__ import annotations

import pytest
import torch

from lcat.optim import RSDM, SLPG, Landing, LandingPC, RiemannianAdam, RiemannianSGD
from tests.optim.optim_support import error, orthonormal, parameter


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
