"""A step inside of torch.autocast is that outside of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import lcat.optim

METHODS = [lcat.optim.POGO, lcat.optim.Landing, lcat.optim.LandingPC, lcat.optim.SLPG, lcat.optim.RSDM]
METHODS += [lcat.optim.RiemannianSGD, lcat.optim.RiemannianAdam]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 3])
def test_the_step_is_in_the_dtype_of_its_parameters(method, count):
    weights = [nn.Parameter(torch.linalg.qr(torch.randn(8, 8))[0]) for _ in range(count)]
    others = copy.deepcopy(weights)
    optimizers = method(weights, lr=0.1), method(others, lr=0.1)
    for _ in range(2):
        for weight, other in zip(weights, others, strict=True):
            weight.grad = torch.randn(8, 8)
            other.grad = weight.grad.clone()
        state = torch.get_rng_state()
        with torch.autocast("cpu", torch.bfloat16):
            optimizers[0].step()
            assert torch.is_autocast_enabled("cpu")
        torch.set_rng_state(state)  # RSDM draws
        optimizers[1].step()
    assert all(torch.equal(weight, other) for weight, other in zip(weights, others, strict=True))


def test_a_closure_computes_in_the_mode_of_its_caller():
    weight, seen = nn.Parameter(torch.eye(4)), []
    optimizer = lcat.optim.POGO([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        product = weight @ weight
        seen.append(product.dtype)
        product.float().square().sum().backward()
        return product.sum()

    with torch.autocast("cpu", torch.bfloat16):
        optimizer.step(closure)
    assert seen == [torch.bfloat16]
    assert optimizer.orthogonality_error() < 1e-5
