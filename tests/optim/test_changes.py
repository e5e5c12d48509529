"""Options and parameters that somebody changes between two steps: checked as at construction, before anything moves."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lcat.optim import POGO, RSDM, SLPG, Landing, LandingPC, RiemannianAdam, RiemannianSGD

METHODS = [POGO, Landing, LandingPC, RiemannianSGD, RiemannianAdam, RSDM, SLPG]


def made(cls, steps, **euclidean):
    weights = [nn.Parameter(torch.eye(4, 6)), nn.Parameter(torch.eye(4, 6))]
    others = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2))]
    optimizer = cls([{"params": weights}, {"params": others, "orthogonal": False, **euclidean}], lr=0.1)
    params = weights + others
    for _ in range(steps):
        step(optimizer, params)
    return optimizer, params


def step(optimizer, params):
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()


def refused(optimizer, params, pattern):
    """The step is refused twice, and no parameter and no state has moved."""
    before, state = copy.deepcopy(params), copy.deepcopy(optimizer.state_dict()["state"])
    for _ in range(2):
        with pytest.raises(ValueError, match=pattern):
            step(optimizer, params)
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))
    for key, entries in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, state[key][name]) for name, value in entries.items())


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize(
    ("name", "value", "pattern"),
    [
        ("base", "adma", r"base must be one of .*got 'adma'"),
        ("lr", "x", r"lr must be a number at least 0, got 'x'"),
        ("lr", -1.0, r"lr must be a number at least 0, got -1.0"),
        ("lr", float("nan"), r"lr must be a number.*got nan"),
        ("lr", torch.ones(2), r"a tensor lr must hold one number"),
        ("betas", 3, r"betas must be two numbers"),
        ("eps", None, r"eps must be a number.*got None"),
        ("matrix", 3, r"matrix must be None, 'conv' or a tuple"),
        ("matrix", (5, 5), r"does not fit a tensor of shape \(4, 6\)"),
        ("orientation", ["rows"], r"orientation must be one of"),
        ("maximize", "no", r"maximize must be one of True, False"),
    ],
)
def test_options_set_later_are_checked_before_the_step(cls, steps, name, value, pattern):
    optimizer, params = made(cls, steps)
    right = optimizer.param_groups[0][name]
    optimizer.param_groups[0][name] = value
    refused(optimizer, params, pattern)
    optimizer.param_groups[0][name] = right
    step(optimizer, params)


@pytest.mark.parametrize("name", ["lr", "betas", "eps", "weight_decay", "maximize", "euclidean"])
def test_options_of_a_euclidean_group_are_checked_too(name):
    optimizer, params = made(POGO, 1)
    optimizer.param_groups[1][name] = "x"
    refused(optimizer, params, rf"param_groups\[1\] cannot be used in a step: {name} must be")


def test_an_option_that_is_missing():
    optimizer, params = made(POGO, 1)
    del optimizer.param_groups[0]["lr"]
    refused(optimizer, params, r"param_groups\[0\] .*the option 'lr' is missing")


def test_a_group_that_becomes_orthogonal_later():
    optimizer, params = made(POGO, 1)
    optimizer.param_groups[1]["orthogonal"] = True
    refused(optimizer, params, r"param_groups\[1\] .*of shape \(3,\) is no matrix")


def test_right_changes_take_effect():
    """NumPy's numbers, as schedules of users write them, among them."""
    optimizer, params = made(POGO, 1)
    twin, twins = copy.deepcopy((optimizer, params))
    optimizer.param_groups[0]["lr"] = np.float32(0.25)
    twin.param_groups[0]["lr"] = 0.25
    step(optimizer, params)
    step(twin, twins)
    assert all(torch.equal(a, b) for a, b in zip(params, twins, strict=True))
    assert type(optimizer.param_groups[0]["lr"]) is float
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    step(optimizer, params)
    schedule.step()
    step(optimizer, params)
    assert optimizer.param_groups[0]["lr"] == 0.125


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize(
    ("index", "data", "pattern"),
    [
        (1, torch.ones(5), r"parameter 1 of its group.*is no matrix"),
        (1, torch.ones(5, 6), r"parameter 1 of its group.*not orthonormal"),
        (2, torch.ones(4), r"parameter 0 of its group.*has shape \(3,\) in optimizer.state, expected \(4,\)"),
        (3, torch.ones(4), r"parameter 1 of its group.*has shape \(2, 2\) in optimizer.state"),
    ],
)
def test_data_of_another_shape_that_cannot_be_used(cls, index, data, pattern):
    for euclidean in ({}, {"euclidean": "sgd", "momentum": 0.9}):
        optimizer, params = made(cls, 1, **euclidean)
        params[index].data = data
        refused(optimizer, params, pattern)


@pytest.mark.parametrize("cls", [RiemannianAdam, POGO])
def test_a_state_of_another_shape_can_be_forgotten(cls):
    optimizer, params = made(cls, 1)
    params[1].data = torch.eye(5, 6)
    if cls is RiemannianAdam:
        refused(optimizer, params, r"'exp_avg' of parameter 1 .* has shape \(4, 6\) in optimizer.state.*state.pop")
        optimizer.state.pop(params[1])
    step(optimizer, params)
    assert optimizer.orthogonality_error() < 1e-3


@pytest.mark.parametrize("euclidean", [{}, {"euclidean": "sgd", "momentum": 0.9}])
@pytest.mark.parametrize("cls", METHODS)
def test_a_model_that_is_converted_between_two_steps_goes_on(cls, euclidean):
    """The state follows, as it does when the optimizer is loaded into a model of that dtype."""
    optimizer, params = made(cls, 1, **euclidean)
    twin, twins = copy.deepcopy((optimizer, params))
    for param in params:
        param.data = param.data.double()
    for _ in range(2):
        step(optimizer, params)
        step(twin, twins)
    for param, other in zip(params, twins, strict=True):
        assert param.dtype == torch.float64
        torch.testing.assert_close(param.float(), other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("option", "value"), [("matrix", (2, 2, 4)), ("orthogonal", False)])
def test_a_state_that_another_reading_does_not_fit(option, value):
    first, second = nn.Parameter(torch.eye(3)), nn.Parameter(torch.eye(4))
    optimizer = POGO([{"params": [first]}, {"params": [second]}], lr=0.1, base="vadam")
    first.grad, second.grad = torch.randn(3, 3), torch.randn(4, 4)
    optimizer.step()
    with torch.no_grad():
        second.copy_(torch.eye(4))  # orthonormal in both readings
    optimizer.param_groups[1][option] = value
    before = first.clone()
    with pytest.raises(ValueError, match=r"reading of parameter 0 .*'exp_avg_sq' .* shape \(\) .*optimizer.state.pop"):
        optimizer.step()
    assert torch.equal(first, before)
    optimizer.state.pop(second)
    optimizer.step()
    assert not torch.equal(first, before)
