"""Under ``torch.inference_mode``: steps there and outside mix, and no state stays unwritable."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch

from lcat.optim import POGO, RSDM, SLPG, Landing, LandingPC, RiemannianAdam, RiemannianSGD
from tests.optim.optim_support import orthonormal, parameter, random

METHODS = [POGO, Landing, LandingPC, SLPG, RiemannianSGD, RiemannianAdam, RSDM]


def steps(optimizer, weight, where, start=0):
    for k, inside in enumerate(where, start):
        with torch.inference_mode() if inside else nullcontext():
            weight.grad = random(*weight.shape, dtype=weight.dtype, seed=k)
            optimizer.step()


def made(cls, orthogonal=True):
    weight = parameter(orthonormal(4, 6))
    options = {} if cls is RiemannianAdam else {"momentum": 0.5, "euclidean": "adamw"}
    return weight, cls([{"params": [weight], "orthogonal": orthogonal}], lr=0.1, **options)


@pytest.mark.parametrize("orthogonal", [True, False])
@pytest.mark.parametrize("cls", METHODS)
def test_steps_inside_and_outside_mix_and_make_the_same_numbers(cls, orthogonal):
    outside, reference = made(cls, orthogonal)
    steps(reference, outside, [False] * 4)
    for where in ([True, False, True, False], [False, True, True, False]):
        weight, optimizer = made(cls, orthogonal)
        steps(optimizer, weight, where)
        assert torch.equal(weight, outside)
        assert not any(value.is_inference() for value in optimizer.state[weight].values())


def test_a_closure_inside_has_gradients():
    weight, optimizer = made(POGO)

    def closure():
        optimizer.zero_grad()
        loss = (weight * torch.ones(4, 6)).sum()
        loss.backward()
        return loss

    with torch.inference_mode():
        before = optimizer.step(closure)
    assert optimizer.step(closure) < before


@pytest.mark.parametrize("inside", ["saving", "loading", "both"])
def test_a_state_that_was_read_or_loaded_inside_can_be_stepped_from(inside):
    reference, uninterrupted = made(POGO)
    steps(uninterrupted, reference, [False] * 4)
    weight, optimizer = made(POGO)
    steps(optimizer, weight, [False] * 2)
    with torch.inference_mode() if inside != "loading" else nullcontext():
        saved = copy.deepcopy(optimizer.state_dict())  # as torch.load makes it: tensors of inference mode
    again, resumed = made(POGO)
    with torch.inference_mode() if inside != "saving" else nullcontext():
        resumed.load_state_dict(saved)
    with torch.no_grad():
        again.copy_(weight)
    steps(resumed, again, [False] * 2, start=2)
    assert torch.equal(again, reference)


@pytest.mark.parametrize("orthogonal", [True, False])
@pytest.mark.parametrize("cls", [POGO, Landing])
def test_parameters_made_inside_are_refused_at_construction(cls, orthogonal):
    with torch.inference_mode():
        weight = torch.nn.Parameter(torch.eye(3, 5))
    with pytest.raises(ValueError, match=r"parameter 'w' was made under torch\.inference_mode\(\).*outside of it"):
        cls([{"params": [("w", weight)], "orthogonal": orthogonal}])
