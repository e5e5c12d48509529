"""Checkpoints: what does not fit is refused and nothing is loaded; what fits resumes bit for bit in any order."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lcat.optim import (
    POGO,
    RSDM,
    SLPG,
    Landing,
    LandingPC,
    RiemannianAdam,
    RiemannianSGD,
    orthogonal_groups,
    orthogonality_error,
)
from lcat.optim.loading import misspelt_options
from lcat.optim.options import COMMON
from tests.optim.optim_support import orthonormal, parameter, random


def trained(params, cls=POGO, steps=2, **options):
    if cls is not RiemannianAdam:
        options = {"momentum": 0.9, **options}
    optimizer = cls(params, **{"lr": 0.1, **options})
    for k in range(steps):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = random(*p.shape, dtype=p.dtype, seed=k)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("base", ["sgd", "vadam"])
@pytest.mark.parametrize("shapes", [((4, 6), (6, 4)), ((4, 6), (2, 12)), ((4, 4), (2, 4, 4))])
def test_state_of_another_shape_is_refused_and_nothing_is_loaded(shapes, base):
    one = trained([parameter(orthonormal(*s)) for s in shapes], base=base)
    two = trained([parameter(orthonormal(*s)) for s in shapes[::-1]], base=base, steps=1)
    before = copy.deepcopy(two.state_dict())
    with pytest.raises(ValueError, match=r"of parameter 0 of its group has shape .* in the checkpoint, expected"):
        two.load_state_dict(copy.deepcopy(one.state_dict()))
    assert str(two.state_dict()) == str(before)


def test_state_of_other_names_is_refused():
    a, b = parameter(orthonormal(4, 6)), parameter(orthonormal(4, 6))
    one, two = trained([("a", a), ("b", b)]), POGO([("b", b), ("a", a)], lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match="parameter 0 of group 0 is 'a' in the checkpoint and 'b' in the optimizer"):
        two.load_state_dict(one.state_dict())
    assert not two.state
    wrapped = POGO([("module._orig_mod.a", a), ("module._orig_mod.b", b)], lr=0.1, momentum=0.9)
    wrapped.load_state_dict(one.state_dict())  # what DDP and torch.compile put before names
    POGO([a, b], lr=0.1, momentum=0.9).load_state_dict(one.state_dict())  # no names to compare


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["param_groups"][0].update(orthogonal=False), "is Euclidean, that of the optimizer orthogonal"),
        (lambda s: s["param_groups"][0].update(normal="best"), r"an entry 'normal', which is no option.*'normal_step'"),
        (lambda s: s["param_groups"][0].update(matrix=(5, 5)), "the checkpoint does not fit parameter 0"),
        (lambda s: s["param_groups"][0]["params"].pop(), "has 1 parameters, that of the optimizer 2"),
        (lambda s: s["param_groups"].append({}), "has 2 parameter groups, the optimizer 1"),
        (lambda s: s["state"][0].update(momentum_buffer=torch.zeros(4, 6, dtype=torch.complex64)), "imaginary part"),
        (lambda s: s.pop("state"), "expected what an optimizer's state_dict"),
    ],
)
def test_what_a_checkpoint_may_not_be(change, message):
    optimizer = trained([parameter(orthonormal(4, 6)), parameter(orthonormal(6, 4))])
    before, state = str(optimizer.state_dict()), copy.deepcopy(optimizer.state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert str(optimizer.state_dict()) == before


METHODS = [POGO, Landing, LandingPC, SLPG, RiemannianSGD, RiemannianAdam, RSDM]


@pytest.mark.parametrize("other", METHODS)
@pytest.mark.parametrize("cls", METHODS)
def test_state_of_another_method_is_refused_and_nothing_is_loaded(cls, other):
    saved = copy.deepcopy(trained([parameter(orthonormal(4, 6))], other).state_dict())
    optimizer = cls([parameter(orthonormal(4, 6))], lr=0.2)
    before = str(optimizer.state_dict())
    if cls is other:
        optimizer.load_state_dict(saved)
        assert "saved_by" not in optimizer.param_groups[0]
        return
    with pytest.raises(
        ValueError, match=rf"group 0 .* saved by {other.__name__}, and this optimizer is {cls.__name__}:"
    ):
        optimizer.load_state_dict(saved)
    assert str(optimizer.state_dict()) == before


def test_a_subclass_loads_what_its_base_has_saved_and_not_the_other_way():
    class Mine(POGO):
        pass

    saved = trained([parameter(orthonormal(4, 6))]).state_dict()
    mine = trained([parameter(orthonormal(4, 6))], Mine, steps=1)
    mine.load_state_dict(saved)
    assert mine.state[mine.param_groups[0]["params"][0]]["step"] == 2
    with pytest.raises(ValueError, match="saved by Mine, and this optimizer is POGO"):
        trained([parameter(orthonormal(4, 6))]).load_state_dict(mine.state_dict())


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_state_of_torch_is_refused_by_orthogonal_groups_and_taken_by_others(cls):
    weight = parameter(orthonormal(4, 6))
    theirs = cls([weight], lr=0.25)
    weight.grad = torch.ones_like(weight)
    theirs.step()
    with torch.no_grad():
        weight.copy_(orthonormal(4, 6))
    with pytest.raises(ValueError, match=r"not of an optimizer of lcat\.optim.* groups with orthogonal=False"):
        POGO([weight]).load_state_dict(theirs.state_dict())
    if cls is torch.optim.AdamW:
        euclidean = Landing([{"params": [weight], "orthogonal": False}])
        euclidean.load_state_dict(theirs.state_dict())
        assert euclidean.param_groups[0]["lr"] == 0.25
        assert torch.equal(euclidean.state[weight]["exp_avg"], theirs.state[weight]["exp_avg"])


def test_euclidean_groups_of_two_methods_exchange_state():
    group = [{"params": [parameter(orthonormal(4, 6))], "orthogonal": False}]
    saved = trained(group, POGO).state_dict()
    Landing([{"params": [parameter(orthonormal(4, 6))], "orthogonal": False}]).load_state_dict(saved)


@pytest.mark.parametrize("nothing", [None, 3, [1]])
def test_what_is_no_checkpoint(nothing):
    with pytest.raises(ValueError, match="expected what an optimizer's state_dict"):
        trained([parameter(orthonormal(4, 6))]).load_state_dict(nothing)


def test_entries_of_schedulers_and_users_stay():
    optimizer = trained([parameter(orthonormal(4, 6))])
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    optimizer.param_groups[0]["name"] = "hidden"
    state = copy.deepcopy(optimizer.state_dict())
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["name"] == "hidden"
    theirs = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr", "name", "amsgrad", "fused")
    assert not misspelt_options(theirs, COMMON)
    assert set(misspelt_options(("momentun", "weight_decy", "orthogonl"), COMMON)) == {
        "momentun", "weight_decy", "orthogonl",
    }  # fmt: skip


def net():
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Linear(8, 8) for _ in range(4)])


def advance(model, optimizer, seeds):
    for seed in seeds:
        optimizer.zero_grad()
        model(random(4, 8, dtype=torch.float32, seed=seed)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("order", ["weights first", "weights last"])
@pytest.mark.parametrize("lr", [0.1, 30.0])
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (POGO, {"momentum": 0.9}),
        (POGO, {"base": "vadam"}),
        (POGO, {"iteration": "published", "max_step": 1.0, "momentum": 0.9}),
        (SLPG, {"momentum": 0.9}),
        (Landing, {"momentum": 0.9}),
        (LandingPC, {}),
        (RiemannianSGD, {"momentum": 0.9}),
    ],
)
def test_resumes_bit_for_bit_in_any_order(cls, options, lr, order):
    """Also where the weights are loaded before ``orthogonal_groups``, which leaves what a run may have left."""
    model = net()
    optimizer = cls(orthogonal_groups(model), lr=lr, **options)
    advance(model, optimizer, range(5))
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    again = net()
    if order == "weights first":
        again.load_state_dict(saved[0])
    resumed = cls(orthogonal_groups(again), lr=lr, **options)
    resumed.load_state_dict(saved[1])
    if order == "weights last":
        again.load_state_dict(saved[0])
    for one, other in ((model, optimizer), (again, resumed)):
        advance(one, other, range(5, 9))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


def test_groups_are_projected_by_methods_that_do_not_take_their_weights():
    """Weights that only Landing leaves: it takes them as they are, and POGO gets the nearest orthonormal ones."""
    for cls, is_kept in ((Landing, True), (POGO, False)):
        model = net()
        orthogonal_groups(model)
        with torch.no_grad():
            for layer in model:
                layer.weight.add_(0.02 * random(8, 8, dtype=torch.float32))
        before = model[1].weight.detach().clone()
        assert 0.05 < orthogonality_error(before) < 0.5
        groups = orthogonal_groups(model)
        assert torch.equal(model[1].weight, before)
        optimizer = cls(groups, lr=0.1)
        assert torch.equal(model[1].weight, before) == is_kept
        if not is_kept:
            assert optimizer.orthogonality_error() < 1e-5
        assert "orthogonalize" not in optimizer.param_groups[0]
        assert groups[0]["orthogonalize"] == "nearest"


def test_amsgrad_is_no_adamw_of_ours():
    weight = nn.Parameter(torch.randn(3))
    theirs = torch.optim.AdamW([weight], lr=0.01, amsgrad=True)
    weight.grad = torch.ones(3)
    theirs.step()
    ours = POGO([{"params": [weight], "orthogonal": False}], lr=0.1)
    saved = theirs.state_dict()
    with pytest.raises(ValueError, match=r"trained with amsgrad=True, .*: go on without it by amsgrad=False"):
        ours.load_state_dict(saved)
    saved["param_groups"][0]["amsgrad"] = False
    ours.load_state_dict(saved)
    ours.step()
