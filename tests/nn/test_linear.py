"""Linear maps that a user hooks or replaces: the layers then use no shortcut around them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from torch.nn.modules.module import register_module_forward_pre_hook
from torch_geometric.nn.dense.linear import Linear

import lcat.nn
from lcat.nn import _linear
from lcat.nn._linear import is_plain
from lcat.ops._aggregate import sparse_features
from tests.support.layers import LAYERS

EDGES = torch.tensor([[0, 1, 2, 3], [1, 1, 1, 0]])
# Widths on both sides of the choice between sum and map.
GCN_WIDTHS = [(4, 8), (4, 6), (6, 4)]


def make(name, *args, **kwargs):
    torch.manual_seed(0)
    return getattr(lcat.nn, name)(*args, **kwargs)


def features(width=4):
    torch.manual_seed(1)
    return torch.randn(4, width)


def rectified(module, inputs):
    return (inputs[0].relu(),)


def linears(layer):
    return [module for module in layer.modules() if isinstance(module, Linear)]


def both_ways(layer, x, requires_grad):
    """The layer's output as it computes it, and with every message formed."""
    by_messages = copy.deepcopy(layer)
    by_messages.register_message_forward_hook(lambda *_: None)
    x = x.clone().requires_grad_(requires_grad)
    return layer(x, EDGES), by_messages(x, EDGES)


def test_is_plain():
    plain = Linear(3, 4)
    assert is_plain(plain)
    assert not is_plain(torch.nn.Linear(3, 4))
    assert not is_plain(Linear(-1, 4))
    assert not is_plain(torch.nn.utils.parametrizations.weight_norm(Linear(3, 4)))
    for register in (
        plain.register_forward_hook,
        plain.register_forward_pre_hook,
        plain.register_full_backward_hook,
        plain.register_full_backward_pre_hook,
        lambda hook: register_module_forward_pre_hook(hook),
    ):
        handle = register(lambda *_: None)
        assert not is_plain(plain)
        handle.remove()
    assert is_plain(plain)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("GCNConv", {}),
        ("GATConv", {}),
        ("GATv2Conv", {}),
        ("LCATConv", {"cache_neighbor_sum": True}),
        ("LCATv2Conv", {}),
        ("LCATv2Conv", {"cache_neighbor_sum": True, "share_weights": True}),
    ],
)
def test_pre_hooks_see_and_change_what_the_maps_get(name, options):
    layer, x = make(name, 4, 8, **options), features()
    expected = layer(x.relu(), EDGES)
    for linear in linears(layer):
        linear.register_forward_pre_hook(rectified)
    torch.testing.assert_close(layer(x, EDGES), expected)


def test_a_map_of_edge_features_with_a_bias():
    layer, attr = make("GATv2Conv", 4, 8, edge_dim=3), torch.randn(4, 3)
    layer.lin_edge = Linear(3, 8, bias=True)
    torch.nn.init.normal_(layer.lin_edge.bias)
    x = features()
    expected, _ = layer(x, EDGES, attr, return_attention_weights=True)
    torch.testing.assert_close(layer(x, EDGES, attr), expected)


@pytest.mark.parametrize(("width", "out"), GCN_WIDTHS)
@pytest.mark.parametrize("kind", ["bias", "network"])
def test_gcn_with_another_map_in_the_place_of_lin(width, out, kind):
    layer, x = make("GCNConv", width, out), features(width)
    linear = torch.nn.Linear(width, out)
    layer.lin = linear if kind == "bias" else torch.nn.Sequential(linear, torch.nn.ReLU())
    theirs = pyg.GCNConv(width, out)
    theirs.lin = layer.lin
    for requires_grad in (False, True):
        ours, by_messages = both_ways(layer, x, requires_grad)
        torch.testing.assert_close(ours, by_messages)
        torch.testing.assert_close(ours, theirs(x, EDGES))
    with torch.no_grad():
        torch.testing.assert_close(layer(x, EDGES), ours)


def test_gat_with_a_network_in_the_place_of_lin():
    layer, x = make("GATConv", 4, 8), features()
    layer.lin = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    theirs = pyg.GATConv(4, 8)
    theirs.load_state_dict(layer.state_dict(), strict=False)
    theirs.lin = layer.lin
    torch.testing.assert_close(layer(x, EDGES), theirs(x, EDGES))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # said of the case without requires_grad
@pytest.mark.parametrize(("width", "out"), GCN_WIDTHS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_backward_hooks_on_lin_of_gcn(width, out, requires_grad):
    layer, seen = make("GCNConv", width, out), []
    layer.lin.register_full_backward_hook(lambda *_: seen.append(True))
    layer(features(width).requires_grad_(requires_grad), EDGES).sum().backward()
    assert seen == [True]


def test_narrow_features_are_never_sparse():
    """The layers do not ask for these: both places have the same width."""
    assert _linear._NARROW == sparse_features._MIN_WIDTH


@pytest.mark.parametrize("name", [*LAYERS, "GraphConv", "SAGEConv", "TransformerConv"])
def test_wide_features_are_exported_for_any_number_of_rows(name):
    """What is done with wide features depends on their number, which must not enter the program."""
    layer = make(name, 300, 4).eval()
    rows = torch.export.Dim("rows", min=5)
    program = torch.export.export(layer, (torch.randn(600, 300), EDGES), dynamic_shapes=({0: rows}, None))
    for count in (5, 600, 8000):
        x = torch.randn(count, 300)
        torch.testing.assert_close(program.module()(x, EDGES), layer(x, EDGES), atol=1e-4, rtol=1e-4)
