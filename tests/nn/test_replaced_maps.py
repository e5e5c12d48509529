"""Maps that users put in the place of the layers' own: only the map knows what it takes."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS

EDGES = torch.tensor([[0, 1, 2, 3, 3, 4], [1, 0, 3, 3, 2, 0]])
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
ATTR = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
IDS = torch.tensor([[0], [3], [2], [4], [1], [1]])
WITH_PYG = ["GCNConv", "GATConv", "GATv2Conv"]


def make(name, module=lcat.nn, **options):
    torch.manual_seed(1)
    if name in ATTENTION:
        options.setdefault("heads", 2)
    layer = getattr(module, name)(4, 3, **options)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "bias" in name:
                parameter.uniform_(-1, 1)
    return layer.eval()


def nodes_of(layer):
    """The names of the maps of nodes; of two that are one, the first."""
    return [name for name, module in layer.named_children() if name in ("lin", "lin_l", "lin_r", "lin_src", "lin_dst")]


class WeightOnly(nn.Module):
    """int8 weights, floating point arithmetic."""

    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.abs().max() / 127
        self.weight = nn.Parameter((linear.weight / scale).round().to(torch.int8), requires_grad=False)
        self.register_buffer("scale", scale.detach())
        self.bias = linear.bias

    def forward(self, x):
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale, self.bias)


class Casting(nn.Module):
    """bfloat16 weights and output, for features of any type."""

    def __init__(self, linear):
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().bfloat16())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().bfloat16())

    def forward(self, x):
        return nn.functional.linear(x.bfloat16(), self.weight, self.bias)


def quantized(linear):
    plain = nn.Linear(linear.weight.shape[1], linear.weight.shape[0], bias=linear.bias is not None)
    plain.load_state_dict(linear.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(plain), {nn.Linear})[0]


def offloaded_by_a_hook(linear):
    """Weights on the meta device, until a pre-hook loads them."""
    loaded = linear.weight

    def load(module, inputs):
        module.weight = loaded

    def unload(module, inputs, out):
        module.weight = nn.Parameter(loaded.to("meta"))

    linear.register_forward_pre_hook(load)
    linear.register_forward_hook(unload)
    unload(linear, None, None)
    return linear


def offloaded_by_a_patch(linear):
    """As accelerate does it: another ``forward`` of the instance."""
    loaded, forward = linear.weight, linear.forward

    @functools.wraps(forward)
    def patched(x):
        linear.weight = loaded
        try:
            return forward(x)
        finally:
            linear.weight = nn.Parameter(loaded.to("meta"))

    linear.weight = nn.Parameter(loaded.to("meta"))
    linear.forward = patched
    return linear


def cast_by_hooks(linear):
    """Layerwise casting: stored in a small type, cast for the call."""
    linear.to(torch.bfloat16)
    linear.register_forward_pre_hook(lambda module, _: module.float() and None)
    linear.register_forward_hook(lambda module, *_: module.bfloat16() and None)
    return linear


SAME_WIDTH = [
    WeightOnly, Casting, quantized, offloaded_by_a_hook, offloaded_by_a_patch, cast_by_hooks,
]  # fmt: skip


def replaced(layer, make_map, names=None):
    for name in names or nodes_of(layer):
        setattr(layer, name, make_map(getattr(layer, name)))
    return layer


@pytest.mark.parametrize("make_map", SAME_WIDTH)
@pytest.mark.parametrize("name", LAYERS)
class TestOfNodes:
    def test_one_set_of_nodes(self, name, make_map):
        layer, plain = replaced(make(name), make_map), make(name)
        assert_same(layer(X, EDGES), plain(X, EDGES), "against the layer's own maps", 3e-2)
        if name in WITH_PYG:
            theirs = make(name, pyg)
            theirs.load_state_dict(plain.state_dict())
            theirs = replaced(theirs, make_map)
            out, expected = layer(X, EDGES), theirs(X, EDGES)
            assert out.dtype == expected.dtype
            # PyG adds keys and queries in bfloat16.
            assert_same(out, expected, "PyG", 1e-2 if make_map is Casting else 1e-6)
        layer.register_message_forward_hook(lambda *_: None)
        assert_same(layer(X, EDGES), plain(X, EDGES), "by messages", 3e-2)

    def test_bipartite(self, name, make_map):
        if name == "GCNConv":
            pytest.skip("has no bipartite form")
        layers = [getattr(lcat.nn, name)((4, 4), 3) for _ in range(2)]
        layers[1].load_state_dict(layers[0].state_dict())
        pair = (X, X[:3].clone())
        edges = torch.tensor([[0, 1, 2, 3], [1, 0, 2, 2]])
        assert_same(replaced(layers[0], make_map)(pair, edges), layers[1](pair, edges), "pair", 3e-2)

    def test_statistic(self, name, make_map):
        layer, plain = replaced(make(name), make_map), make(name)
        if plain.statistic_depends_on is None:
            pytest.skip("needs none")
        statistic = layer.neighborhood_statistic(X, EDGES)
        assert_same(layer(X, EDGES, statistic=statistic), plain(X, EDGES), "with its statistic", 3e-2)


@pytest.mark.parametrize("make_map", SAME_WIDTH)
@pytest.mark.parametrize("name", ATTENTION)
def test_of_edges(name, make_map):
    layer, plain = make(name, edge_dim=3), make(name, edge_dim=3)
    expected = plain(X, EDGES, ATTR)
    assert_same(replaced(layer, make_map, ["lin_edge"])(X, EDGES, ATTR), expected, "lin_edge", 3e-2)


@pytest.mark.parametrize("make_map", SAME_WIDTH)
@pytest.mark.parametrize("name", ["CATConv", "LCATv2Conv"])
def test_of_values(name, make_map):
    layer, plain = make(name, share_values=False), make(name, share_values=False)
    assert_same(replaced(layer, make_map, ["lin_value"])(X, EDGES), plain(X, EDGES), "lin_value", 3e-2)


@pytest.mark.parametrize("name", LAYERS)
class TestOtherInputs:
    """Width and type of the features are those of the map."""

    def both(self, name, make_map, x, edge_weight=None):
        layer = replaced(make(name), make_map)
        weight = {} if edge_weight is None else {"edge_weight": edge_weight}
        out = layer(x, EDGES, **weight)
        if name in WITH_PYG and (name == "GCNConv" or not weight):
            theirs = replaced(make(name, pyg), make_map)
            theirs.load_state_dict(layer.state_dict())
            assert_same(out, theirs(x, EDGES, **weight), "PyG", 1e-6)
        layer.register_message_forward_hook(lambda *_: None)
        assert_same(layer(x, EDGES, **weight), out, "by messages", 1e-6)
        return out

    def test_identity(self, name):
        width = 3 if name == "GCNConv" else 6
        self.both(name, lambda linear: nn.Identity(), torch.randn(6, width))

    def test_another_width(self, name):
        width = 3 if name == "GCNConv" else 6
        self.both(name, lambda linear: shared_by_name(nn.Linear, 7, width), torch.randn(6, 7))

    def test_embedding(self, name):
        width = 3 if name == "GCNConv" else 6

        def table(linear):
            torch.manual_seed(3)
            return nn.Embedding(5, width)

        x = IDS
        if name == "GCNConv":  # PyG's takes integers only with weights of the edges, and an embedding of shape [N, F]
            table_of = table

            def table(linear):
                return nn.Sequential(table_of(linear), nn.Flatten(1))

        self.both(name, table, x, torch.rand(6))
        if name != "GCNConv":
            self.both(name, table, x)

    def test_embedding_of_edges(self, name):
        if name == "GCNConv":
            pytest.skip("has no edge features")
        kinds = torch.tensor([0, 1, 1, 0, 2, 1])
        torch.manual_seed(3)
        table = nn.Embedding(3, 6)
        layers = [
            make(name, module, edge_dim=3, fill_value=0.0) for module in (lcat.nn, pyg if name in WITH_PYG else lcat.nn)
        ]
        layers[1].load_state_dict(layers[0].state_dict())
        for layer in layers:
            layer.lin_edge = table
        if name not in WITH_PYG:
            layers[1].register_message_forward_hook(lambda *_: None)
        assert_same(layers[0](X, EDGES, kinds), layers[1](X, EDGES, kinds), "kinds of edges", 1e-6)

    def test_without_self_loops_and_without_nodes(self, name):
        layer = replaced(make(name, add_self_loops=False), lambda linear: nn.Identity())
        width = 3 if name == "GCNConv" else 6
        assert layer(torch.randn(0, width), EDGES[:, :0]).shape[0] == 0

    def test_an_output_of_another_width_is_named(self, name):
        layer = replaced(make(name), lambda linear: nn.Linear(4, 5))
        with pytest.raises(ValueError, match=rf"{name} returned 5 features per node \(shape \[6, 5\]\); expected"):
            layer(X, EDGES)


def shared_by_name(kind, *args):
    torch.manual_seed(3)
    return kind(*args)


def test_gcn_takes_numbers_of_an_embedding():
    """Integers of shape [N]; the degrees are counted in the type of the embedding."""
    layer = make("GCNConv")
    layer.lin = nn.Embedding(5, 3)
    plain = make("GCNConv")
    plain.lin = nn.Identity()
    ids = IDS.flatten()
    for options in ({}, {"edge_weight": torch.rand(6)}, {"edge_weight": torch.ones(6, dtype=torch.long)}):
        assert_same(layer(ids, EDGES, **options), plain(layer.lin(ids), EDGES, **options), "embedding", 1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_wrong_features_are_still_named(name):
    """Where the map is the layer's own, also while somebody looks at its output."""
    layer = make(name)
    for module in layer.children():
        module.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="has 5 features per node"):
        layer(torch.randn(6, 5), EDGES)
    with pytest.raises(ValueError, match=r"has dtype torch.int64; it takes floating point"):
        layer(torch.ones(6, 4, dtype=torch.long), EDGES)
    with pytest.raises(ValueError, match=r"has dtype torch.float64, the layer's weights torch.float32"):
        layer(X.double(), EDGES)
    with pytest.raises(ValueError, match="is on meta, the layer is on cpu"):
        layer(X.to("meta"), EDGES)


@pytest.mark.parametrize("layer", [lcat.nn.LCATConv, lcat.nn.LCATv2Conv, lcat.nn.CATConv, lcat.nn.CATv2Conv])
@pytest.mark.parametrize("wants_attention", [False, True])
def test_an_interpolation_that_is_gone_makes_no_silent_gat(layer, wants_attention):
    conv, x, edges = layer(4, 4), torch.randn(3, 4), torch.tensor([[0, 1, 2], [1, 2, 0]])
    conv.interpolation = None
    options = {"return_attention_weights": True} if wants_attention else {}
    with pytest.raises(ValueError, match=rf"'interpolation' of {layer.__name__} is None; .* set lambda1 = 1.0"):
        conv(x, edges, **options)
    with pytest.raises(ValueError, match=r"'interpolation' of \w+ is None"):
        conv.neighborhood_statistic(x, edges)
