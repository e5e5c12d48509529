"""POGO's step against its formulas, in every layout and form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lcat.optim import POGO, naive
from lcat.optim.normal import NORMAL_STEPS, best_weight
from lcat.optim.pogo_step import pogo_step
from lcat.optim.products import BATCH_LAST, BATCHED, SINGLE, algebra_for
from tests.optim.optim_support import DTYPES, SHAPES, error, orthonormal, parameter, pogo_by_svd, random, step, wide


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_step_equals_the_formula(shape, dtype):
    X, G = orthonormal(*shape, dtype=dtype), 0.2 * random(*shape, dtype=dtype, seed=1)
    got = step(POGO, X, [G], lr=0.3)
    torch.testing.assert_close(wide(got), naive.pogo(wide(X), wide(G), 0.3), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_five_steps_equal_the_oracle_by_singular_values(shape, dtype):
    X = orthonormal(*shape, dtype=dtype)
    grads = [0.2 * random(*shape, dtype=dtype, seed=k) for k in range(5)]
    expected = wide(X)
    for G in grads:
        expected = pogo_by_svd(expected, wide(G), 0.5)
    got = step(POGO, X, grads, lr=0.5, iteration="published")
    torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-12)


def test_one_step_by_hand():
    """X = I, G = [[0, 1], [0, 0]], lr = 1/2: R = [[0, 1], [-1, 0]] / 2, M = [[1, -1/4], [1/4, 1]],
    M M^T = 17/16 I, so X' = (3 - 17/16) / 2 M = 31/32 M."""
    got = step(POGO, torch.eye(2).double(), [torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()], lr=0.5, max_step=1.0)
    expected = 31 / 32 * torch.tensor([[1.0, -0.25], [0.25, 1.0]]).double()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gram_of_the_tangent_step_is_exact_anywhere(dtype):
    """M M^H = X X^H + eta^2 R R^H, for X far from the manifold too."""
    X, G = random(2, 3, 5, dtype=dtype), random(2, 3, 5, dtype=dtype, seed=1)
    R = naive.relative_gradient(X, G)
    M = X - 0.7 * R
    torch.testing.assert_close(M @ M.mH, X @ X.mH + 0.49 * R @ R.mH, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    p=st.integers(1, 6),
    extra=st.integers(0, 5),
    size=st.floats(1e-3, 1.0),
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from(DTYPES),
    base=st.sampled_from(["sgd", "vadam"]),
)
def test_error_bound(p, extra, size, seed, dtype, base):
    """|X' X'^H - I| <= 3/4 |eta R|^4 after a step from an orthonormal matrix."""
    X = orthonormal(p, p + extra, dtype=dtype, seed=seed)
    G = random(p, p + extra, dtype=dtype, seed=seed + 1)
    length = torch.linalg.matrix_norm(naive.relative_gradient(X, G))
    if base == "sgd":
        eta = size / max(float(length), 1e-12)
        got = step(POGO, X, [G], lr=eta)
        bound = 0.75 * size**4
    else:
        got = step(POGO, X, [G], lr=size, base="vadam", eps=0.0)
        bound = 0.75 * float(size * length / torch.linalg.matrix_norm(G)) ** 4
    assert error(got) <= bound * (1 + 1e-6) + 1e-14


@pytest.mark.parametrize("normal", ["half", "order2", "best"])
def test_normal_steps_equal_their_polynomials(normal):
    M = orthonormal(5, 3, 6) + 0.1 * random(5, 3, 6, seed=1)
    D = naive.gram(M) - naive.eye_like(M)
    got = NORMAL_STEPS[normal](BATCHED, naive.gram(M)) @ M
    if normal == "half":
        expected = naive.newton_schulz(M)
    elif normal == "order2":
        expected = naive.newton_schulz_order2(M)
    else:
        w = best_weight(BATCHED, D)
        expected = M - w * D @ M
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-6, 1.4), p=st.integers(1, 5), dtype=st.sampled_from(DTYPES))
def test_best_is_never_worse_than_half_and_is_a_minimum(seed, size, p, dtype):
    X = orthonormal(p, p + 2, dtype=dtype, seed=seed)
    R = naive.relative_gradient(X, random(p, p + 2, dtype=dtype, seed=seed + 1))
    M = X - size * R / torch.linalg.matrix_norm(R)
    w = best_weight(BATCHED, (naive.gram(M) - naive.eye_like(M))[None])[0, 0, 0]
    value = naive.landing_polynomial(M, w)
    assert value <= naive.landing_polynomial(M, torch.tensor(0.5)) + 1e-28
    for nearby in (-1e-3, 1e-3):
        assert value <= naive.landing_polynomial(M, w + nearby) + 1e-28
    assert 0 < w < 1  # not the reflection near 2 / d


@pytest.mark.parametrize("normal", ["half", "order2", "best"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_500_steps_with_every_normal_step_stay_on_the_manifold(normal, dtype):
    """The published root solver leaves the manifold here (error 0.3 to not-a-number)."""
    X = orthonormal(8, 8, 12, dtype=dtype)
    T = orthonormal(8, 8, 12, dtype=dtype, seed=1)
    p = parameter(X)
    optimizer = POGO([p], lr=0.1, normal_step=normal)
    for _ in range(500):
        p.grad = p.detach() - T
        optimizer.step()
        assert error(p.detach().to(torch.complex128)) < 1e-2
    assert error(p.detach().to(torch.complex128)) < 1e-5


def test_normal_every_lets_the_error_grow_and_takes_it_back():
    X = orthonormal(4, 6)
    p = parameter(X)
    optimizer = POGO([p], lr=0.05, normal_every=3)
    errors = []
    for k in range(6):
        p.grad = random(4, 6, seed=k)
        optimizer.step()
        errors.append(error(p.detach()))
    assert errors[0] < errors[1] > errors[2]
    assert errors[3] < errors[4] > errors[5]
    never = step(POGO, X, [random(4, 6)], lr=0.05, normal_step="none")
    torch.testing.assert_close(never, X - 0.05 * naive.relative_gradient(X, random(4, 6)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("shape", [(600, 3, 3), (600, 2, 5), (600, 4, 4)])
def test_batch_last_equals_batched(shape, exact, dtype):
    X, G = orthonormal(*shape, dtype=dtype), random(*shape, dtype=dtype, seed=1)
    assert algebra_for(X) is BATCH_LAST
    for normal in NORMAL_STEPS:
        usual, _ = pogo_step(BATCHED, X, G, 0.1, exact=exact, normal_step=normal)
        last, _ = pogo_step(BATCH_LAST, BATCH_LAST.pack(X), BATCH_LAST.pack(G), 0.1, exact=exact, normal_step=normal)
        torch.testing.assert_close(BATCH_LAST.unpack(last), usual, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("p", [100, 193, 400])
def test_gram_by_blocks(p, dtype):
    X = random(p, p + 30, dtype=dtype)
    got = SINGLE.gram(X)
    close = 1e-3 if dtype != torch.float64 else 1e-11
    torch.testing.assert_close(got, X @ X.mH, rtol=close, atol=close)


@pytest.mark.parametrize("dtype", DTYPES)
def test_carried_gram_agrees_with_the_computed_one(dtype):
    """500 steps, wide enough to carry: the stored matrix stays X X^H to rounding."""
    X, T = orthonormal(2, 3, 12, dtype=dtype), orthonormal(2, 3, 12, dtype=dtype, seed=1)
    carried, computed = parameter(X), parameter(X)
    a = POGO([carried], lr=0.2, iteration="published")
    b = POGO([computed], lr=0.2, iteration="published", capturable=True)
    for _ in range(500):
        for p, optimizer in ((carried, a), (computed, b)):
            p.grad = p.detach() - T
            optimizer.step()
    assert "gram" in a.state[carried]
    assert "gram" not in b.state[computed]
    K = carried.detach() @ carried.detach().mH
    torch.testing.assert_close(a.state[carried]["gram"], K, rtol=0, atol=2e-15)
    torch.testing.assert_close(carried, computed, rtol=0, atol=1e-13)


def other_weights(optimizer, p, fresh):
    """A checkpoint loaded over weights that are not its own, as after ``project_`` or for a part of a model."""
    optimizer.load_state_dict(optimizer.state_dict())
    with torch.no_grad():
        p.copy_(fresh)


def options_there_and_back(optimizer, p, fresh):
    for name, value, back in (("gram_mode", "identity", "auto"), ("capturable", True, False)):
        optimizer.param_groups[0][name] = value
        for seed in range(3):
            p.grad = random(*p.shape, seed=seed)
            optimizer.step()
        optimizer.param_groups[0][name] = back


@pytest.mark.parametrize("meanwhile", [other_weights, options_there_and_back])
def test_carried_gram_is_never_that_of_other_weights(meanwhile):
    p = parameter(orthonormal(3, 12))
    optimizer = POGO([p], lr=0.2, iteration="published")
    for seed in range(5):
        p.grad = random(3, 12, seed=seed)
        optimizer.step()
    meanwhile(optimizer, p, orthonormal(3, 12, seed=1))
    G = random(3, 12, seed=99)
    expected = step(POGO, p.detach(), [G], lr=0.2, check="off", iteration="published")
    p.grad = G
    optimizer.step()
    torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-13)


def test_carried_gram_is_dropped_when_the_weights_were_changed():
    X, Z = orthonormal(3, 12), orthonormal(3, 12, seed=5) * 1.05
    p, fresh = parameter(X), parameter(Z)
    a, b = (POGO([x], lr=0.2, check="off", iteration="published") for x in (p, fresh))
    p.grad = random(3, 12)
    a.step()
    with torch.no_grad():
        p.copy_(Z)
    p.grad = fresh.grad = random(3, 12, seed=2)
    a.step()
    b.step()
    torch.testing.assert_close(p, fresh, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (5, 3), (2, 3, 7)])
def test_identity_gram_is_the_four_product_formula(shape, dtype):
    X, grads = orthonormal(*shape, dtype=dtype), [random(*shape, dtype=dtype, seed=k) for k in range(4)]
    expected = wide(X)
    for G in grads:
        expected = naive.pogo_four_products(expected, wide(G), 0.05)
    got = step(POGO, X, grads, lr=0.05, gram_mode="identity", iteration="published")
    torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-4, 0.1), dtype=st.sampled_from(DTYPES))
def test_identity_gram_deviates_as_stated(seed, size, dtype):
    """Before the normal step the difference is eta/2 (X X^H - I) D, so at most eta/2 |X X^H - I| |D|."""
    X = orthonormal(3, 6, dtype=dtype, seed=seed)
    X = X + size * random(3, 6, dtype=dtype, seed=seed + 1) / 10
    G = random(3, 6, dtype=dtype, seed=seed + 2)
    options = {"lr": 0.1, "check": "off", "normal_step": "none", "iteration": "published"}
    exact, cheap = (step(POGO, X, [G], gram_mode=mode, **options) for mode in ("exact", "identity"))
    stated = 0.05 * error(X) * torch.linalg.matrix_norm(G)
    assert torch.linalg.matrix_norm(exact - cheap) <= stated * (1 + 1e-9)


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"gram_mode": "identity"}, marks=LONG),
        pytest.param({"base": "vadam"}, marks=LONG),
        pytest.param({"momentum": 0.9}, marks=LONG),
        pytest.param({"normal_step": "order2"}, marks=LONG),
        pytest.param({"normal_step": "best"}, marks=LONG),
    ],
)
def test_ten_thousand_steps_in_float32(options):
    """The error stays within 1e-5 for 10 000 noisy steps, wide, tall, square and batched."""
    torch.manual_seed(0)
    shapes = [(8, 12), (16, 5), (10, 10), (4, 3, 30)]
    params = [parameter(orthonormal(*s, dtype=torch.float32)) for s in shapes]
    optimizer = POGO(params, lr=1e-3, **options)
    worst = 0.0
    for k in range(10_000):
        for p in params:
            p.grad = torch.randn(p.shape)
        optimizer.step()
        if k % 100 == 0:
            worst = max(worst, max(error(p.detach().double()) for p in params))
    assert worst < 1e-5
