"""The registry builds torch's optimizers, and decays matrices and vectors but not lone numbers."""

from __future__ import annotations

import pytest
import torch

from lcat.nn import LCATConv
from lcat.train import build_optimizer, optimizer_names, optimizers, register_optimizer
from lcat.train.optimizers import parameter_groups


def test_builtin_names_and_classes():
    model = torch.nn.Linear(2, 2)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    assert set(kinds) <= set(optimizer_names())
    for name, kind in kinds.items():
        assert type(build_optimizer(name, model, lr=0.1)) is kind
    assert build_optimizer("sgd", model, lr=0.1).defaults["momentum"] == 0.9
    assert build_optimizer("sgd", model, lr=0.1, momentum=0.5).defaults["momentum"] == 0.5


def test_lambdas_take_no_weight_decay():
    layer = LCATConv(4, 2, heads=2)
    groups = parameter_groups(layer, 0.1)
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in layer.named_parameters():
        assert decay[id(parameter)] == (0.0 if name.startswith("raw_lambda") else 0.1), name
    assert len(decay) == len(list(layer.parameters()))


def test_weight_decay_alone_leaves_lambda_where_it_is():
    layer = LCATConv(4, 2, heads=2)
    optimizer = build_optimizer("sgd", layer, lr=0.1, weight_decay=0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = float(layer.lin.weight.norm().detach())
    for _ in range(5):
        optimizer.step()
    assert float(layer.lambda1.detach()) == pytest.approx(0.5)
    assert float(layer.lin.weight.norm().detach()) < 0.8 * before


def test_frozen_parameters_are_left_out():
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert [list(map(id, group["params"])) for group in parameter_groups(model, 0.1)] == [[id(model.weight)]]


def test_own_optimizers(monkeypatch):
    monkeypatch.setattr(optimizers, "_BUILDERS", dict(optimizers._BUILDERS))
    register_optimizer("mine", lambda model, lr, weight_decay: torch.optim.Rprop(model.parameters(), lr=lr))
    assert type(build_optimizer("mine", torch.nn.Linear(1, 1), lr=0.1)) is torch.optim.Rprop
    with pytest.raises(ValueError, match="'mine' exists already"):
        register_optimizer("mine", lambda model, lr, weight_decay: None)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"name": "adamm"}, "adam, adamw, .*sgd.*got 'adamm'"),
        ({"lr": 0.0}, "lr must be positive; got 0.0"),
        ({"lr": float("nan")}, "lr must be positive; got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more; got -1.0"),
    ],
)
def test_refusals(arguments, match):
    with pytest.raises(ValueError, match=match):
        build_optimizer(**{"name": "adam", "model": torch.nn.Linear(1, 1), "lr": 0.1, **arguments})


def test_scalar_lr_slows_single_numbers_only():
    from lcat.nn import LCATConv
    from lcat.train.optimizers import scale_scalar_lr

    optimizer = build_optimizer("adam", LCATConv(4, 2), lr=0.01, weight_decay=0.1)
    scale_scalar_lr(optimizer, 0.1)
    rates = {p.numel() <= 1: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates == {False: 0.01, True: pytest.approx(0.001)}
