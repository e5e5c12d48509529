"""What users mistype is named, with the way out; an optimizer prints as one line per group."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lcat.nn
from lcat.optim import POGO, RSDM, Landing, OrthogonalOptimizer, RiemannianAdam, orthogonal_groups
from tests.optim.optim_support import orthonormal, parameter


def weights():
    return [parameter(orthonormal(3, 5))]


@pytest.mark.parametrize(
    ("cls", "wrong", "meant"),
    [
        (POGO, "normal", "'normal_step'"),
        (POGO, "learning_rate", None),
        (Landing, "momentun", "'momentum'"),
        (RSDM, "rnak", "'rank'"),
        (RiemannianAdam, "beta", "'betas'"),
    ],
)
def test_an_option_that_does_not_exist(cls, wrong, meant):
    pattern = rf"{cls.__name__} has no option '{wrong}'" + (
        rf" \(did you mean {meant}" if meant else "; its options are params, lr,"
    )
    with pytest.raises(TypeError, match=pattern):
        cls(weights(), **{wrong: 0.5})


def test_an_option_of_a_group_that_does_not_exist():
    for wrong, meant in (("normal", "normal_step"), ("momentun", "momentum"), ("param", "params")):
        with pytest.raises(ValueError, match=rf"an entry '{wrong}', which is no option of POGO.*'{meant}'"):
            POGO([{"params": weights(), wrong: "best"}])
    POGO([{"params": weights(), "name": "encoder"}])


def test_subclasses_take_the_options_that_they_declare():
    class Open(OrthogonalOptimizer):
        def __init__(self, params, lr=1e-2, **options):
            super().__init__(params, {"lr": lr, **options})

    assert Open(weights(), color=3).param_groups[0]["color"] == 3


def test_a_model_is_no_list_of_parameters():
    with pytest.raises(
        TypeError, match=r"params must be parameters or groups.*got a Linear.*orthogonal_groups\(model\)"
    ):
        POGO(nn.Linear(3, 3))
    for wrong in (nn.Linear(3, 3).parameters(), [1], None):
        with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got a .*Pass the model itself"):
            orthogonal_groups(wrong)


def test_all_parameters_of_a_model():
    for layer in (nn.Linear(4, 3), lcat.nn.GATConv(8, 4)):
        for parameters in (layer.parameters(), layer.named_parameters()):
            with pytest.raises(ValueError, match=r"read as a matrix \d+ x \d+.*orthogonal_groups\(model\) instead"):
                POGO(parameters, lr=0.1)
    with pytest.raises(ValueError, match="read as 2 matrices 3 x 3 "):
        POGO([parameter(2 * torch.eye(3).expand(2, 3, 3))], lr=0.1)


def test_groups_with_and_without_names():
    named = POGO([("a", parameter(orthonormal(3, 5)))])
    with pytest.raises(ValueError, match=r"have names, and this group has none.*pass pairs \[\(name, parameter\)"):
        named.add_param_group({"params": weights()})
    unnamed = POGO(weights())
    with pytest.raises(ValueError, match=r"have no names, and this group has.*leave the names out"):
        unnamed.add_param_group({"params": [("a", parameter(orthonormal(3, 5)))]})
    assert len(named.param_groups) == len(unnamed.param_groups) == 1
    named.add_param_group({"params": [("b", parameter(orthonormal(3, 5)))]})
    unnamed.add_param_group({"params": weights()})


def test_prints_one_line_per_group():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(4)])
    optimizer = POGO(orthogonal_groups(model, lr=1e-3, weight_decay=0.1), lr=0.1, base="vadam")
    assert repr(optimizer).splitlines() == [
        "POGO (",
        "    group 0: 2 orthogonal parameters, lr=0.1, base='vadam'",
        "    group 1: 6 Euclidean (adamw) parameters, lr=0.001, weight_decay=0.1",
        ")",
    ]
    assert "lr=0.25" in repr(Landing(weights(), lr=torch.tensor(0.25)))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (lambda: {"params": weights()}, r"got dict: pass \[group\], a list of groups"),
        (lambda: nn.Linear(3, 3).state_dict(), r"got OrderedDict: pass model.parameters\(\), or orthogonal_groups"),
        (lambda: "weight", r"got str: pass model.parameters\(\)"),
        (lambda: 3, r"got int: pass model.parameters\(\)"),
        (lambda: None, r"got NoneType: pass model.parameters\(\)"),
    ],
)
@pytest.mark.parametrize("cls", [POGO, Landing])
def test_what_is_no_list_of_parameters(cls, params, match):
    with pytest.raises(TypeError, match=rf"params must be parameters or groups of them, {match}"):
        cls(params())
    for iterable in (weights(), tuple(weights()), iter(weights()), dict.fromkeys(weights()).keys()):
        assert len(cls(iterable).param_groups[0]["params"]) == 1


def test_a_group_without_parameters():
    with pytest.raises(TypeError, match=r"a group without 'params': write \{'params': "):
        POGO([{"lr": 0.1}])
