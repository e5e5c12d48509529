"""What all optimizers share: options, errors, groups, state."""

from __future__ import annotations

import copy
import io
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
    orthogonalize_,
)
from tests.optim.optim_support import error, orthonormal, parameter, random, step


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
        (POGO, {"base": "adam"}, r"base must be one of 'sgd', 'vadam', 'muon', got 'adam' \(did you mean 'vadam'\?\)"),
        (POGO, {"iteration": "publishd"}, r"iteration must be.*did you mean 'published'"),
        (POGO, {"max_step": "automatic"}, r"max_step must be 'auto', None or a number.*got 'automatic'"),
        (POGO, {"foreach": torch.ones(2)}, r"foreach must be one of None, True, False, got tensor"),
        (POGO, {"normal_step": "root"}, "normal_step must be one of 'half', 'order2', 'best', 'none'"),
        (POGO, {"normal_every": 0}, "normal_every must be a whole number of at least 1"),
        (POGO, {"normal_every": 2, "capturable": True}, "counts on the host"),
        (POGO, {"max_step": 0.0}, "max_step must be a number greater than 0"),
        (POGO, {"gram_mode": "cheap"}, "gram_mode must be one of 'auto', 'exact', 'identity'"),
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
    """A DTensor cannot be made without processes; the check uses its attributes."""
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


@pytest.mark.parametrize("closure", [torch.tensor(1.0), 0.5, "loss"])
def test_a_loss_is_no_closure(closure):
    weight = nn.Parameter(torch.eye(3, 5))
    optimizer = POGO([weight])
    with pytest.raises(TypeError, match=r"closure must be a function .*loss\.backward\(\), then step\(\)"):
        optimizer.step(closure)


@pytest.mark.parametrize("euclidean", ["adamw", "sgd"])
def test_a_tensor_as_learning_rate_with_all_options_for_graphs(euclidean):
    weight, bias = nn.Parameter(torch.eye(3)), nn.Parameter(torch.zeros(3))
    groups = [{"params": [weight]}, {"params": [bias], "orthogonal": False, "euclidean": euclidean}]
    rates = {"lr": torch.tensor(0.1), "euclidean_lr": torch.tensor(0.01)}
    optimizer = POGO(groups, **rates, foreach=True, capturable=True)
    weight.grad, bias.grad = torch.randn(3, 3), torch.ones(3)
    optimizer.step()
    torch.testing.assert_close(bias.detach(), torch.full((3,), -0.01))
