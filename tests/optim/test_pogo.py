"""POGO against its formula, against an oracle through singular values, and what its error may be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lcat.optim import POGO, Landing, naive
from lcat.optim.guard import shorten
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
    got = step(POGO, X, grads, lr=0.5)
    torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-12)


def test_one_step_by_hand():
    """X = I, G = [[0, 1], [0, 0]], lr = 1/2: R = [[0, 1], [-1, 0]] / 2, M = [[1, -1/4], [1/4, 1]],
    M M^T = 17/16 I, so X' = (3 - 17/16) / 2 M = 31/32 M."""
    got = step(POGO, torch.eye(2).double(), [torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()], lr=0.5)
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


# -- layouts and forms of the same step --------------------------------------------------------------------


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
    a, b = POGO([carried], lr=0.2), POGO([computed], lr=0.2, capturable=True)
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
    for name, value, back in (("gram_mode", "identity", "exact"), ("capturable", True, False)):
        optimizer.param_groups[0][name] = value
        for seed in range(3):
            p.grad = random(*p.shape, seed=seed)
            optimizer.step()
        optimizer.param_groups[0][name] = back


@pytest.mark.parametrize("meanwhile", [other_weights, options_there_and_back])
def test_carried_gram_is_never_that_of_other_weights(meanwhile):
    p = parameter(orthonormal(3, 12))
    optimizer = POGO([p], lr=2.0)
    for seed in range(5):
        p.grad = random(3, 12, seed=seed)
        optimizer.step()
    meanwhile(optimizer, p, orthonormal(3, 12, seed=1))
    G = random(3, 12, seed=99)
    expected = step(POGO, p.detach(), [G], lr=2.0, check="off")
    p.grad = G
    optimizer.step()
    torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-13)


def test_carried_gram_is_dropped_when_the_weights_were_changed():
    X, Z = orthonormal(3, 12), orthonormal(3, 12, seed=5) * 1.05
    p, fresh = parameter(X), parameter(Z)
    a, b = POGO([p], lr=0.2), POGO([fresh], lr=0.2, check="off")
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
    got = step(POGO, X, grads, lr=0.05, gram_mode="identity")
    torch.testing.assert_close(wide(got), expected, rtol=0, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-4, 0.1), dtype=st.sampled_from(DTYPES))
def test_identity_gram_deviates_as_stated(seed, size, dtype):
    """Before the normal step the difference is eta/2 (X X^H - I) D, so at most eta/2 |X X^H - I| |D|."""
    X = orthonormal(3, 6, dtype=dtype, seed=seed)
    X = X + size * random(3, 6, dtype=dtype, seed=seed + 1) / 10
    G = random(3, 6, dtype=dtype, seed=seed + 2)
    exact = step(POGO, X, [G], lr=0.1, check="off", normal_step="none", max_step=None)
    cheap = step(POGO, X, [G], lr=0.1, check="off", normal_step="none", max_step=None, gram_mode="identity")
    stated = 0.05 * error(X) * torch.linalg.matrix_norm(G)
    assert torch.linalg.matrix_norm(exact - cheap) <= stated * (1 + 1e-9)


# -- the guard ---------------------------------------------------------------------------------------------


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


# -- base updates ------------------------------------------------------------------------------------------


def test_momentum_is_that_of_torch():
    """The buffer of every variant equals torch.optim.SGD's on the same gradients."""
    for options in ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "dampening": 0.3}):
        p, twin = parameter(orthonormal(3, 5)), torch.nn.Parameter(torch.zeros(3, 5).double())
        a, b = POGO([p], lr=0.1, **options), torch.optim.SGD([twin], lr=0.1, **options)
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
    for cls, method in ((POGO, naive.pogo), (Landing, lambda X, D, eta: X - eta * naive.landing_field(X, D, 1.0))):
        got = step(cls, X, grads, lr=0.05, momentum=0.9, tangent=True)
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


@pytest.mark.parametrize("options", [{"momentum": 0.9, "lr": 0.5}, {"base": "vadam", "lr": 5.0}])
def test_tangent_gradients_accelerate_where_the_residual_does_not_vanish(options):
    """Procrustes: the optimum leaves a gradient across the manifold, which is a brake in the plain buffer."""
    A, B, X = random(20, 20, seed=1) / 20**0.5, random(20, 20, seed=2) / 20**0.5, orthonormal(20, 20)
    U, S, Vh = torch.linalg.svd(B @ A.mT)
    if torch.linalg.det(X) * torch.linalg.det(U @ Vh) < 0:
        X[0] *= -1
    best = 0.5 * (A.square().sum() + B.square().sum()) - S.sum()
    gaps = []
    for tangent in (False, True):
        p = parameter(X)
        optimizer = POGO([p], tangent=tangent, **options)
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


# -- long runs ---------------------------------------------------------------------------------------------


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
