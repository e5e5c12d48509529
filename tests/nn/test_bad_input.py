"""Bad input: every error names the argument, says what it got and what it takes, and bad input changes nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import lcat.nn
from lcat.nn import CATConv, GATConv, GATv2Conv, GCNConv, LCATConv, LCATv2Conv, from_published
from lcat.nn.models import GAT
from tests.support.layers import ATTENTION, LAYERS

X = torch.randn(4, 8)
EDGES = torch.tensor([[0, 1, 2], [1, 2, 3]])
FEW = torch.randn(3, 2)
SMALL = {"in_channels": 1, "out_channels": 1}


def _edges(layer, edges, x=X, **kwargs):
    return lambda: layer(8, 4)(x, edges, **kwargs)


def _everywhere(label, error, match, call):
    """The same mistake in every layer."""
    for layer in (getattr(lcat.nn, name) for name in LAYERS):
        yield pytest.param(lambda layer=layer: call(layer), error, match, id=f"{label}-{layer.__name__}")


def _in_attention(label, error, match, call):
    """The same mistake in every attention layer."""
    for layer in (getattr(lcat.nn, name) for name in ATTENTION):
        yield pytest.param(lambda layer=layer: call(layer), error, match, id=f"{label}-{layer.__name__}")


def _quantized(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(values, 0.1, 0, torch.quint8)


def _nested(*parts, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor(list(parts), **kwargs)


def _matrix(values=None):
    return torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(3) if values is None else values, (4, 4))


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
    *_everywhere("x_numpy", TypeError, r"'x' of .* is of type ndarray; .*\[N, 8\]: torch.as_tensor makes one",
                 lambda c: c(8, 4)(X.numpy(), EDGES)),
    _case("x_numpy_of_any_width", TypeError, r"'x' of GINConv is of type ndarray; .*\[N, in_channels\]",
          lambda: lcat.nn.GINConv(torch.nn.Linear(8, 4))(X.numpy(), EDGES)),
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
    *[case for form, edges in (("edge_index", EDGES), ("matrix", _matrix())) for case in (
        *_everywhere(f"weight_sparse-{form}", ValueError, r"'edge_weight'.*layout torch.sparse_coo.*\[3\].*to_dense",
                     lambda c, edges=edges: c(8, 4)(X, edges, edge_weight=torch.ones(3).to_sparse())),
        *_everywhere(f"weight_quantized-{form}", ValueError, r"'edge_weight'.*quint8.*dequantize",
                     lambda c, edges=edges: c(8, 4)(X, edges, edge_weight=_quantized(torch.ones(3)))),
        *_everywhere(f"weight_nested-{form}", ValueError, r"'edge_weight'.*nested tensor.*\[3\]",
                     lambda c, edges=edges: c(8, 4)(X, edges, edge_weight=_nested(torch.ones(1), torch.ones(2)))),
        *_everywhere(f"weight_complex-{form}", ValueError, r"'edge_weight'.*complex64, 'x' has torch.float32; complex",
                     lambda c, edges=edges: c(8, 4)(X, edges, edge_weight=torch.ones(3, dtype=torch.complex64))),
    )],
    _case("matrix_complex", ValueError, r"complex weights need complex features",
          lambda: GCNConv(8, 4)(X, _matrix(torch.ones(3, dtype=torch.complex64)))),
    # other kinds of tensors
    *_everywhere("x_nested", ValueError, r"'x' of .* is a nested tensor.*to_padded",
                 lambda c: c(8, 4)(_nested(X, X[:2]), EDGES)),
    *_everywhere("x_jagged", ValueError, r"'x' of .* is a nested tensor",
                 lambda c: c(8, 4)(_nested(X, X[:2], layout=torch.jagged), EDGES)),
    *_everywhere("x_mkldnn", ValueError, r"'x' of .*mkldnn.*to_dense", lambda c: c(8, 4)(X.to_mkldnn(), EDGES)),
    *_everywhere("x_quantized", ValueError, r"'x' of .*quint8.*dequantize", lambda c: c(8, 4)(_quantized(X), EDGES)),
    *_everywhere("edges_nested", ValueError, r"'edge_index' is a nested", lambda c: c(8, 4)(X, _nested(*EDGES))),
    *_in_attention("x_complex", ValueError, r"'x' of .*complex64; it takes real numbers.*view_as_real",
                   lambda c: c(8, 4)(X.to(torch.complex64), EDGES)),
    # edge_attr
    *[case for label, options in (("without", {}), ("with", {"edge_dim": 2})) for case in (
        *_in_attention(f"attr_list-{label}", TypeError, r"'edge_attr' of .* is of type list; it takes a tensor",
                       lambda c, options=options: c(8, 4, **options)(X, EDGES, edge_attr=FEW.tolist())),
        *_in_attention(f"attr_float-{label}", TypeError, r"'edge_attr' of .* is of type float",
                       lambda c, options=options: c(8, 4, **options)(X, EDGES, edge_attr=1.5)),
        *_in_attention(f"attr_numpy-{label}", TypeError, r"'edge_attr' of .* is of type ndarray.*as_tensor",
                       lambda c, options=options: c(8, 4, **options)(X, EDGES, edge_attr=FEW.numpy())),
        *_in_attention(f"attr_sparse-{label}", ValueError, r"'edge_attr' of .*sparse_coo.*to_dense",
                       lambda c, options=options: c(8, 4, **options)(X, EDGES, edge_attr=FEW.to_sparse())),
        *_in_attention(f"attr_nested-{label}", ValueError, r"'edge_attr' of .*nested",
                       lambda c, options=options: c(8, 4, **options)(X, EDGES, edge_attr=_nested(FEW[0], FEW[1, :1]))),
    )],
    *_in_attention("attr_quantized", ValueError, r"'edge_attr' of .*quint8.*dequantize",
                   lambda c: c(8, 4, edge_dim=2)(X, EDGES, edge_attr=_quantized(FEW))),
    *_in_attention("attr_complex", ValueError, r"'edge_attr' of .*complex64, 'x' has torch.float32",
                   lambda c: c(8, 4, edge_dim=2)(X, EDGES, edge_attr=FEW.to(torch.complex64))),
    *_in_attention("attr_integers_autocast", ValueError, r"'edge_attr' of .*int64", lambda c: _autocast(c)),
    # size
    *[case for label, size in (("floats", (4.0, 4.0)), ("strings", ("4", "4")), ("bools", (True, 4)),
                               ("below", (-1, 4)), ("one", (4,)), ("string", "44"), ("int", 4), ("none", ()),
                               ("array", X[0, :2].numpy()))
      for case in (
        *_in_attention(f"size_{label}", ValueError, r"'size' of .*; it takes", lambda c, size=size:
                       c(8, 4)(X, EDGES, size=size)),
        *_in_attention(f"size_{label}-targets", ValueError, r"'size' of .*; it takes", lambda c, size=size:
                       c(8, 4, add_self_loops=False)((X, None), EDGES, size=size)))],
    # constructors
    *[case for label, slope in (("inf", float("inf")), ("nan", float("nan")), ("text", "0.2"), ("none", None))
      for case in _in_attention(f"slope_{label}", ValueError, r"'negative_slope' of .* is .*finite float",
                                lambda c, slope=slope: c(8, 4, negative_slope=slope))],
    *[case for label, fill in (("nan", float("nan")), ("sparse", torch.ones(2).to_sparse()),
                               ("column", torch.ones(2, 1)), ("complex", torch.ones(2, dtype=torch.complex64)))
      for case in _in_attention(f"fill_{label}", ValueError, r"'fill_value' of .*; it takes",
                                lambda c, fill=fill: c(8, 4, edge_dim=2, fill_value=fill))],
    *_in_attention("fill_lazy", ValueError, r"'fill_value' of .* has shape \[3\]; it takes one number",
                   lambda c: c(8, 4, edge_dim=-1, fill_value=torch.ones(3))(X, EDGES, edge_attr=FEW)),
    *[case for label, aggr in (("none", None), ("int", 3), ("empty", []), ("list", ["add", None]),
                               ("module", torch.nn.ReLU()))
      for case in _everywhere(f"aggr_{label}", TypeError, r"'aggr' of .*; it takes the name of an aggregation",
                              lambda c, aggr=aggr: c(8, 4, aggr=aggr))],
    *_everywhere("aggr_typo", ValueError, r"'aggr' of .* is 'meen' \(did you mean mean.*\?\); it takes 'add'",
                 lambda c: c(8, 4, aggr="meen")),
    *[case for label, options in (("list", [1]), ("text", "learn"), ("int", 3))
      for case in _everywhere(f"aggr_kwargs_{label}", TypeError, r"'aggr_kwargs' of .*; it takes a dict",
                              lambda c, options=options: c(8, 4, aggr_kwargs=options))],
    *_everywhere("aggr_kwargs_unknown", TypeError, r"'aggr' of .* is 'add' with aggr_kwargs=.*'learnt'",
                 lambda c: c(8, 4, aggr_kwargs={"learnt": True})),
    *_everywhere("decomposed_layers_0", ValueError, r"'decomposed_layers' of .* is 0; it takes an int of at least 1",
                 lambda c: c(8, 4, decomposed_layers=0)),
    *_everywhere("data_as_x", TypeError, r"takes features and edges, and got a Data: pass data\.x and data\.edge_index",
                 lambda c: c(8, 4)(Data(x=X, edge_index=EDGES))),
    *_everywhere("data_as_edges", TypeError, r"'edge_index' is of type Data; .*: pass its \.edge_index",
                 lambda c: c(8, 4)(X, Data(x=X, edge_index=EDGES))),
    *_everywhere("edges_numpy", TypeError, r"'edge_index' is of type ndarray; .*torch\.from_numpy\(\.\.\.\) makes one",
                 lambda c: c(8, 4)(X, EDGES.numpy())),
    *_everywhere("edges_pairs", TypeError, r"'edge_index' is of type list; .*\.t\(\) of a list of pairs",
                 lambda c: c(8, 4)(X, [(0, 1), (1, 2)])),
    *_everywhere("edges_lacking", TypeError, r"lacks the arguments? '.*edge_index'; its arguments are x, ",
                 lambda c: c(8, 4)(X)),
    _case("gin_none", TypeError, r"the map 'nn' of GINConv returned NoneType",
          lambda: lcat.nn.GINConv(lambda x: None)(X, EDGES)),
    _case("initial_alpha", ValueError, r"'alpha' of LCATGCN2Conv is 1.5; it takes a share of the first features in",
          lambda: lcat.nn.LCATGCN2Conv(8, alpha=1.5)),
    _case("act_typo", ValueError, r"'act' of GAT is 'relo' \(did you mean 'ReLU'.*\); it takes a name that PyG",
          lambda: GAT(8, 4, 2, act="relo")),
    _case("norm_typo", ValueError, r"'norm' of GAT is 'batchnrm' \(did you mean 'BatchNorm'.*\)",
          lambda: GAT(8, 4, 2, norm="batchnrm")),
    _case("act_typo_gcn2", ValueError, r"'act' of LCATGCN2 is 'relo' \(did you mean 'ReLU'",
          lambda: lcat.nn.models.LCATGCN2(8, 4, 2, act="relo")),
    *_everywhere("out_channels_2_63", ValueError, r"'out_channels'.* is 9223372036854775808; .*at most 2\*\*48",
                 lambda c: c(8, 2**63)),
    *_everywhere("in_channels_2_62", ValueError, r"'in_channels'.* is 4611686018427387904; .*at most 2\*\*48",
                 lambda c: c(2**62, 8)),
    _case("heads_2_63", ValueError, r"'heads' of GATConv is 9223372036854775808; .*at most 2\*\*48",
          lambda: GATConv(8, 4, heads=2**63)),
    _case("edge_dim_2_63", ValueError, r"'edge_dim' of GATConv is 9223372036854775808; .*at most 2\*\*48",
          lambda: GATConv(8, 4, edge_dim=2**63)),
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


def _autocast(layer):
    with torch.autocast("cpu", torch.bfloat16):
        layer(8, 4, edge_dim=2)(X, EDGES, edge_attr=FEW.long())


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
def test_an_aggregation_of_its_own_needs_no_name(name):
    class Mine(getattr(lcat.nn, name)):
        def aggregate(self, inputs, index, dim_size=None):
            out = inputs.new_zeros(dim_size, *inputs.shape[1:])
            return out.index_add(0, index, inputs)

    torch.manual_seed(0)
    mine = Mine(8, 4, aggr=None)
    torch.manual_seed(0)
    assert torch.allclose(mine(X, EDGES), getattr(lcat.nn, name)(8, 4)(X, EDGES), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Complex modules")
def test_complex_weights_need_complex_features_and_gcn_takes_both():
    torch.manual_seed(0)
    layer = GCNConv(8, 4, normalize=False, bias=False)
    x, weight = torch.randn(4, 8, dtype=torch.complex64), torch.randn(3, dtype=torch.complex64)
    expected = torch.zeros(4, 8, dtype=torch.complex64).index_add(0, EDGES[1], weight[:, None] * x[EDGES[0]])
    out = layer.to(torch.complex64)(x, EDGES, weight)
    assert torch.allclose(out, expected @ layer.lin.weight.mT, atol=1e-5)


@pytest.mark.parametrize("name", ATTENTION)
def test_sizes_may_be_numbers_of_numpy(name):
    torch.manual_seed(0)
    layer = getattr(lcat.nn, name)(8, 4, add_self_loops=False)
    size = tuple(np.array([4, 6]))
    assert torch.equal(layer((X, None), EDGES, size=size), layer((X, None), EDGES, size=(4, 6)))


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
