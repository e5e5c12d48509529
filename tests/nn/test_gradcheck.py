"""First and second derivatives of every layer against finite differences, the two scalars included."""

from __future__ import annotations

import pytest
import torch

import lcat.nn
from tests.support.graphs import random_edges
from tests.support.layers import ATTENTION, LAYERS


def _layers():
    for name in LAYERS:
        variants = [{}] if name not in ATTENTION else [{"heads": 2}, {"concat": False, "heads": 2, "edge_dim": 2}]
        variants += [{"bias": False}]
        if "LCAT" in name:
            variants += [{"parametrization": "sigmoid", "share_values": False}, {"lambda1": 0.3}]
        for options in variants:
            for kind in ("plain", "loops", "duplicates", "isolated", "no_edges"):
                yield pytest.param(name, options, kind, id=f"{name}-{kind}-{options}")


@pytest.mark.parametrize(("name", "options", "kind"), list(_layers()))
def test_gradcheck_and_gradgradcheck(name, options, kind):
    torch.manual_seed(0)
    layer = getattr(lcat.nn, name)(3, 2, **options).double()
    edges = random_edges(kind, 4, 4, 6, torch.Generator().manual_seed(3))
    inputs = [torch.randn(4, 3, dtype=torch.double, requires_grad=True)]
    # gradcheck cannot take empty inputs, so without edges they are no inputs.
    differentiable = edges.shape[1] > 0
    edge_inputs = {"edge_weight": torch.rand(edges.shape[1], dtype=torch.double)}
    if "edge_dim" in options:
        edge_inputs["edge_attr"] = torch.randn(edges.shape[1], 2, dtype=torch.double)
    if differentiable:
        inputs += [tensor.requires_grad_() for tensor in edge_inputs.values()]
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x, *rest):
        count = len(edge_inputs) if differentiable else 0
        kwargs = dict(zip(edge_inputs, rest[:count], strict=True)) if differentiable else edge_inputs
        state = dict(zip(names, rest[count:], strict=True))
        return torch.func.functional_call(layer, state, (x, edges), kwargs)

    arguments = (*inputs, *parameters)
    assert torch.autograd.gradcheck(run, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, arguments, fast_mode=True)
