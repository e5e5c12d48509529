"""Layouts, buckets, measures, options and errors: what all optimizers share."""

from __future__ import annotations

import copy
import io
import math
import warnings

import pytest
import torch
from torch import nn

from lcat.optim import (
    POGO,
    RSDM,
    SLPG,
    Landing,
    LandingPC,
    RiemannianSGD,
    orthogonality_error,
    orthogonalize_,
    project_,
)
from lcat.optim.bucket import STACK_ENTRIES, make_buckets
from lcat.optim.layout import resolve
from lcat.testing import OrthogonalContract
from tests.optim.optim_support import error, orthonormal, parameter, polar_by_svd, random, step

# -- layouts -----------------------------------------------------------------------------------------------


def test_layouts_by_hand():
    assert resolve((3, 5)) == resolve((3, 5), None, "rows")
    assert (resolve((5, 3)).p, resolve((5, 3)).n, resolve((5, 3)).transposed) == (3, 5, True)
    assert not resolve((4, 4)).transposed
    assert resolve((4, 4), None, "cols").transposed
    assert resolve((2, 7, 3, 5)).batch == (2, 7)
    assert resolve((6, 4, 3, 3), "conv") == resolve((6, 36))
    assert resolve((12, 5), (3, 4, -1)) == resolve((3, 4, 5))


@pytest.mark.parametrize(
    ("shape", "matrix", "orientation", "message"),
    [
        ((3,), None, "auto", "is no matrix"),
        ((), None, "auto", "is no matrix"),
        ((5, 3), None, "rows", r"cannot have orthonormal rows \(at most 3.*orientation='cols'"),
        ((3, 5), None, "cols", "cannot have orthonormal columns"),
        ((3, 5), None, "up", "orientation must be one of auto, rows, cols, got 'up'"),
        ((3, 5), "kernel", "auto", "matrix must be None, 'conv' or a tuple"),
        ((3,), "conv", "auto", "needs a kernel"),
        ((12, 5), (5, -1, 7), "auto", "does not fit a tensor of shape"),
        ((12, 5), (3, -1, -1), "auto", "does not fit"),
        ((12, 5), (3, 0), "auto", "matrix must be None"),
        ((0, 5), None, "auto", "no entries"),
    ],
)
def test_layout_errors(shape, matrix, orientation, message):
    with pytest.raises(ValueError, match=message):
        resolve(shape, matrix, orientation)


def test_matrix_option_is_a_view_of_the_weights():
    X, G = orthonormal(3, 4, 6), random(3, 4, 6, seed=1)
    got = step(POGO, X.reshape(12, 6), [G.reshape(12, 6)], lr=0.1, matrix=(3, 4, -1))
    torch.testing.assert_close(got.view(3, 4, 6), step(POGO, X, [G], lr=0.1), rtol=0, atol=0)
    kernel = step(POGO, X[0].view(4, 2, 3), [G[0].view(4, 2, 3)], lr=0.1, matrix="conv")
    torch.testing.assert_close(kernel.view(4, 6), step(POGO, X[0], [G[0]], lr=0.1), rtol=0, atol=0)


def test_square_rows_and_columns_agree_on_the_manifold():
    X, G = orthonormal(4, 4), random(4, 4, seed=1)
    a, b = (step(POGO, X, [G], lr=0.05, orientation=o) for o in ("rows", "cols"))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


# -- buckets -----------------------------------------------------------------------------------------------


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


# -- measures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_orthogonality_error_is_the_frobenius_norm(dtype):
    X = orthonormal(2, 3, 5, dtype=dtype)
    X[1] *= 1.1
    expected = abs(1.21 - 1) * 3**0.5
    assert orthogonality_error(X) == pytest.approx(expected, abs=1e-6)
    assert orthogonality_error(X.mT) == pytest.approx(expected, abs=1e-6)
    assert orthogonality_error([X[0], X[1]]) == pytest.approx(expected, abs=1e-6)
    assert orthogonality_error(X.reshape(6, 5), matrix=(2, 3, 5)) == pytest.approx(expected, abs=1e-6)


def test_orthogonalize():
    X = random(4, 3, 5)
    nearest, qr = X.clone(), X.clone()
    project_(nearest)
    torch.testing.assert_close(nearest, polar_by_svd(X), rtol=0, atol=1e-13)
    orthogonalize_(qr, "qr")
    assert error(qr) < 1e-14
    L = X @ qr.mH  # the rows of X in the new basis: lower triangular with a positive diagonal
    assert L.triu(1).abs().max() < 1e-13
    assert L.diagonal(dim1=-2, dim2=-1).min() > 0
    module = nn.Linear(6, 4).double()
    orthogonalize_(module)
    assert orthogonality_error(module) < 1e-14
    tall = random(5, 3)
    assert error(orthogonalize_(tall)[0]) < 1e-14


@pytest.mark.parametrize("method", ["qr", "nearest"])
def test_orthogonalize_refuses_what_has_no_answer(method):
    for bad in (torch.zeros(3, 5), torch.ones(3, 5), torch.full((3, 5), float("inf"))):
        with pytest.raises(ValueError, match="cannot be made orthonormal"):
            orthogonalize_(bad, method)
    with pytest.raises(ValueError, match="method must be one of qr, nearest, got 'svd'"):
        orthogonalize_(torch.eye(3), "svd")


@pytest.mark.parametrize("order", [1, -1])
def test_the_largest_error_is_no_number_where_one_is_none(order):
    matrices = [torch.eye(3), torch.full((3, 3), torch.nan), torch.eye(3)][::order][1:]
    assert math.isnan(orthogonality_error(matrices))
    params = [parameter(orthonormal(3, 5)), parameter(orthonormal(5, 3))][::order]
    optimizer = POGO(params, lr=0.1)
    params[1].data.fill_(torch.nan)
    assert math.isnan(optimizer.orthogonality_error())


def test_the_contract_notices_what_becomes_no_number():
    class Broken(POGO):
        def update(self, X, D, scale, group, bucket):
            result = super().update(X, D, scale, group, bucket)
            return result._replace(weights=result.weights * torch.nan) if bucket.layout.transposed else result

    class Suite(OrthogonalContract):
        def optimizer(self, params, **options):
            return Broken(params, **options)

    suite = Suite()
    for clause in (
        suite.test_any_learning_rate_stays_finite,
        suite.test_any_gradient_stays_finite,
        suite.test_orthogonality_survives_noise,
        suite.test_half_precision_stays_near,
    ):
        with pytest.raises(AssertionError):
            clause()


def test_orthogonalize_changes_all_or_nothing():
    good, bad = torch.randn(3, 5), torch.zeros(3, 5)
    before = good.clone()
    with pytest.raises(ValueError, match="cannot be made orthonormal"):
        orthogonalize_([good, bad])
    assert torch.equal(good, before)


def test_lazy_modules_are_told_to_run():
    for function in (orthogonality_error, orthogonalize_):
        with pytest.raises(ValueError, match="lazy parameter has no shape yet; run one forward"):
            function(torch.nn.LazyLinear(3))


def test_optimizer_projects_and_measures():
    p = parameter(orthonormal(3, 5) * 1.0001)
    optimizer = POGO([p], lr=0.1)
    assert optimizer.orthogonality_error() > 1e-4
    optimizer.project_()
    assert optimizer.orthogonality_error() < 1e-14


# -- options and errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (POGO, {"lr": -1.0}, "lr must be a number at least 0, got -1.0"),
        (POGO, {"lr": torch.ones(2)}, "a tensor lr must hold one number"),
        (POGO, {"lr": torch.tensor(-1.0)}, "lr must be a number at least 0, got -1.0"),
        (POGO, {"momentum": -0.1}, "momentum must be"),
        (POGO, {"eps": float("nan")}, "eps must be"),
        (POGO, {"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\)"),
        (POGO, {"betas": 0.9}, "betas must be two numbers"),
        (POGO, {"betas": ("0.9", "0.99")}, "betas must be two numbers"),
        (POGO, {"nesterov": True}, "nesterov needs momentum > 0"),
        (POGO, {"maximize": "no"}, "maximize must be one of True, False, got 'no'"),
        (POGO, {"capturable": "yes"}, "capturable must be one of True, False, got 'yes'"),
        (POGO, {"matrix": lambda weight: weight.mT}, "matrix must be None, 'conv' or a tuple of sizes"),
        (POGO, {"matrix": 3}, "matrix must be None, 'conv' or a tuple of sizes"),
        (POGO, {"matrix": (3.0, 5)}, "matrix must be None, 'conv' or a tuple of sizes"),
        (POGO, {"matrix": ([3], 5)}, "matrix must be None, 'conv' or a tuple of sizes"),
        (POGO, {"tangent": "yes"}, "tangent must be one of True, False, got 'yes'"),
        (POGO, {"base": "adam"}, "base must be one of 'sgd', 'vadam', 'muon', got 'adam'"),
        (POGO, {"normal_step": "root"}, "normal_step must be one of 'half', 'order2', 'best', 'none'"),
        (POGO, {"normal_every": 0}, "normal_every must be a whole number of at least 1"),
        (POGO, {"normal_every": 2, "capturable": True}, "counts on the host"),
        (POGO, {"max_step": 0.0}, "max_step must be a number greater than 0"),
        (POGO, {"gram_mode": "cheap"}, "gram_mode must be one of 'exact', 'identity'"),
        (POGO, {"check": "never"}, "check must be one of"),
        (POGO, {"foreach": "yes"}, "foreach must be one of None, True, False"),
        (POGO, {"euclidean": "lion"}, "euclidean must be one of 'adamw', 'sgd'"),
        (Landing, {"attraction": 0.0}, "attraction must be a number greater than 0"),
        (Landing, {"safe": 1.5}, "safe must lie between 0 and 1"),
        (RiemannianSGD, {"retraction": "exp"}, "retraction must be one of 'qr', 'polar', 'cayley'"),
        (RSDM, {"rank": 0}, "rank must be None or a whole number"),
        (RSDM, {"sampling": "random"}, "sampling must be one of"),
        (RSDM, {"rank": 1}, "rank=1 rotates nothing in a real matrix"),
        (RSDM, {"seed": True}, "seed must be a whole number"),
        (SLPG, {"gamma": 0.1}, "gamma=0.1 weighs a regularizer; choose 'l1' or 'l21'"),
        (POGO, {"lr": float("inf")}, r"lr must be a number of at most 1e\+30, got inf"),
        (POGO, {"lr": 1e39}, r"lr must be a number of at most 1e\+30"),
    ],
)
def test_options_out_of_range(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls([parameter(orthonormal(3, 5))], **options)
    with pytest.raises(ValueError, match=message):  # in a group just as well
        cls([{"params": [parameter(orthonormal(3, 5))], **options}])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Parameter(torch.ones(3)), r"is no matrix.*orthogonal=False"),
        (lambda: nn.Parameter(torch.eye(3, dtype=torch.int64), requires_grad=False), r"dtype torch.int64"),
        (lambda: nn.Parameter(2 * torch.eye(3)), r"not orthonormal.*orthogonalize_"),
        (lambda: nn.Parameter(torch.full((3, 3), float("nan"))), "not orthonormal"),
        (nn.parameter.UninitializedParameter, "lazy.*one forward pass"),
    ],
)
def test_parameters_that_cannot_be_constrained(make, message):
    with pytest.raises(ValueError, match=f"parameter 'layer.weight'.*{message}"):
        POGO([("layer.weight", make())])
    with pytest.raises(ValueError, match=f"parameter 0 of its group.*{message}"):
        POGO([make()])


@pytest.mark.filterwarnings("ignore:orthogonal parameters stored in")
def test_types_without_arithmetic_are_refused():
    with pytest.raises(ValueError, match=r"dtype torch.float8_e4m3fn.*bfloat16"):
        POGO([nn.Parameter(torch.eye(3).to(torch.float8_e4m3fn), requires_grad=False)])
    with pytest.raises(ValueError, match=r"dtype torch.int64 cannot hold orthonormal rows"):
        orthogonalize_(torch.ones(3, 5, dtype=torch.int64))


def test_numbers_of_numpy_become_plain():
    numpy = pytest.importorskip("numpy")
    for kind in (numpy.float64, numpy.float32):
        p = parameter(orthonormal(3, 5), random(3, 5))
        optimizer = POGO([{"params": [p], "momentum": kind(0.5)}], lr=kind(0.25))
        optimizer.step()
        assert {type(optimizer.param_groups[0][name]) for name in ("lr", "momentum")} == {float}
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        optimizer.load_state_dict(torch.load(file, weights_only=True))


def test_groups_given_are_not_changed():
    group = {"params": [parameter(orthonormal(3, 5))]}
    POGO([group], lr=0.1)
    assert set(group) == {"params"}


def test_loading_checks_options_before_it_changes_anything():
    p = parameter(orthonormal(3, 5), random(3, 5))
    optimizer = POGO([p], lr=0.1)
    optimizer.step()
    state = optimizer.state_dict()
    state["param_groups"][0] |= {"normal_step": "bogus", "lr": 0.7}
    with pytest.raises(ValueError, match="normal_step must be one of"):
        optimizer.load_state_dict(state)
    assert (optimizer.param_groups[0]["normal_step"], optimizer.param_groups[0]["lr"]) == ("half", 0.1)


def test_state_of_torchs_adamw_loads_into_euclidean_groups():
    a, b = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    adamw, ours = torch.optim.AdamW([a], lr=0.1), POGO([{"params": [b], "orthogonal": False}])
    for seed in range(6):
        if seed == 3:
            ours.load_state_dict(copy.deepcopy(adamw.state_dict()))
            with torch.no_grad():
                b.copy_(a)
        a.grad = random(4, seed=seed).float()
        b.grad = a.grad.clone()
        adamw.step()
        ours.step()
    assert not ours.param_groups[0]["orthogonal"]
    assert torch.equal(a, b)


def test_capturable_euclidean_groups_run_on_a_cpu():
    bias = torch.nn.Parameter(torch.ones(3))
    bias.grad = torch.ones(3)
    POGO([{"params": [bias], "orthogonal": False}], capturable=True).step()
    assert (bias < 1).all()


@pytest.mark.parametrize("alone", [True, False])
def test_parameters_given_another_shape_or_type_are_read_anew(alone):
    params = [parameter(orthonormal(4, 6, seed=i).float()) for i in range(1 if alone else 3)]
    optimizer = POGO(params, lr=0.01)

    def step():
        for i, p in enumerate(params):
            p.grad = random(*p.shape, dtype=p.dtype, seed=i)
        optimizer.step()

    step()
    params[-1].data = orthonormal(6, 4).float()
    expected = parameter(params[-1].detach(), random(6, 4, dtype=torch.float32, seed=len(params) - 1))
    step()
    POGO([expected], lr=0.01).step()
    torch.testing.assert_close(params[-1], expected)
    params[-1].data = params[-1].data.double()
    step()
    assert params[-1].dtype == torch.float64
    assert optimizer.orthogonality_error() < 1e-5


def test_a_group_says_yes_or_no():
    with pytest.raises(ValueError, match="orthogonal must be one of True, False, got 'no'"):
        POGO([{"params": [parameter(orthonormal(3, 5))], "orthogonal": "no"}])


@pytest.mark.parametrize("matrix", [[3, 2, 5], (3, 2, 5), torch.Size((3, 2, 5))])
def test_matrix_shapes_become_plain_tuples(matrix):
    X = orthonormal(3, 2, 5).reshape(6, 5)
    for optimizer in (POGO([parameter(X)], matrix=matrix), POGO([{"params": [parameter(X)], "matrix": matrix}])):
        assert type(optimizer.param_groups[0]["matrix"]) is tuple
        assert optimizer.param_groups[0]["matrix"] == (3, 2, 5)


@pytest.mark.parametrize("cls", [Landing, LandingPC])
def test_methods_that_stay_near_start_where_they_may_stop(cls):
    """A run of Landing leaves weights up to ``safe`` away; building the optimizer anew takes them, POGO does not."""
    X = orthonormal(3, 5) + 0.02 * random(3, 5)
    assert 0.01 < error(X) < 0.5
    p = parameter(X)
    optimizer = cls([p], lr=0.1, check="always")
    for k in range(5):
        p.grad = random(3, 5, seed=k)
        optimizer.step()
    with pytest.raises(ValueError, match=r"accepted up to 0\.01"):
        cls([parameter(X)], safe=0.01)
    with pytest.raises(ValueError, match="check='off' for weights of a checkpoint"):
        POGO([parameter(X)])


def test_adamw_refuses_sparse_gradients():
    """torch's AdamW says so too; its SGD takes them, and so do we."""
    for method in ("adamw", "sgd"):
        table = nn.Embedding(4, 3, sparse=True)
        before = table.weight.detach().clone()
        optimizer = POGO([{"params": [table.weight], "orthogonal": False, "euclidean": method, "lr": 0.5}])
        table(torch.tensor([1])).sum().backward()
        if method == "adamw":
            with pytest.raises(RuntimeError, match=r"has a sparse gradient, and AdamW.*euclidean='sgd'"):
                optimizer.step()
        else:
            optimizer.step()
            moved = (table.weight - before).abs().sum(1)
            assert moved.nonzero().flatten().tolist() == [1]


def test_check_off_takes_anything_and_always_looks():
    POGO([nn.Parameter(2 * torch.eye(3))], check="off")
    p = parameter(orthonormal(3, 5))
    optimizer = POGO([p], lr=1.0, check="always", max_step=None)
    p.grad = 100 * random(3, 5)
    with pytest.raises(RuntimeError, match=r"after a step.*not orthonormal"):
        optimizer.step()


def test_sharded_gradients_are_refused():
    """A DTensor cannot be made without processes; the check goes by its attributes."""
    p = parameter(orthonormal(3, 5))
    optimizer = POGO([p], lr=0.1)

    class Shard(torch.Tensor):
        placements = ("shard",)

    p.grad = random(3, 5).as_subclass(Shard)
    with pytest.raises(RuntimeError, match="sharded gradient"):
        optimizer.step()


def test_euclidean_learning_rate_does_not_inherit_the_orthogonal_one():
    weight, bias = parameter(orthonormal(3, 5)), nn.Parameter(torch.zeros(3))
    groups = [{"params": [weight]}, {"params": [bias], "orthogonal": False}]
    optimizer = POGO(groups, lr=0.3)
    assert [g["lr"] for g in optimizer.param_groups] == [0.3, 1e-3]
    optimizer = POGO([{"params": [bias], "orthogonal": False}], lr=0.3, euclidean_lr=0.05)
    assert optimizer.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("foreach", [None, True, False])
def test_euclidean_groups_are_torchs(foreach):
    for method, twin_class, options in (
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-6}),
        ("sgd", torch.optim.SGD, {"weight_decay": 0.1, "momentum": 0.9, "nesterov": True}),
    ):
        params, twins = ([nn.Parameter(random(4, k)) for k in (1, 2, 3)] for _ in range(2))
        a = POGO(
            [{"params": params, "orthogonal": False, **options}], euclidean=method, euclidean_lr=0.1, foreach=foreach
        )
        b = twin_class(twins, lr=0.1, **options)
        for k in range(5):
            for p, q in zip(params, twins, strict=True):
                p.grad = random(*p.shape, seed=k)
                q.grad = random(*p.shape, seed=k)
            a.step()
            b.step()
        for p, q in zip(params, twins, strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-15)
            assert set(a.state[p]) == set(b.state[q])


def test_no_warning_without_a_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight = parameter(orthonormal(3, 5))
        optimizer = POGO(
            [{"params": [weight]}, {"params": [nn.Parameter(torch.ones(2))], "orthogonal": False, "weight_decay": 0.1}],
            lr=0.1,
        )
        weight.grad = random(3, 5)
        optimizer.step()


def test_groups_may_use_different_bases():
    a, b = parameter(orthonormal(3, 5)), parameter(orthonormal(3, 5))
    optimizer = POGO([{"params": [a], "base": "vadam"}, {"params": [b]}], lr=0.1)
    a.grad = b.grad = random(3, 5)
    optimizer.step()
    assert "exp_avg" in optimizer.state[a]
    assert "exp_avg" not in optimizer.state[b]
    torch.testing.assert_close(b.detach(), step(POGO, orthonormal(3, 5), [random(3, 5)], lr=0.1), rtol=0, atol=0)


def test_memory_layout_of_tall_batches():
    """Tall batches are computed as contiguous wide ones, not through slow transposed products."""
    X = orthonormal(20, 9, 4)
    got = step(POGO, X, [random(20, 9, 4)], lr=0.1)
    torch.testing.assert_close(got.mT, step(POGO, X.mT.contiguous(), [random(20, 9, 4).mT], lr=0.1), rtol=0, atol=1e-14)
