"""Options: one place of defaults for all seven constructors, one list of choices for each string option."""

from __future__ import annotations

import inspect
from typing import get_args, get_type_hints

import pytest
import torch

from lcat import optim
from lcat.optim.base import BASES
from lcat.optim.normal import NORMAL_STEPS
from lcat.optim.options import COMMON, DEFAULTS, Base, Defaults, NormalStep, Retraction
from lcat.optim.retractions import RETRACTIONS
from tests.optim.optim_support import orthonormal, parameter

OPTIMIZERS = [
    optim.POGO,
    optim.RSDM,
    optim.SLPG,
    optim.Landing,
    optim.LandingPC,
    optim.RiemannianAdam,
    optim.RiemannianSGD,
]
# The defaults that differ from the common ones on purpose.
DIFFERENT = {(optim.LandingPC, "base"): "vadam"}
# What a method fixes or does not have, so that its constructor does not take it.
NOT_TAKEN = {
    optim.RSDM: {"tangent"},
    optim.RiemannianSGD: {"base", "tangent", "ns_steps"},
    optim.RiemannianAdam: {"base", "tangent", "ns_steps", "momentum", "dampening", "nesterov"},
}


def options_of(cls):
    """The parameters of a constructor besides ``params``."""
    parameters = inspect.signature(cls).parameters
    return {name: p for name, p in parameters.items() if name != "params"}


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_defaults_are_those_of_the_one_place(cls):
    shared = {name: p.default for name, p in options_of(cls).items() if hasattr(DEFAULTS, name)}
    assert shared == {name: DIFFERENT.get((cls, name), getattr(DEFAULTS, name)) for name in shared}


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_every_constructor_takes_every_common_option(cls):
    # "orthogonal" distinguishes groups, it is no option of an optimizer.
    assert set(COMMON) - set(options_of(cls)) == {"orthogonal"} | NOT_TAKEN.get(cls, set())


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_types_are_those_of_the_one_place(cls):
    expected, hints = get_type_hints(Defaults), get_type_hints(cls.__init__)
    shared = [name for name in options_of(cls) if name in expected]
    assert {name: hints[name] for name in shared} == {name: expected[name] for name in shared}


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_only_params_and_lr_are_positional(cls):
    kinds = {name: p.kind for name, p in options_of(cls).items()}
    assert kinds.pop("lr") is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_what_the_constructor_is_given_is_in_the_group(cls):
    passed = {"lr": 0.125, "check": "off", "euclidean": "sgd", "weight_decay": 0.0, "foreach": False, "maximize": True}
    passed |= {"orientation": "rows", "matrix": (3, 5), "euclidean_lr": 0.25, "betas": (0.5, 0.75), "eps": 0.5}
    own = {"normal_step": "best", "gram_mode": "identity", "safe": 0.25, "rank": 2, "retraction": "polar", "inner": 3}
    own |= {"sampling": "orthogonal", "regularizer": "l1", "gamma": 0.1, "stabilize": 7, "max_step": 0.5}
    passed |= {name: value for name, value in own.items() if name in options_of(cls)}
    group = cls([parameter(orthonormal(3, 5))], **passed).param_groups[0]
    assert {name: group[name] for name in passed} == passed
    extra = set(group) - set(options_of(cls)) - set(COMMON) - {"params", "updates"}
    assert not extra


def test_tables_have_an_entry_for_every_choice():
    assert tuple(BASES) == get_args(Base)
    assert tuple(NORMAL_STEPS) == get_args(NormalStep)
    assert tuple(RETRACTIONS) == get_args(Retraction)


def test_state_comes_from_update():
    """A method hands over state with the weights it belongs to; it is stored per parameter."""

    class Counting(optim.OrthogonalOptimizer):
        def __init__(self, params, lr=1e-2):
            super().__init__(params, {"lr": lr})

        def update(self, X, D, scale, group, bucket):
            return optim.Update(X, {"size": torch.linalg.matrix_norm(D)})

    small, batch = parameter(orthonormal(3, 5)), parameter(orthonormal(2, 4, 6))
    optimizer = Counting([small, batch])
    small.grad, batch.grad = 2 * small.detach(), 3 * batch.detach()
    optimizer.step()
    torch.testing.assert_close(optimizer.state[small]["size"], torch.tensor(2 * 3**0.5).double())
    torch.testing.assert_close(optimizer.state[batch]["size"], torch.full((2,), 3 * 4**0.5).double())
