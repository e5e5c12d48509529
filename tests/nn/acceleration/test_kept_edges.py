"""What is kept for layers that make edges anew: freed with the caller's edges, counted, and never stale."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch_geometric.nn as pyg

import lcat
from lcat.graph import cache_info, forget, graph_view, own_edge_index
from tests.support.compare import assert_same

MAKERS = {
    "SGConv": lambda: pyg.SGConv(5, 4, K=2),
    "TAGConv": lambda: pyg.TAGConv(5, 4, K=2),
    "APPNP": lambda: pyg.APPNP(2, 0.1),
    "ChebConv": lambda: pyg.ChebConv(5, 4, K=3),
    "ClusterGCNConv": lambda: pyg.ClusterGCNConv(5, 4),
    "DirGNNConv": lambda: pyg.DirGNNConv(pyg.SAGEConv(5, 4)),
    "RGCNConv": lambda: pyg.RGCNConv(5, 4, 3),
}


@pytest.fixture(autouse=True)
def _empty_cache():
    forget()
    yield
    forget()


def _pair(name):
    torch.manual_seed(0)
    theirs = MAKERS[name]().double()
    torch.manual_seed(0)
    ours = MAKERS[name]().double()
    lcat.accelerate(ours)
    return ours, theirs


def _keywords(name, edges):
    return {"edge_type": torch.arange(edges.shape[1]) % 3} if name == "RGCNConv" else {}


@pytest.mark.parametrize("name", MAKERS)
def test_freed_with_the_edges(name):
    ours, _ = _pair(name)
    edges, x = torch.randint(9, (2, 30)), torch.randn(9, 5, dtype=torch.double)
    ours(x, edges, **_keywords(name, edges))
    graph = weakref.ref(graph_view(edges, 9, 9)[0])
    assert cache_info().tensors >= 1
    del edges
    gc.collect()
    assert graph() is None
    assert cache_info() == cache_info()._replace(tensors=0, bytes=0)


@pytest.mark.parametrize("name", MAKERS)
def test_counted(name):
    ours, _ = _pair(name)
    edges, x = torch.randint(9, (2, 30)), torch.randn(9, 5, dtype=torch.double)
    graph_view(edges, 9, 9)
    before = cache_info().bytes
    ours(x, edges, **_keywords(name, edges))
    once = cache_info().bytes
    assert once > before
    for _ in range(3):
        ours(x, edges, **_keywords(name, edges))
    assert cache_info().bytes == once


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("way", ["torch", "numpy", "data"])
def test_changed_edges_are_seen(name, way):
    ours, theirs = _pair(name)
    edges, x = torch.randint(9, (2, 30)), torch.randn(9, 5, dtype=torch.double)
    other = torch.randint(9, (2, 30))
    keywords = _keywords(name, edges)
    ours(x, edges, **keywords)
    if way == "torch":
        edges.copy_(other)
    elif way == "numpy":
        edges.numpy()[:] = other.numpy()
    else:
        edges.data = other.clone()
    assert_same(ours(x, edges, **keywords), theirs(x, other, **keywords), "output")


def test_changed_types_of_edges_are_seen():
    ours, theirs = _pair("RGCNConv")
    edges, x = torch.randint(9, (2, 30)), torch.randn(9, 5, dtype=torch.double)
    types = torch.arange(30) % 3
    for step in range(12):  # more than are kept
        types.numpy()[step] = (types[step] + 1) % 3
        assert_same(ours(x, edges, types), theirs(x, edges, types), "output")


def test_weights_change_in_every_call():
    ours, theirs = _pair("SGConv")
    edges, x = torch.randint(9, (2, 30)), torch.randn(9, 5, dtype=torch.double)
    edges = edges[:, edges[0] != edges[1]]
    weight = torch.rand(edges.shape[1], dtype=torch.double, requires_grad=True)
    for _ in range(3):
        out, expected = ours(x, edges, weight), theirs(x, edges, weight)
        assert_same(out, expected, "output")
        (ours_grad,), (theirs_grad,) = (torch.autograd.grad(one.square().sum(), weight) for one in (out, expected))
        assert_same(ours_grad, theirs_grad, "gradient of the weights")
        with torch.no_grad():
            weight.mul_(1.5)


def test_layers_of_one_model_share_what_is_kept():
    edges, x = torch.randint(9, (2, 30)), torch.randn(9, 5)
    layers = torch.nn.ModuleList([pyg.SGConv(5, 5), pyg.APPNP(2, 0.1), pyg.GCN2Conv(5, 0.1), pyg.GCNConv(5, 5)])
    lcat.accelerate(layers)
    layers[0](x, edges)
    once = cache_info()
    layers[1](x, edges)
    layers[2](x, x, edges)
    assert cache_info() == once


@pytest.mark.parametrize("name", MAKERS)
def test_modes(name):
    """Inside inference_mode first, then with gradients."""
    ours, theirs = _pair(name)
    edges, x = torch.randint(9, (2, 30)), torch.randn(9, 5, dtype=torch.double)
    keywords = _keywords(name, edges)
    with torch.inference_mode():
        ours(x, edges, **keywords)
    x.requires_grad_()
    out = ours(x, edges, **keywords)
    out.sum().backward()
    assert_same(out, theirs(x, edges, **keywords), "output")


def test_own_edge_index():
    edges = torch.randint(9, (2, 30))
    graph, _ = graph_view(edges, 9, 9)
    looped = graph.with_self_loops(9)
    for flow in ("source_to_target", "target_to_source"):
        own = own_edge_index(looped, flow)
        assert graph_view(own, 9, 9, flow=flow)[0] is looped
        assert graph_view(own, 10, 10, flow=flow)[0] is not looped
        own[0, 0] = 8 if own[0, 0] < 8 else 7
        changed = graph_view(own, 9, 9, flow=flow)[0]
        assert changed is not looped
        assert torch.equal(changed.source if flow == "source_to_target" else changed.target, own[0])
    own = own_edge_index(looped, "source_to_target")
    forget()
    assert graph_view(own, 9, 9)[0] is not looped
