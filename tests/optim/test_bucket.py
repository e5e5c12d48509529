"""Parameters of one shape that are updated together, and their state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lcat.optim import (
    POGO,
)
from lcat.optim.bucket import STACK_ENTRIES, make_buckets
from lcat.optim.layout import resolve
from tests.optim.optim_support import orthonormal, parameter, random, step


def test_small_parameters_share_a_bucket_and_large_ones_do_not():
    params = [torch.empty(4, 4) for _ in range(5)] + [torch.empty(4, 5), torch.empty(80, 80), torch.empty(80, 80)]
    layouts = [resolve(tuple(p.shape)) for p in params]
    assert STACK_ENTRIES < 80 * 80
    assert [len(b.params) for b in make_buckets(params, layouts, [{} for _ in params], None)] == [5, 1, 1, 1]
    assert [len(b.params) for b in make_buckets(params, layouts, [{} for _ in params], True)] == [5, 1, 2]
    assert [len(b.params) for b in make_buckets(params, layouts, [{} for _ in params], False)] == [1] * 8


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"base": "vadam"}, {"gram_mode": "identity"}])
def test_a_thousand_small_parameters_move_as_each_alone(options):
    start = orthonormal(50, 3, 10, dtype=torch.float64)
    together, alone = [parameter(x) for x in start], [parameter(x) for x in start]
    a = POGO(together, lr=0.1, **options)
    each = [POGO([p], lr=0.1, **options) for p in alone]
    for k in range(6):
        for i, (p, q) in enumerate(zip(together, alone, strict=True)):
            late = i % 3 == 0 and k < 2  # a third of them gets its first gradient later
            p.grad = None if late else random(3, 10, seed=100 * k + i)
            q.grad = None if late else random(3, 10, seed=100 * k + i)
        a.step()
        for optimizer in each:
            optimizer.step()
    torch.testing.assert_close(torch.stack(together), torch.stack(alone), rtol=0, atol=1e-12)


def test_state_of_a_bucket_is_ordinary_state():
    params = [parameter(x) for x in orthonormal(3, 4, 6)]
    optimizer = POGO(params, lr=0.1, base="vadam")
    for p in params:
        p.grad = random(4, 6)
    optimizer.step()
    for p in params:
        state = optimizer.state[p]
        assert state["step"] == 1
        assert state["exp_avg"].shape == p.shape
        assert state["exp_avg_sq"].shape == ()
    batch = parameter(orthonormal(5, 4, 6))
    batch.grad = random(5, 4, 6)
    other = POGO([batch], lr=0.1, base="vadam")
    other.step()
    assert other.state[batch]["exp_avg_sq"].shape == (5,)


def test_replaced_state_entries_are_used():
    params = [parameter(x) for x in orthonormal(3, 4, 6)]
    optimizer = POGO(params, lr=0.02, momentum=0.9)
    for _ in range(2):
        for p in params:
            p.grad = random(4, 6)
        optimizer.step()
    optimizer.state[params[1]]["momentum_buffer"] = torch.zeros(4, 6).double()
    before = params[1].detach().clone()
    optimizer.step()
    torch.testing.assert_close(params[1].detach(), step(POGO, before, [random(4, 6)], lr=0.02), rtol=0, atol=1e-13)


def test_half_precision_state_survives_loading():
    """State is float32 for a bfloat16 weight; torch would round it to bfloat16 on loading."""
    p = nn.Parameter(orthonormal(4, 6, dtype=torch.float32).bfloat16())
    with pytest.warns(UserWarning, match="rounded when stored"):
        optimizer = POGO([p], lr=0.1, momentum=0.9)
    p.grad = random(4, 6, dtype=torch.float32).bfloat16()
    optimizer.step()
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer.load_state_dict(saved)
    buffer = optimizer.state[p]["momentum_buffer"]
    assert buffer.dtype == torch.float32
    assert torch.equal(buffer, saved["state"][0]["momentum_buffer"])


def test_conjugated_weights_side_by_side():
    """``Q.mH`` is a view that is conjugated when it is read, and lists of such views cannot be written by torch."""
    weights = [nn.Parameter(torch.linalg.qr(torch.randn(7, 4, dtype=torch.complex64))[0].mH) for _ in range(2)]
    others = [nn.Parameter(weight.detach().resolve_conj().clone()) for weight in weights]
    optimizers = POGO(weights, lr=0.1), POGO(others, lr=0.1)
    for weight, other in zip(weights, others, strict=True):
        weight.grad = torch.randn(4, 7, dtype=torch.complex64)
        other.grad = weight.grad.clone()
    for optimizer in optimizers:
        optimizer.step()
    assert all(weight.is_conj() for weight in weights)
    for weight, other in zip(weights, others, strict=True):
        torch.testing.assert_close(weight.resolve_conj(), other)
