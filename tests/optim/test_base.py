"""Base updates: momentum, Adam with one second moment per matrix, Muon; tangent gradients."""

from __future__ import annotations

import pytest
import torch

from lcat.optim import POGO, Landing, naive
from tests.optim.optim_support import DTYPES, SHAPES, error, orthonormal, parameter, random, step, wide


def test_momentum_is_that_of_torch():
    """The buffer of every variant equals torch.optim.SGD's on the same gradients."""
    for options in ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "dampening": 0.3}):
        p, twin = parameter(orthonormal(3, 5)), torch.nn.Parameter(torch.zeros(3, 5).double())
        a, b = POGO([p], lr=0.1, iteration="published", **options), torch.optim.SGD([twin], lr=0.1, **options)
        for k in range(4):
            p.grad = random(3, 5, seed=k)
            twin.grad = random(3, 5, seed=k)
            a.step()
            b.step()
        torch.testing.assert_close(a.state[p]["momentum_buffer"], b.state[twin]["momentum_buffer"], rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (600, 3, 5)])
def test_tangent_feeds_the_buffer_with_the_projected_gradient(shape, dtype):
    """Three steps of momentum and of Landing by the formulas; (600, 3, 5) takes the layout for small matrices."""
    X, grads = orthonormal(*shape, dtype=dtype), [0.2 * random(*shape, dtype=dtype, seed=k) for k in range(3)]
    for cls, method, more in (
        (POGO, naive.pogo, {"iteration": "published"}),
        (Landing, lambda X, D, eta: X - eta * naive.landing_field(X, D, 1.0), {}),
    ):
        got = step(cls, X, grads, lr=0.05, momentum=0.9, tangent=True, **more)
        expected, buffer = wide(X), 0.0
        for G in grads:
            buffer = 0.9 * buffer + naive.euclidean_projection(expected, wide(G))
            expected = method(expected, buffer, 0.05)
        torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-14)


def test_tangent_changes_nothing_where_there_is_no_buffer():
    X, G = orthonormal(3, 5), random(3, 5, seed=1)
    plain, tangent = (step(POGO, X, [G], lr=0.1, tangent=flag) for flag in (False, True))
    expected = naive.pogo(X, naive.euclidean_projection(X, G), 0.1)
    torch.testing.assert_close(tangent, expected, rtol=0, atol=1e-15)
    # The relative gradient halves what leaves the row space of X, whether the rest was there or not.
    torch.testing.assert_close(tangent, plain, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (600, 3, 3), (600, 3, 5)])
@pytest.mark.parametrize("options", [{}, {"nesterov": True}, {"dampening": 0.3}, {"gram_mode": "exact"}])
def test_the_buffer_is_projected_at_every_point(options, shape, dtype):
    """m <- P_X(mu m + (1 - dampening) G), and the step goes along it; (600, 3, 3) has the layout for small matrices."""
    X, grads = orthonormal(*shape, dtype=dtype), [0.02 * random(*shape, dtype=dtype, seed=k) for k in range(3)]
    p = parameter(X)
    optimizer = POGO([p], lr=0.05, momentum=0.9, **options)
    expected, buffer = wide(X), 0.0
    for k, G in enumerate(grads):
        weight = 1 - (options.get("dampening", 0.0) if k else 0.0)
        buffer = naive.euclidean_projection(expected, 0.9 * buffer + weight * wide(G))
        expected = naive.pogo(expected, wide(G) + 0.9 * buffer if "nesterov" in options else buffer, 0.05)
        p.grad = G.clone()
        optimizer.step()
        # The weights are orthonormal to 1e-9 here, and X X^H is taken for the identity in the products.
        torch.testing.assert_close(wide(optimizer.state[p]["momentum_buffer"]), buffer, rtol=0, atol=1e-8)
        torch.testing.assert_close(wide(p.detach()), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (600, 3, 3)])
def test_the_first_moment_is_projected_at_every_point(shape):
    X, grads = orthonormal(*shape), [0.1 * random(*shape, seed=k) for k in range(3)]
    p = parameter(X)
    optimizer = POGO([p], lr=1e-3, base="vadam", betas=(0.9, 0.99))
    at, first = wide(X), 0.0
    for G in grads:
        first = naive.euclidean_projection(at, 0.9 * first + 0.1 * wide(G))
        p.grad = G.clone()
        optimizer.step()
        torch.testing.assert_close(wide(optimizer.state[p]["exp_avg"]), first, rtol=0, atol=1e-12)
        at = wide(p.detach())


@pytest.mark.parametrize("options", [{"momentum": 0.9, "lr": 0.5}, {"base": "vadam", "lr": 32.0}])
def test_projected_buffers_accelerate_where_the_residual_does_not_vanish(options):
    """Procrustes: the optimum leaves a gradient across the manifold, which is a brake in the buffer as published."""
    A, B, X = random(20, 20, seed=1) / 20**0.5, random(20, 20, seed=2) / 20**0.5, orthonormal(20, 20)
    U, S, Vh = torch.linalg.svd(B @ A.mT)
    if torch.linalg.det(X) * torch.linalg.det(U @ Vh) < 0:
        X[0] *= -1
    best = 0.5 * (A.square().sum() + B.square().sum()) - S.sum()
    gaps = []
    for more in ({"iteration": "published", "max_step": 1.0}, {}):
        p = parameter(X)
        optimizer = POGO([p], **options, **more)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
        for _ in range(200):
            p.grad = (p.detach() @ A - B) @ A.mT
            optimizer.step()
            schedule.step()
        gaps.append(((0.5 * (p.detach() @ A - B).square().sum() - best) / best).item())
    assert gaps[1] < 1e-4 < 1e-2 < gaps[0], gaps


def test_vadam_by_hand():
    """First step: m = 0.1 G, v = 0.001 |G|^2, corrected direction G / (|G| + eps): the step has length lr."""
    X, G = orthonormal(3, 5), random(3, 5, seed=1)
    got = step(POGO, X, [G], lr=0.1, base="vadam")
    expected = naive.pogo(X, G / (torch.linalg.matrix_norm(G) + 1e-8), 0.1)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)


def test_vadam_ignores_the_scale_of_the_gradient():
    X, grads = orthonormal(2, 3, 5), [random(2, 3, 5, seed=k) for k in range(5)]
    scaled = [G * torch.tensor([1e4, 1e-4]).double()[:, None, None] for G in grads]
    a = step(POGO, X, grads, lr=0.1, base="vadam", eps=0.0)
    torch.testing.assert_close(a, step(POGO, X, scaled, lr=0.1, base="vadam", eps=0.0), rtol=0, atol=1e-13)


def test_steps_turn_with_the_coordinates():
    """Replacing X by X Q and G by G Q turns the iterates: sgd and vadam keep the geometry."""
    Q = orthonormal(5, 5, seed=9)
    for base in ("sgd", "vadam"):
        X, grads = orthonormal(3, 5), [random(3, 5, seed=k) for k in range(3)]
        turned = step(POGO, X @ Q, [G @ Q for G in grads], lr=0.05, base=base)
        torch.testing.assert_close(turned, step(POGO, X, grads, lr=0.05, base=base) @ Q, rtol=0, atol=1e-13)


def test_muon_treats_every_matrix_by_itself():
    """Two matrices in a batch move as alone, and the direction has singular values near one in each."""
    from lcat.optim.base import quintic

    X, G = orthonormal(2, 3, 5), random(2, 3, 5, seed=1)
    G[0] *= 100
    both = step(POGO, X, [G], lr=0.1, base="muon")
    for i in range(2):
        torch.testing.assert_close(both[i], step(POGO, X[i], [G[i]], lr=0.1, base="muon"), rtol=0, atol=1e-13)
    S = torch.linalg.svdvals(quintic(random(50, 6, 9)))
    assert S.min() > 0.5
    assert S.max() < 1.3
    assert torch.equal(quintic(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5))


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e-8, 1e8, 1e30])
def test_muon_has_its_direction_at_any_scale(size):
    """In float32 the squares of small gradients vanish and those of large ones overflow."""
    from lcat.optim.base import quintic

    G = torch.ones(1, 3, 5)
    G[0, 0] = -1
    torch.testing.assert_close(quintic(G * size), quintic(G), rtol=1e-4, atol=1e-4)


def test_vadam_goes_on_after_a_gradient_whose_square_overflows():
    p = parameter(orthonormal(3, 5, dtype=torch.float32))
    optimizer = POGO([p], lr=0.1, base="vadam")
    for k in range(5):
        p.grad = random(3, 5, dtype=torch.float32, seed=k) * 1e25
        before = p.detach().clone()
        optimizer.step()
        assert error(p.detach().double()) < 0.75
    assert not torch.equal(before, p)


def test_weight_decay_has_no_effect_with_sgd():
    X, G = orthonormal(3, 5), random(3, 5)
    with pytest.warns(UserWarning, match="weight_decay in an orthogonal group"):
        decayed = step(POGO, X, [G], lr=0.1, weight_decay=0.3)
    torch.testing.assert_close(decayed, step(POGO, X, [G], lr=0.1), rtol=0, atol=1e-15)
