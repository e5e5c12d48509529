"""Scalars that may be 0 or 1 and have a gradient there, and scalars of single heads."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import lcat.nn
from lcat.nn import CATConv, LCATConv, models
from lcat.nn._lambda import value_of
from lcat.train.optimizers import build_optimizer, parameter_groups, scale_scalar_lr
from tests.support.compare import assert_same, assert_same_gradients, gradients

EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1, 2, 2], [1, 0, 3, 3, 2, 0, 1, 3, 4, 5]])
NAMES = ["LCATConv", "LCATv2Conv"]


@pytest.fixture
def x():
    return torch.randn(6, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("raw", "value", "slope"),
    [(0.0, 0.0, 1), (0.25, 0.25, 1), (1.0, 1.0, 1), (1.25, 0.75, -1), (-0.25, 0.25, -1), (2.0, 0.0, 1), (-1.5, 0.5, 1)],
)
def test_reflected_values_and_slopes(raw, value, slope):
    parameter = torch.tensor([raw], requires_grad=True)
    for name in ("lambda1", "lambda2"):
        out = value_of(parameter, name, "reflected")
        assert float(out) == pytest.approx(value)
        (grad,) = torch.autograd.grad(out.sum(), parameter)
        assert float(grad) == slope


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_reflected_layers_begin_where_they_are_told(name, start, x):
    options = {"lambda1_init": start, "lambda2_init": 1 - start, "parametrization": "reflected"}
    torch.manual_seed(0)
    layer = getattr(lcat.nn, name)(8, 4, heads=2, **options).double()
    torch.manual_seed(0)
    fixed = getattr(lcat.nn, name)(8, 4, heads=2, lambda1=start, lambda2=1 - start).double()
    assert_same(layer(x, EDGES), fixed(x, EDGES), "output", 1e-6)
    layer(x, EDGES).square().sum().backward()
    assert float(layer.raw_lambda1.grad.abs()) > 0
    if start > 0:
        assert float(layer.raw_lambda2.grad.abs()) > 0
    layer.lambda1 = 1.0
    layer.lambda1 = None
    assert float(layer.lambda1) == 1.0  # not moved inwards


@pytest.mark.parametrize("corner", [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)])
def test_a_descent_leaves_a_corner_and_reaches_what_is_inside(corner):
    raw = torch.tensor(corner, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        (value_of(raw, "lambda1", "reflected") - torch.tensor([0.4, 0.7])).square().sum().backward()
        optimizer.step()
    assert value_of(raw, "lambda1", "reflected").tolist() == pytest.approx([0.4, 0.7], abs=0.02)


def test_bad_starts():
    with pytest.raises(ValueError, match=r"'lambda1_init' is 1.5; with parametrization='reflected' it takes a float"):
        LCATConv(8, 4, parametrization="reflected", lambda1_init=1.5)
    with pytest.raises(ValueError, match="'published', 'sigmoid', 'reflected'"):
        LCATConv(8, 4, parametrization="clamped")
    with pytest.raises(ValueError, match="'lambdas_per_head' of LCATConv is 'yes'"):
        LCATConv(8, 4, lambdas_per_head="yes")


def per_head(name, parametrization="reflected", **options):
    torch.manual_seed(0)
    layer = getattr(lcat.nn, name)(
        8, 4, heads=3, lambdas_per_head=True, parametrization=parametrization, **options
    ).double()
    with torch.no_grad():
        layer.raw_lambda1.copy_(torch.tensor([0.2, 0.6, 0.9]))
        layer.raw_lambda2.copy_(torch.tensor([0.8, 0.3, 0.5]))
    return layer


def single_heads(layer):
    """A layer of one head for each head, with the same weights."""
    alone = []
    for head in range(3):
        one = copy.deepcopy(layer)
        for path, map_ in layer.named_children():
            if path in ("lin", "lin_l", "lin_r", "lin_src", "lin_dst", "lin_value", "lin_edge"):
                rows = slice(4 * head, 4 * head + 4)
                other = getattr(one, path)
                other.weight = torch.nn.Parameter(map_.weight[rows].detach())
                other.out_channels = 4
                if map_.bias is not None:
                    other.bias = torch.nn.Parameter(map_.bias[rows].detach())
        for vector in ("att", "att_src", "att_dst", "att_edge"):
            if getattr(layer, vector, None) is not None:
                setattr(one, vector, torch.nn.Parameter(getattr(layer, vector)[:, head : head + 1].detach()))
        one.heads = 1
        for scalar in ("raw_lambda1", "raw_lambda2"):
            setattr(one, scalar, torch.nn.Parameter(getattr(layer, scalar)[head : head + 1].detach()))
        one.bias = None
        alone.append(one)
    return alone


@pytest.mark.parametrize("case", ["plain", "edges", "values", "bipartite", "sets", "cached"])
@pytest.mark.parametrize("name", NAMES)
def test_heads_are_layers_of_their_own(name, case, x):
    options = {
        "edges": {"edge_dim": 2, "fill_value": 0.5},
        "values": {"share_values": False},
        "bipartite": {"add_self_loops": False},
        "cached": {"cache_neighbor_sum": True},
    }.get(case, {})
    layer = per_head(name, bias=name == "LCATv2Conv", **options)
    layer.bias = None
    kwargs = {"edge_attr": torch.randn(10, 2).double()} if case == "edges" else {}
    inputs = {"bipartite": (x, x[:4].clone()), "sets": torch.stack([x, 2 * x])}.get(case, x)
    edges = EDGES[:, EDGES[1] < 4] if case == "bipartite" else EDGES
    out = layer(inputs, edges, **kwargs)
    alone = single_heads(layer)
    expected = torch.cat([one(inputs, edges, **kwargs) for one in alone], dim=-1)
    assert_same(out, expected, "output")
    ours = gradients(out, {"raw_lambda1": layer.raw_lambda1, "raw_lambda2": layer.raw_lambda2})
    for scalar, grad in ours.items():
        theirs = gradients(expected.clone(), {f"{head}": getattr(one, scalar) for head, one in enumerate(alone)})
        assert_same(grad, torch.cat(list(theirs.values())), scalar)
        expected = torch.cat([one(inputs, edges, **kwargs) for one in alone], dim=-1)
    if case != "sets":
        hook = layer.register_message_forward_hook(lambda module, args, out: None)
        assert_same(layer(inputs, edges, **kwargs), expected, "output by messages")
        hook.remove()


@pytest.mark.parametrize("name", NAMES)
def test_one_value_for_all_heads_is_the_layer_of_the_paper(name, x):
    torch.manual_seed(0)
    plain = getattr(lcat.nn, name)(8, 4, heads=3).double()
    layer = getattr(lcat.nn, name)(8, 4, heads=3, lambdas_per_head=True).double()
    layer.load_state_dict(plain.state_dict())  # one scalar is given to all heads
    assert layer.raw_lambda1.shape == (3,)
    inputs = [{key: each for key, each in one.named_parameters() if "raw" not in key} for one in (layer, plain)]
    outs = [layer(x, EDGES), plain(x, EDGES)]
    assert_same(*outs, "output")
    assert_same_gradients(*[gradients(out, one) for out, one in zip(outs, inputs, strict=True)])
    assert str(layer).count("0.500") == 6
    old = {key: value.reshape(()) if "raw" in key else value for key, value in plain.state_dict().items()}
    layer.load_state_dict(old)


@pytest.mark.parametrize("name", NAMES)
def test_per_head_layers_as_other_layers(name, x):
    layer = per_head(name)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_same(other(x, EDGES), layer(x, EDGES), "output", 0.0)
    layer.lambda1 = 0.5
    assert float(layer.lambda1) == 0.5
    layer.lambda1 = None
    assert layer.lambda1.tolist() == [0.5, 0.5, 0.5]
    layer.reset_parameters()
    assert layer.raw_lambda1.shape == (3,)
    half = per_head(name).bfloat16()
    assert half(x.bfloat16(), EDGES).dtype == torch.bfloat16
    torch._dynamo.reset()  # the code of the layers is compiled in many tests of a process, and only so many times
    model = torch.compile(per_head(name), fullgraph=True, backend="aot_eager")
    assert_same(model(x, EDGES), per_head(name)(x, EDGES), "compiled")
    broken = per_head(name)
    broken.raw_lambda1 = torch.nn.Parameter(torch.zeros(2).double())
    with pytest.raises(ValueError, match=r"'raw_lambda1' of .* has shape \[2\] .*; it takes \[3\]"):
        broken(x, EDGES)


def test_no_decay_for_scalars_of_heads():
    model = models.LCAT(8, 6, 2, out_channels=3, heads=2, lambdas_per_head=True)
    groups = parameter_groups(model, 0.1)
    assert {id(each) for each in groups[1]["params"]} == {
        id(each) for name, each in model.named_parameters() if "raw" in name
    }
    assert all(each.shape == (2,) for each in groups[1]["params"])
    for kind in ("adam", "pogo"):
        optimizer = build_optimizer(kind, model, lr=0.01, weight_decay=0.1)
        scale_scalar_lr(optimizer, 5.0, model)
        (group,) = [
            one for one in optimizer.param_groups if any(each is model.convs[0].raw_lambda1 for each in one["params"])
        ]
        assert (group["lr"], group["weight_decay"]) == (pytest.approx(0.05), 0.0)
        assert sum(one["lr"] == group["lr"] for one in optimizer.param_groups) == 1
    cat = CATConv(8, 4, heads=2, lambdas_per_head=True)
    assert list(cat.state_dict()) == list(CATConv(8, 4, heads=2).state_dict())
