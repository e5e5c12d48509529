"""Weights that something else has written between two steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import lcat.optim
from lcat.optim import POGO, RSDM, SLPG, Landing, LandingPC, RiemannianAdam, RiemannianSGD, orthogonality_error

METHODS = [POGO, Landing, LandingPC, RiemannianSGD, RiemannianAdam, RSDM, SLPG]


def made(cls, steps):
    weights = [nn.Parameter(torch.eye(4, 6)) for _ in range(3)]
    optimizer = cls(weights, lr=0.1, **({"rank": 2} if cls is RSDM else {}))
    for weight in weights:
        weight.grad = torch.ones(4, 6)
    for _ in range(steps):
        optimizer.step()
    return optimizer, weights


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("cls", METHODS)
def test_weights_initialized_anew_are_refused_and_nothing_moves(cls, steps):
    optimizer, weights = made(cls, steps)
    nn.init.xavier_normal_(weights[1], gain=3)
    before = copy.deepcopy(weights)
    for _ in range(2):  # a refused step does not make the weights known
        with pytest.raises(ValueError, match=r"written after .*project_\(\).*parameter 1 of its group"):
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    optimizer.project_()
    optimizer.step()
    assert orthogonality_error(weights) < 0.6


def test_a_loaded_plain_layer_is_refused():
    torch.manual_seed(0)
    layer = nn.Linear(6, 6, bias=False)
    nn.init.orthogonal_(layer.weight)
    optimizer = POGO(layer.parameters(), lr=0.1)
    layer.load_state_dict(nn.Linear(6, 6, bias=False).state_dict())
    layer.weight.grad = torch.ones(6, 6)
    with pytest.raises(ValueError, match="not orthonormal"):
        optimizer.step()


@pytest.mark.parametrize("cls", METHODS)
def test_orthonormal_weights_may_be_written(cls):
    optimizer, weights = made(cls, 2)
    saved = copy.deepcopy(weights)
    with torch.no_grad():
        optimizer.step()
        for weight, old in zip(weights, saved, strict=True):
            weight.copy_(old)
    optimizer.step()


def test_a_copied_optimizer_and_unchecked_weights():
    optimizer, weights = made(POGO, 2)
    copied = copy.deepcopy(optimizer)
    copied.param_groups[0]["params"][0].grad = torch.ones(4, 6)
    copied.step()
    optimizer.param_groups[0]["check"] = "off"
    nn.init.xavier_normal_(weights[0], gain=3)
    optimizer.step()


def test_project_repairs_data_of_another_tensor_which_torch_does_not_count():
    """What docs/optimizers.md says of ``p.data = ...``."""
    torch.manual_seed(0)
    errors = {}
    for repairs in (False, True):
        weight = torch.nn.Parameter(torch.linalg.qr(torch.randn(6, 3))[0])
        optimizer = lcat.optim.POGO([weight], lr=0.1)
        weight.data = torch.randn(6, 3)
        if repairs:
            optimizer.project_()
        for _ in range(2):
            weight.grad = torch.randn(6, 3)
            optimizer.step()
        errors[repairs] = float(lcat.optim.orthogonality_error(weight))
    assert errors[True] < 1e-3
    assert errors[False] > 1
