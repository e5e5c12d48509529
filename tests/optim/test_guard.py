"""The guard: any learning rate, any gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lcat.optim import POGO
from lcat.optim.guard import shorten
from lcat.optim.products import BATCHED
from tests.optim.optim_support import DTYPES, error, orthonormal, parameter, random, step


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lr=st.sampled_from([1e-2, 1.0, 1e4, 1e12, 1e30]),
    shape=st.sampled_from([(1, 3), (4, 4), (3, 7), (6, 2), (600, 2, 3)]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.complex64]),
    rank_one=st.booleans(),
)
def test_guard_keeps_singular_values_between_the_root_of_a_half_and_one(seed, lr, shape, dtype, rank_one):
    p = parameter(orthonormal(*shape, dtype=dtype, seed=seed))
    optimizer = POGO([p], lr=lr)
    for k in range(8):
        G = random(*shape, dtype=dtype, seed=seed + k)
        p.grad = G[..., :1].expand(shape).clone() if rank_one else G
        optimizer.step()
        S = torch.linalg.svdvals(p.detach().to(torch.complex128))
        assert S.min() >= 0.5**0.5 - 5e-5
        assert S.max() <= 1 + 5e-5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (20, 20), (3, 7)])
@pytest.mark.parametrize(
    ("options", "min_value", "max_value"),
    [
        ({}, 0.7, 1.0),
        ({"normal_step": "order2"}, 0.9, 1.05),
        ({"normal_step": "best"}, 0.7, 1.3),
        ({"normal_every": 4}, 0.7, 1.5),
    ],
)
def test_guard_holds_against_steps_that_all_push_in_one_direction(options, min_value, max_value, shape, dtype):
    """The worst case: all of the step on the same left singular vector, every time."""
    X = orthonormal(*shape, dtype=dtype)
    A = torch.zeros(shape[1], shape[1], dtype=dtype)
    if dtype.is_complex:
        A[0, 0] = 1j  # a phase: one singular value has the whole length
    else:
        A[0, 1], A[1, 0] = 1.0, -1.0
    p = parameter(X)
    optimizer = POGO([p], lr=1e3, **options)
    for _ in range(300):
        p.grad = p.detach() @ A
        optimizer.step()
        S = torch.linalg.svdvals(p.detach())
        assert min_value < S.min()
        assert S.max() < max_value + 1e-9


def test_guard_leaves_short_steps_alone():
    X, grads = orthonormal(4, 6), [0.3 * random(4, 6, seed=k) for k in range(5)]
    assert torch.equal(step(POGO, X, grads, lr=0.2), step(POGO, X, grads, lr=0.2, max_step=1e3))
    torch.testing.assert_close(
        step(POGO, X, grads, lr=0.2), step(POGO, X, grads, lr=0.2, max_step=None), rtol=0, atol=1e-14
    )


def test_guard_is_per_matrix():
    X = orthonormal(2, 3, 5)
    G = random(2, 3, 5)
    G[0] *= 1e6
    both = step(POGO, X, [G], lr=0.1)
    assert torch.equal(both[1], step(POGO, X, [random(2, 3, 5)], lr=0.1)[1])
    assert error(both[0]) <= 0.75


def test_guard_reaches_exactly_max_step():
    T = random(1, 3, 5)
    factor = shorten(BATCHED, T @ T.mH, 0.5)
    S = torch.linalg.svdvals(factor * T)
    torch.testing.assert_close((S**4).sum() ** 0.25, torch.tensor(0.5).double())


def test_without_the_guard_a_large_step_diverges():
    p = parameter(orthonormal(4, 6))
    optimizer = POGO([p], lr=1e3, max_step=None)
    for k in range(8):
        p.grad = random(4, 6, seed=k)
        optimizer.step()
    assert not torch.isfinite(p).all() or error(p.detach()) > 1e3
