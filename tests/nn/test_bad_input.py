"""Bad input: every error names the argument, says what it got and what it takes, and bad input changes nothing."""

from __future__ import annotations

import pytest
import torch

import lcat.nn
from lcat.nn import CATConv, GATConv, GATv2Conv, GCNConv, LCATConv, LCATv2Conv, from_published
from lcat.nn.models import GAT
from tests.support.layers import LAYERS

X = torch.randn(4, 8)
EDGES = torch.tensor([[0, 1, 2], [1, 2, 3]])
FEW = torch.randn(3, 2)
SMALL = {"in_channels": 1, "out_channels": 1}


def _edges(layer, edges, x=X, **kwargs):
    return lambda: layer(8, 4)(x, edges, **kwargs)


def _everywhere(label, error, match, call):
    """The same mistake in a layer of every family."""
    for layer in (GCNConv, GATConv, GATv2Conv, CATConv, LCATv2Conv):
        yield pytest.param(lambda layer=layer: call(layer), error, match, id=f"{label}-{layer.__name__}")


def _case(label, error, match, call):
    return pytest.param(call, error, match, id=label)


CASES = [
    # edge_index: type, dtype, shape, range
    *_everywhere("edges_E2", ValueError, r"edge_index.*\[5, 2\].*transposed.*\.t\(\)",
                 lambda c: c(8, 4)(X, torch.zeros(5, 2, dtype=torch.long))),
    *_everywhere("edges_3E", ValueError, r"edge_index.*size '2'.*\[3, 7\]",
                 lambda c: c(8, 4)(X, torch.zeros(3, 7, dtype=torch.long))),
    *_everywhere("edges_float", ValueError, r"edge_index.*integer.*float32.*\.long\(\)",
                 lambda c: c(8, 4)(X, EDGES.float())),
    *_everywhere("edges_bool", ValueError, r"edge_index.*integer.*bool", lambda c: c(8, 4)(X, EDGES.bool())),
    *_everywhere("edges_1d", ValueError, r"edge_index.*two-dimensional.*1 dim", lambda c: c(8, 4)(X, EDGES[0])),
    *_everywhere("edges_list", TypeError, r"edge_index.*list.*takes", lambda c: c(8, 4)(X, EDGES.tolist())),
    *_everywhere("edges_None", TypeError, r"edge_index.*NoneType", lambda c: c(8, 4)(X, None)),
    *_everywhere("index_too_large", IndexError, r"edge_index.*larger than 3 \(got 9\)",
                 lambda c: c(8, 4)(X, torch.tensor([[0, 9], [1, 2]]))),
    *_everywhere("index_negative", IndexError, r"negative indices in 'edge_index' \(got -1\)",
                 lambda c: c(8, 4)(X, torch.tensor([[0, -1], [1, 2]]))),
    *_everywhere("matrix_size", ValueError, r"edge_index.*made for 5.*but there are 4",
                 lambda c: c(8, 4)(X, torch.sparse_coo_tensor(EDGES, torch.ones(3), (5, 5)))),
    *_everywhere("matrix_flow", ValueError, r"target_to_source.*sparse",
                 lambda c: c(8, 4, flow="target_to_source")(X, torch.eye(4).to_sparse())),
    # x
    *_everywhere("x_width", ValueError, r"'x'.*5 features.*in_channels=8", lambda c: c(8, 4)(X[:, :5], EDGES)),
    *_everywhere("x_1d", ValueError, r"'x'.*\[4\].*\[N, 8\]", lambda c: c(8, 4)(X[:, 0], EDGES)),
    *_everywhere("x_integers", ValueError, r"'x'.*int64.*\.float\(\)", lambda c: c(8, 4)(X.long(), EDGES)),
    *_everywhere("x_double", ValueError, r"'x'.*float64.*float32.*\.to", lambda c: c(8, 4)(X.double(), EDGES)),
    *_everywhere("x_none", TypeError, r"'x'.*NoneType", lambda c: c(8, 4)(None, EDGES)),
    *_everywhere("x_device", ValueError, r"'x'.*meta.*cpu", lambda c: c(8, 4)(X.to("meta"), EDGES)),
    *_everywhere("edges_device", ValueError, r"'edge_index'.*meta.*cpu", lambda c: c(8, 4)(X, EDGES.to("meta"))),
    _case("x_one_of_two_kinds", ValueError, r"'x' of GATConv is one tensor.*\(8, 5\): pass \(x_source, x_target\)",
          lambda: GATConv((8, 5), 4)(X, EDGES)),
    _case("edge_attr_double", ValueError, r"'edge_attr' of LCATConv has dtype torch.float64, 'x' has torch.float32",
          lambda: LCATConv(8, 4, edge_dim=2)(X, EDGES, FEW.double())),
    _case("fill_value_width", ValueError, r"'fill_value' of GATv2Conv has shape \[5\].*edge_dim=2",
          lambda: GATv2Conv(8, 4, edge_dim=2, fill_value=torch.ones(5))),
    # edge_weight
    *_everywhere("weight_length", ValueError, r"'edge_weight'.*5 rows.*3 edges",
                 lambda c: c(8, 4)(X, EDGES, edge_weight=torch.ones(5))),
    *_everywhere("weight_2d", ValueError, r"'edge_weight'.*\[3, 2\].*\[3\]",
                 lambda c: c(8, 4)(X, EDGES, edge_weight=torch.ones(3, 2))),
    *_everywhere("weight_list", TypeError, r"'edge_weight'.*list", lambda c: c(8, 4)(X, EDGES, edge_weight=[1.0] * 3)),
    # constructors
    *_everywhere("out_channels_0", ValueError, r"'out_channels'.*0.*at least 1", lambda c: c(8, 0)),
    *_everywhere("out_channels_float", ValueError, r"'out_channels'.*4.5", lambda c: c(8, 4.5)),
    *_everywhere("in_channels_0", ValueError, r"'in_channels'.*0", lambda c: c(0, 4)),
    *_everywhere("flow", ValueError, r"flow.*upwards", lambda c: c(8, 4, flow="upwards")),
    _case("heads_0", ValueError, r"'heads' of GATConv is 0.*at least 1", lambda: GATConv(8, 4, heads=0)),
    _case("dropout_2", ValueError, r"'dropout' of GATv2Conv is 2.*\[0, 1\]", lambda: GATv2Conv(8, 4, dropout=2)),
    _case("edge_dim_below", ValueError, r"'edge_dim' of GATConv is -2.*None", lambda: GATConv(8, 4, edge_dim=-2)),
    _case("fill_value", ValueError, r"'fill_value' of GATConv is 'median'.*'mean'",
          lambda: GATConv(8, 4, edge_dim=2, fill_value="median")),
    _case("share_weights_pair", ValueError, r"share_weights=True.*in_channels is \(8, 3\)",
          lambda: GATv2Conv((8, 3), 4, share_weights=True)),
    _case("gcn_loops_without_norm", ValueError, r"does not support adding self-loops",
          lambda: GCNConv(8, 4, normalize=False, add_self_loops=True)),
    _case("gcn_pair_of_channels", ValueError, r"'in_channels' of GCNConv is \(8, 8\).*SAGEConv",
          lambda: GCNConv((8, 8), 4)),
    _case("gcn_pair_of_x", ValueError, r"SAGEConv", lambda: GCNConv(8, 4)((X, X), EDGES)),
    _case("gcn_cached_other_graph", ValueError, r"cached=True.*4 nodes.*has 6.*cached=False", lambda: _cached()),
    _case("lambda1_above", ValueError, r"'lambda1' is 1.5.*\[0, 1\]", lambda: LCATConv(8, 4, lambda1=1.5)),
    _case("lambda2_below", ValueError, r"'lambda2' is -0.1.*\[0, 1\]", lambda: LCATv2Conv(8, 4, lambda2=-0.1)),
    _case("lambda_nan", ValueError, r"'lambda1' is nan", lambda: LCATConv(8, 4, lambda1=float("nan"))),
    _case("lambda_string", TypeError, r"'lambda1' is of type str", lambda: LCATConv(8, 4, lambda1="learn")),
    _case("lambda_bool", TypeError, r"'lambda2' is of type bool", lambda: CATConv(8, 4, lambda2=True)),
    _case("lambda_init", ValueError, r"'lambda1_init' is 0.001.*0.0024", lambda: LCATConv(8, 4, lambda1_init=0.001)),
    _case("lambda_init_1", ValueError, r"'lambda2_init' is 1.*lambda2=", lambda: LCATConv(8, 4, lambda2_init=1)),
    _case("parametrization", ValueError, r"'parametrization' is 'tanh'.*'sigmoid'",
          lambda: LCATConv(8, 4, parametrization="tanh")),
    _case("neighbor_aggr", ValueError, r"'neighbor_aggr' of LCATConv is 'max'.*'sum'",
          lambda: LCATConv(8, 4, neighbor_aggr="max")),
    _case("model_heads", ValueError, r"GAT has 30 channels.*8 heads", lambda: GAT(8, 30, 2, out_channels=3, heads=8)),
    # edge_attr
    *[_case(f"attr_without_edge_dim-{c.__name__}", ValueError, r"'edge_attr'.*edge_dim=None.*edge_dim=2",
            lambda c=c: c(8, 4)(X, EDGES, FEW)) for c in (GATv2Conv, CATConv, LCATConv, LCATv2Conv)],
    _case("attr_width", ValueError, r"'edge_attr'.*2 features.*edge_dim=3",
          lambda: GATConv(8, 4, edge_dim=3)(X, EDGES, FEW)),
    _case("attr_rows", ValueError, r"'edge_attr'.*2 rows.*3 edges",
          lambda: GATv2Conv(8, 4, edge_dim=2)(X, EDGES, FEW[:2])),
    _case("attr_3d", ValueError, r"'edge_attr'.*\[3, 2, 1\]",
          lambda: GATConv(8, 4, edge_dim=2)(X, EDGES, FEW[..., None])),
    # bipartite
    _case("pair_of_three", ValueError, r"tuple of 3", lambda: GATConv(8, 4)((X, X, X), EDGES)),
    _case("pair_second_width", ValueError, r"x\[1\].*8 features.*in_channels=3",
          lambda: GATConv((8, 3), 4)((X, X), EDGES)),
    _case("size_disagrees", ValueError, r"'size' of GATConv is \(5, 4\).*x\[0\] has 4",
          lambda: GATConv(8, 4)(X, EDGES, size=(5, 4))),
    _case("size_of_three", ValueError, r"'size'.*\(4, 4, 4\)", lambda: GATv2Conv(8, 4)(X, EDGES, size=(4, 4, 4))),
    _case("bipartite_index", IndexError, r"larger than 1 \(got 3\): there are 2 target nodes",
          lambda: LCATConv((8, 8), 4)((X, X[:2]), EDGES)),
    _case("bipartite_loops_in_hetero_conv", ValueError, r"(?s)add_self_loops.*LCATConv", lambda: _hetero()),
    _case("static_mixed", ValueError, r"mixes shapes", lambda: GATConv((8, 8), 4)((X, X[None]), EDGES)),
    _case("decomposed", ValueError, r"decomposed_layers=2", lambda: GATConv(8, 4, decomposed_layers=2)(X, EDGES)),
    # from_published
    _case("family", ValueError, r"'family' is 'gin'", lambda: from_published("gin", "v1", {}, **SMALL)),
    _case("version", ValueError, r"'version' is 'v3'", lambda: from_published("plain", "v3", {}, **SMALL)),
    _case("mode", ValueError, r"'mode' is 'gin'", lambda: from_published("plain", "v1", {}, **SMALL, mode="gin")),
    _case("unknown_option", ValueError, r"does not know head",
          lambda: from_published("plain", "v1", {}, **SMALL, head=3)),
    _case("empty_state", ValueError, r"state_dict does not fit.*missing.*lin_src",
          lambda: from_published("plain", "v1", {}, **SMALL)),
]  # fmt: skip


def _cached():
    layer = GCNConv(8, 4, cached=True)
    layer(X, EDGES)
    layer(torch.randn(6, 8), EDGES)


def _hetero():
    from torch_geometric.nn import HeteroConv

    conv = HeteroConv({("a", "to", "b"): LCATConv((-1, -1), 4)})
    conv({"a": X, "b": X}, {("a", "to", "b"): EDGES})


@pytest.mark.parametrize(("call", "error", "match"), CASES)
def test_bad_input(call, error, match):
    before = X.clone(), EDGES.clone()
    with pytest.raises(error, match=match) as caught:
        call()
    message = str(caught.value)
    assert len(message) > 30, "says too little"
    assert torch.equal(X, before[0])
    assert torch.equal(EDGES, before[1])


def test_there_are_enough_cases():
    assert len(CASES) >= 60


def test_a_layer_works_after_bad_input():
    layer = LCATConv(8, 4)
    expected = layer(X, EDGES)
    for bad in (EDGES.float(), EDGES.t(), EDGES - 1, None):
        with pytest.raises((ValueError, IndexError, TypeError)):
            layer(X, bad)
    assert torch.equal(layer(X, EDGES), expected)


def test_gat_warns_of_edge_attr_without_edge_dim_and_ignores_it_as_pyg_does():
    layer = GATConv(8, 4)
    with pytest.warns(UserWarning, match=r"edge_attr.*edge_dim=2"):
        out = layer(X, EDGES, FEW)
    assert torch.equal(out, layer(X, EDGES))


@pytest.mark.parametrize("name", LAYERS)
def test_wrong_after_an_in_place_change_is_seen(name):
    """The view of a graph is remembered; an in-place change must not get the old one, or miss the check."""
    edges = EDGES.clone()
    layer = getattr(lcat.nn, name)(8, 4)
    layer(X, edges)
    edges[1, 0] = 3
    assert torch.equal(layer(X, edges), layer(X, edges.clone()))
    edges[1, 0] = 7
    with pytest.raises(IndexError, match="larger than 3"):
        layer(X, edges)
