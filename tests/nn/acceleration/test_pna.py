"""PNAConv on aggregates of nodes: ties, zeros, nodes without neighbors, what runs PyG's steps, and precision."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.nn import aggr

import lcat
from lcat.nn.acceleration import _difference, _pna
from tests.support.compare import assert_same

AGGREGATORS = ["sum", "mean", "min", "max", "var", "std"]
SCALERS = ["identity", "amplification", "attenuation", "linear", "inverse_linear"]
DEGREES = torch.tensor([1, 4, 6, 3])


@pytest.fixture
def calls(monkeypatch):
    """How often something was aggregated without messages."""
    made: list[str] = []
    aggregate = _pna.aggregate

    def counting(*arguments, **options):
        made.append(options.get("reduce", "sum"))
        return aggregate(*arguments, **options)

    monkeypatch.setattr(_pna, "aggregate", counting)
    return made


def make(aggregators=AGGREGATORS, width=6, **options) -> pyg.PNAConv:
    torch.manual_seed(0)
    return pyg.PNAConv(width, 4, list(aggregators), SCALERS, DEGREES, **options).double()


def edges(count: int = 40, nodes: int = 9) -> Tensor:
    return torch.randint(nodes - 2, (2, count), generator=torch.Generator().manual_seed(0))  # two have no edge


def outcome(layer: nn.Module, x: Tensor, *arguments) -> list[Tensor]:
    x = x.clone().requires_grad_()
    out = layer(x, *arguments)
    grad = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out.detach(), *torch.autograd.grad(out, [x, *layer.parameters()], grad)]


def compare(layer: nn.Module, x: Tensor, *arguments) -> None:
    expected = outcome(layer, x, *arguments)
    assert len(lcat.accelerate(layer)) == 1
    for one, other in zip(outcome(layer, x, *arguments), expected, strict=True):
        assert_same(one, other, "output or gradient")


@pytest.mark.parametrize("kind", ["distinct", "a few values", "after a ReLU", "rows of zeros", "all equal"])
def test_ties_and_zeros(kind, calls):
    x = torch.randn(9, 6, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    if kind == "a few values":
        x = x[torch.tensor([0, 1, 0, 1, 0, 2, 2, 0, 1])]
    elif kind == "after a ReLU":
        x = x.relu()
    elif kind == "rows of zeros":
        x[::2] = 0
    elif kind == "all equal":
        x = x[:1].repeat(9, 1)
    compare(make(), x, edges())
    assert set(calls) == {"sum", "mean", "min", "max"}


def test_parallel_edges_and_loops(calls):
    doubled = edges().repeat(1, 2)
    compare(make(), torch.randn(9, 6, dtype=torch.double), torch.cat([doubled, doubled[:1].repeat(2, 1)], dim=1))
    assert calls


def test_no_edges_and_one_node():
    compare(make(), torch.randn(9, 6, dtype=torch.double), edges(0))
    compare(make(), torch.randn(1, 6, dtype=torch.double), torch.zeros(2, 3, dtype=torch.long))
    compare(make(), torch.randn(0, 6, dtype=torch.double), torch.zeros(2, 0, dtype=torch.long))


def test_only_what_the_aggregators_need(calls):
    compare(make(["max"]), torch.randn(9, 6, dtype=torch.double), edges())
    assert set(calls) == {"max"}


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: make(edge_dim=3), "edge_dim=3: its messages have features of edges"),
        (lambda: make(pre_layers=2), "pre_layers is more than 1"),
        (lambda: make(["mean", "median"]), "it has MedianAggregation; lcat is faster for sum, mean"),
        (lambda: make([aggr.StdAggregation(semi_grad=True)]), "its deviation has semi_grad=True"),
        (lambda: make([aggr.VarAggregation(semi_grad=True)]), "its deviation has semi_grad=True"),
    ],
)
def test_what_is_left_alone(layer, reason):
    (left,) = lcat.accelerate(layer()).left
    assert reason in left.reason


def test_replaced_and_hooked_maps_are_left_alone():
    layer = make()
    layer.pre_nns[0][0] = nn.Linear(12, 6).double()
    assert "a map of its messages is replaced" in lcat.accelerate(layer).left[0].reason
    layer = make()
    layer.aggr_module.aggr.aggrs[0].register_forward_hook(lambda *_: None)
    assert "aggregations is hooked" in lcat.accelerate(layer).left[0].reason


def test_what_comes_later_runs_pygs_steps(calls):
    """A hook on a map or on a message: messages are formed as long as it lasts."""
    layer, x, edge_index = make(), torch.randn(9, 6, dtype=torch.double), edges()
    expected = layer(x, edge_index)
    lcat.accelerate(layer)
    seen = []
    handle = layer.pre_nns[0][0].register_forward_hook(lambda module, inputs, out: seen.append(out.shape[0]))
    assert_same(layer(x, edge_index), expected, "output")
    assert (seen, calls) == ([40], [])
    handle.remove()
    handle = layer.register_message_forward_hook(lambda module, inputs, out: 2 * out)
    assert not torch.allclose(layer(x, edge_index), expected)
    assert calls == []
    handle.remove()
    assert_same(layer(x, edge_index), expected, "output")
    assert calls != []


def test_a_subclass_with_other_messages_is_left_alone():
    class Other(pyg.PNAConv):
        def message(self, x_i, x_j, edge_attr):
            return x_j

    assert "overrides 'message'" in lcat.accelerate(Other(4, 4, ["mean"], ["identity"], DEGREES)).left[0].reason


def test_float32_is_as_near_to_exact_as_pyg():
    torch.manual_seed(0)
    layer = pyg.PNAConv(16, 8, AGGREGATORS, SCALERS, DEGREES, towers=2)
    x, edge_index = torch.randn(200, 16) + 1, torch.randint(200, (2, 1500))
    exact = outcome(copy.deepcopy(layer).double(), x.double(), edge_index)
    theirs = outcome(layer, x, edge_index)
    lcat.accelerate(layer)
    for ours, other, reference in zip(outcome(layer, x, edge_index), theirs, exact, strict=True):
        scale = reference.abs().max()
        assert (ours - reference).abs().max() <= 2 * (other - reference).abs().max() + 2e-6 * scale


def test_small_graphs_run_pygs_steps(monkeypatch, calls):
    monkeypatch.setattr(_pna, "_WORTHWHILE", 41 * 6)
    layer, x = make(), torch.randn(9, 6, dtype=torch.double)
    lcat.accelerate(layer)
    layer(x, edges())
    assert calls == []
    layer(x, edges(41))
    assert calls != []


@pytest.mark.parametrize("weighted", [False, True])
def test_small_graphs_of_differences_run_pygs_steps(monkeypatch, weighted):
    monkeypatch.setattr(_difference, "_WORTHWHILE_WEIGHTED" if weighted else "_WORTHWHILE", 41 * 8)
    made: list[bool] = []
    aggregate = _difference.aggregate
    monkeypatch.setattr(_difference, "aggregate", lambda *a, **o: made.append(True) or aggregate(*a, **o))
    layer, x = pyg.LEConv(6, 8).double(), torch.randn(9, 6, dtype=torch.double)
    weight = torch.rand(41, dtype=torch.double)
    expected = layer(x, edges(41), weight if weighted else None)
    lcat.accelerate(layer)
    layer(x, edges(), weight[:40] if weighted else None)
    assert made == []
    assert_same(layer(x, edges(41), weight if weighted else None), expected, "output")
    assert made


def test_differences_that_have_another_aggregation_are_left_alone():
    (left,) = lcat.accelerate(pyg.LEConv(4, 4, aggr="max")).left
    assert left.reason == "its aggregation is 'max'; lcat is faster for a sum or mean of these messages"


def test_layers_with_a_row_per_edge_are_left_alone():
    (left,) = lcat.accelerate(pyg.GINEConv(nn.Linear(4, 4))).left
    assert "relu(x_j + e_ij) is a row of its own for each edge" in left.reason


@pytest.mark.parametrize("layer", [make, lambda: pyg.LEConv(6, 4).double()])
def test_compiled_and_exported(layer):
    made, x, edge_index = layer(), torch.randn(9, 6, dtype=torch.double), edges()
    expected = made(x, edge_index)
    lcat.accelerate(made)
    torch._dynamo.reset()
    compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
    assert_same(compiled(x, edge_index), expected, "compiled")
    program = torch.export.export(made, (x, edge_index))
    assert_same(program.module()(x, edge_index), expected, "exported")
