"""Every class that is swapped, in random configurations: outputs and all gradients are those of PyG."""

from __future__ import annotations

import random

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch_geometric.nn.models.linkx import SparseLinear

import lcat
from lcat.nn._message_forms import _forms
from lcat.nn.acceleration._registry import adapted_classes
from tests.support.compare import assert_same, assert_same_gradients, gradients
from tests.support.graphs import random_edges

IN, OUT = 5, 4
KINDS = ("plain", "duplicates", "one loop", "loop_everywhere", "isolated", "hub", "no_edges")


class Case:
    """A layer, its keyword arguments, and which of them are tensors that get gradients."""

    def __init__(self, layer, width=IN, **keywords):
        self.layer, self.width, self.keywords = layer, width, keywords


def _weights(draw, edges):
    """Weights of edges or none, and whether they need gradients."""
    if draw.random() < 0.4:
        return {}
    weight = torch.rand(edges.shape[1], dtype=torch.double) + 0.1
    return {"edge_weight": weight.requires_grad_(draw.random() < 0.6)}


def _aggr(draw):
    return draw.choice(["add", "sum", "mean", "min", "max"])


def _options(draw, **more):
    return {"aggr": _aggr(draw), "flow": draw.choice(["source_to_target", "target_to_source"])} | more


def _flag(draw):
    return draw.random() < 0.5


def _gcn(draw, edges):
    options = {"improved": _flag(draw), "bias": _flag(draw), "flow": _options(draw)["flow"]}
    normalize = draw.random() < 0.8
    if not normalize:
        options["normalize"] = False
    elif _flag(draw):
        options["add_self_loops"] = False
    return Case(pyg.GCNConv(IN, OUT, **options), **_weights(draw, edges))


def _attention(cls):
    def make(draw, edges):
        edge_dim = draw.choice([None, 1, 3])
        options = {
            "heads": draw.choice([1, 3]),
            "concat": _flag(draw),
            "negative_slope": draw.choice([0.0, 0.2]),
            "add_self_loops": _flag(draw),
            "edge_dim": edge_dim,
            "fill_value": draw.choice(["mean", "add", 0.5]),
            "residual": _flag(draw),
            "bias": _flag(draw),
        }
        if cls is pyg.GATv2Conv:
            options["share_weights"] = _flag(draw)
        keywords = {}
        if edge_dim is not None:
            keywords["edge_attr"] = torch.randn(edges.shape[1], edge_dim, dtype=torch.double).requires_grad_()
        return Case(cls(IN, OUT, **options), **keywords)

    return make


def _transformer(draw, edges):
    edge_dim = draw.choice([None, 1, 3])
    options = {name: _flag(draw) for name in ("concat", "beta", "bias", "root_weight")}
    layer = pyg.TransformerConv(IN, OUT, heads=draw.choice([1, 3]), edge_dim=edge_dim, **options)
    if edge_dim is None:
        return Case(layer)
    return Case(layer, edge_attr=torch.randn(edges.shape[1], edge_dim, dtype=torch.double).requires_grad_())


def _weighted(make):
    def case(draw, edges):
        return Case(make(draw), **_weights(draw, edges))

    return case


def _unweighted(make, width=IN):
    def case(draw, edges):
        del edges
        return Case(make(draw), width)

    return case


class _GCN2(nn.Module):
    def __init__(self, draw):
        super().__init__()
        options = _options(draw, aggr=draw.choice(["add", "mean"]))  # PyG's writes into its own minimum and maximum
        self.conv = pyg.GCN2Conv(
            IN, 0.2, 0.5, layer=2, shared_weights=_flag(draw), normalize=draw.random() < 0.8, **options
        )

    def forward(self, x, edge_index, edge_weight=None):
        return self.conv(x, x.tanh(), edge_index, edge_weight)


def _appnp(draw):
    if _flag(draw):
        return pyg.APPNP(3, 0.2, normalize=False, add_self_loops=False, **_options(draw))
    return pyg.APPNP(3, 0.2, add_self_loops=_flag(draw), **_options(draw))


def _cheb(draw, edges):
    case = Case(pyg.ChebConv(IN, OUT, K=draw.choice([1, 2, 4]), normalization=draw.choice([None, "sym", "rw"])))
    case.keywords = _weights(draw, edges)
    if case.layer.normalization != "sym" or _flag(draw):
        case.keywords["lambda_max"] = draw.choice([2.5, torch.tensor(2.5, dtype=torch.double)])
    return case


def _rgcn(draw, edges):
    options = draw.choice([{}, {"num_bases": 2}, {"num_blocks": 2}])
    layer = pyg.RGCNConv(
        6, OUT, 3, root_weight=_flag(draw), bias=_flag(draw), aggr=draw.choice(["mean", "add"]), **options
    )
    return Case(layer, 6, edge_type=torch.randint(draw.choice([1, 3]), (edges.shape[1],)))


def _pdn(draw, edges):
    layer = pyg.PDNConv(IN, OUT, edge_dim=3, hidden_channels=4, add_self_loops=_flag(draw), normalize=True)
    return Case(layer, edge_attr=torch.randn(edges.shape[1], 3, dtype=torch.double).requires_grad_())


class _Signed(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.first = pyg.SignedConv(IN, OUT, first_aggr=True, **_options(draw))
        self.second = pyg.SignedConv(OUT, OUT, first_aggr=False)

    def forward(self, x, edge_index):
        half = edge_index.shape[1] // 2
        positive, negative = edge_index[:, :half], edge_index[:, half:]
        return self.second(self.first(x, positive, negative), positive, negative)


class _Labels(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.conv = pyg.LabelPropagation(3, draw.choice([0.3, 0.9]))

    def forward(self, x, edge_index, edge_weight=None):
        return self.conv(x.sigmoid(), edge_index, edge_weight=edge_weight)


class _OfEdges(nn.Module):
    """A map of rows of the adjacency matrix, which LINKX begins with."""

    def __init__(self, draw):
        super().__init__()
        self.conv = SparseLinear(7, OUT, bias=_flag(draw))

    def forward(self, x, edge_index, edge_weight=None):
        return self.conv(edge_index, edge_weight) + x[:, :OUT]


def _simple(draw):
    return pyg.SimpleConv(combine_root=draw.choice([None, "sum", "cat", "self_loop"]), **_options(draw))


def _gin(draw):
    return pyg.GINConv(nn.Linear(IN, OUT), eps=0.3, train_eps=_flag(draw), **_options(draw))


def _cluster(draw):  # without its self-loops PyG's fails on most graphs
    return pyg.ClusterGCNConv(IN, OUT, diag_lambda=draw.choice([0.0, 0.3]), **_options(draw))


def _sage(draw):
    return pyg.SAGEConv(
        IN, OUT, normalize=_flag(draw), root_weight=_flag(draw), project=_flag(draw), bias=_flag(draw), **_options(draw)
    )


def _pna(draw):
    aggregators = draw.sample(["sum", "mean", "min", "max", "var", "std"], draw.choice([1, 3, 6]))
    scalers = draw.sample(["identity", "amplification", "attenuation", "linear", "inverse_linear"], draw.choice([1, 3]))
    towers, divide = draw.choice([(1, False), (1, True), (2, False), (2, True)])
    options = {"towers": towers, "divide_input": divide, "post_layers": draw.choice([1, 2]), "train_norm": _flag(draw)}
    flow = _options(draw)["flow"]
    return pyg.PNAConv(6, OUT, aggregators, scalers, torch.tensor([1, 4, 6, 3]), flow=flow, **options)


def _le(draw):
    options = _options(draw, aggr=draw.choice(["add", "sum", "mean"]), bias=_flag(draw))
    return pyg.LEConv(IN, OUT, **options)


MAKERS = {
    pyg.GCNConv: _gcn,
    pyg.GATConv: _attention(pyg.GATConv),
    pyg.GATv2Conv: _attention(pyg.GATv2Conv),
    pyg.TransformerConv: _transformer,
    pyg.GraphConv: _weighted(lambda draw: pyg.GraphConv(IN, OUT, bias=_flag(draw), **_options(draw))),
    pyg.SAGEConv: _unweighted(_sage),
    pyg.GINConv: _unweighted(_gin),
    pyg.MFConv: _unweighted(lambda draw: pyg.MFConv(IN, OUT, max_degree=3, **_options(draw))),
    pyg.SGConv: _weighted(lambda draw: pyg.SGConv(IN, OUT, K=2, add_self_loops=_flag(draw), **_options(draw))),
    pyg.SSGConv: _weighted(lambda draw: pyg.SSGConv(IN, OUT, 0.2, K=2, add_self_loops=_flag(draw), **_options(draw))),
    pyg.TAGConv: _weighted(lambda draw: pyg.TAGConv(IN, OUT, K=2, normalize=_flag(draw), **_options(draw))),
    pyg.APPNP: _weighted(_appnp),
    pyg.GCN2Conv: _weighted(_GCN2),
    pyg.ARMAConv: _weighted(
        lambda draw: pyg.ARMAConv(IN, OUT, num_stacks=2, num_layers=2, shared_weights=_flag(draw), **_options(draw))
    ),
    pyg.ChebConv: _cheb,
    pyg.LGConv: _weighted(lambda draw: pyg.LGConv(normalize=_flag(draw), **_options(draw))),
    pyg.MixHopConv: _weighted(lambda draw: pyg.MixHopConv(IN, OUT, powers=[0, 1, 2], **_options(draw))),
    pyg.PDNConv: _pdn,
    pyg.GatedGraphConv: _weighted(lambda draw: pyg.GatedGraphConv(6, 2, **_options(draw))),
    pyg.ClusterGCNConv: _unweighted(_cluster),
    pyg.RGCNConv: _rgcn,
    pyg.DirGNNConv: _unweighted(lambda draw: pyg.DirGNNConv(_sage(draw), alpha=0.3, root_weight=_flag(draw))),
    pyg.SignedConv: _unweighted(_Signed),
    pyg.LabelPropagation: _weighted(_Labels),
    pyg.WLConvContinuous: _weighted(lambda _: pyg.WLConvContinuous()),
    pyg.LEConv: _weighted(_le),
    pyg.PNAConv: _unweighted(_pna, 6),
    pyg.SimpleConv: _weighted(_simple),
    SparseLinear: _weighted(_OfEdges),
}


def test_every_class_is_here():
    assert set(MAKERS) == set(adapted_classes())


def test_every_class_with_known_messages_is_swapped():
    """Apart from PANConv, which multiplies with a matrix."""
    swapped = {cls.message for cls in adapted_classes() if hasattr(cls, "message")}
    assert set(_forms) - swapped == {pyg.PANConv.message}


def _edges(kind, generator):
    if kind != "one loop":
        return random_edges(kind, 7, 7, 20, generator)
    edges = random_edges("plain", 7, 7, 20, generator)
    return torch.cat([edges[:, edges[0] != edges[1]], torch.tensor([[2, 4], [2, 4]])], dim=1)


CONFIGURATIONS = [
    *((cls, seed) for cls in MAKERS for seed in range(14)),
    *((cls, seed) for cls in (pyg.PNAConv, pyg.LEConv) for seed in range(14, 150)),
]


@pytest.mark.parametrize(("cls", "seed"), CONFIGURATIONS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_random_configurations(cls, seed):
    draw = random.Random(f"{cls.__name__} {seed}")
    torch.manual_seed(seed)
    edges = _edges(KINDS[seed % len(KINDS)], torch.Generator().manual_seed(seed))
    case = MAKERS[cls](draw, edges)
    # Of parallel loops PyG gives all a gradient, though only one of them has an effect.
    loops = edges[:, edges[0] == edges[1]]
    if loops.unique(dim=1).shape[1] < loops.shape[1]:
        if cls is pyg.PDNConv:
            edges = edges[:, edges[0] != edges[1]]
            case.keywords["edge_attr"] = case.keywords["edge_attr"].detach()[: edges.shape[1]].requires_grad_()
        elif "edge_weight" in case.keywords:
            case.keywords["edge_weight"] = case.keywords["edge_weight"].detach()
    layer = case.layer.double()
    x = torch.randn(7, case.width, dtype=torch.double, requires_grad=True)
    tensors = {"x": x, **{key: value for key, value in case.keywords.items() if getattr(value, "requires_grad", False)}}
    used = {**tensors, **dict(layer.named_parameters())}
    expected = layer(x, edges, **case.keywords)
    expected_gradients = gradients(expected, used)
    report = lcat.accelerate(layer)
    assert len(report) >= 1, report
    for _ in range(2):  # the second time with what was kept
        out = layer(x, edges, **case.keywords)
        assert_same(out, expected, "output")
        assert_same_gradients(gradients(out, used), expected_gradients)
    lcat.restore(layer)
    torch.testing.assert_close(layer(x, edges, **case.keywords), expected, rtol=0, atol=0)


@pytest.mark.parametrize("cls", [pyg.GraphConv, pyg.SAGEConv, pyg.GATConv, pyg.GATv2Conv, pyg.RGCNConv, pyg.LEConv])
def test_bipartite(cls):
    torch.manual_seed(0)
    edges = torch.stack([torch.randint(9, (20,)), torch.randint(6, (20,))])
    keywords = {}
    if cls is pyg.RGCNConv:
        layer, keywords = cls((5, 3), 4, 2), {"edge_type": torch.randint(2, (20,))}
    else:
        more = {"add_self_loops": False} if cls in (pyg.GATConv, pyg.GATv2Conv) else {}
        layer = cls((5, 3), 4, **more)
    layer = layer.double()
    pair = torch.randn(9, 5, dtype=torch.double), torch.randn(6, 3, dtype=torch.double)
    expected = layer(pair, edges, **keywords)
    lcat.accelerate(layer)
    for _ in range(2):
        assert_same(layer(pair, edges, **keywords), expected, "output")


def test_relations_of_nodes_without_features():
    torch.manual_seed(0)
    layer = pyg.RGCNConv(7, 4, 3, num_bases=2).double()
    edges, types = torch.randint(7, (2, 20)), torch.randint(3, (20,))
    expected = layer(None, edges, types)
    lcat.accelerate(layer)
    assert_same(layer(None, edges, types), expected, "output")
    assert_same(layer(torch.arange(7), edges, types), expected, "output")


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.parametrize(
    "make",
    [
        lambda: pyg.SGConv(IN, OUT, K=2),
        lambda: pyg.SAGEConv(IN, OUT),
        lambda: pyg.GraphConv(IN, OUT),
        lambda: pyg.TAGConv(IN, OUT),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor support is in beta state", "ignore:Converting sparse tensor to CSR"
)
def test_matrices(make, layout):
    torch.manual_seed(0)
    edges = torch.randint(7, (2, 20))
    matrix = torch.sparse_coo_tensor(edges, torch.rand(20, dtype=torch.double), (7, 7)).coalesce()
    matrix = matrix.to_sparse(layout=layout)
    layer, x = make().double(), torch.randn(7, IN, dtype=torch.double)
    expected = layer(x, matrix)
    lcat.accelerate(layer)
    assert_same(layer(x, matrix), expected, "output")


def test_features_of_edges_that_pyg_adds_to_values():
    layer, edges = pyg.TransformerConv(IN, OUT).double(), torch.randint(7, (2, 20))
    x, features = torch.randn(7, IN, dtype=torch.double), torch.randn(20, 1, OUT, dtype=torch.double)
    expected = layer(x, edges, features)
    lcat.accelerate(layer)
    assert_same(layer(x, edges, features), expected, "output")


def test_attention_of_a_transformer():
    layer, edges = pyg.TransformerConv(IN, OUT, heads=2).double(), torch.randint(7, (2, 20))
    x = torch.randn(7, IN, dtype=torch.double)
    expected, (_, expected_alpha) = layer(x, edges, return_attention_weights=True)
    lcat.accelerate(layer)
    out, (_, alpha) = layer(x, edges, return_attention_weights=True)
    assert_same(out, expected, "output")
    assert_same(alpha, expected_alpha, "attention")
