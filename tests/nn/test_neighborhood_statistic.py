"""What a layer must know of the neighborhoods of sources: exact for the targets of a block, enough for its output."""

from __future__ import annotations

import pytest
import torch

import lcat.nn
from lcat.nn import NeighborhoodStatistic
from tests.support.compare import assert_same

NODES = 30
CASES = [
    ("GCNConv", {}),
    ("GCNConv", {"improved": True}),
    ("GCNConv", {"add_self_loops": False}),
    ("CATConv", {}),
    ("LCATConv", {}),
    ("LCATConv", {"neighbor_aggr": "mean", "share_weights": False}),
    ("LCATConv", {"score_bias": True, "add_self_loops": False}),
    ("LCATConv", {"cache_neighbor_sum": True}),
    ("CATv2Conv", {}),
    ("LCATv2Conv", {}),
    ("LCATv2Conv", {"share_weights": True}),
    ("LCATv2Conv", {"neighbor_aggr": "mean", "share_values": False}),
    ("LCATv2Conv", {"cache_neighbor_sum": True}),
]


@pytest.fixture
def graph():
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(0, NODES, (2, 150), generator=generator)
    edge_index[1, :8] = edge_index[0, :8]  # self-loops
    edge_index[:, 20:30] = edge_index[:, 30:40]  # parallel edges
    return torch.randn(NODES, 8, generator=generator), edge_index, torch.rand(150, generator=generator)


def make(name, options, width=4):
    torch.manual_seed(1)
    heads = {} if name == "GCNConv" else {"heads": 2}
    return getattr(lcat.nn, name)(8, width, **heads, **options).eval()


def block_of(edge_index, num_targets):
    """Nodes (targets first) and renumbered in-edges of the first nodes, and which edges these are."""
    inside = edge_index[1] < num_targets
    sources = edge_index[0, inside]
    nodes = torch.cat([torch.arange(num_targets), sources[sources >= num_targets].unique()])
    numbers = torch.full((NODES,), -1)
    numbers[nodes] = torch.arange(len(nodes))
    return nodes, numbers[edge_index[:, inside]], inside


@pytest.mark.parametrize("width", [2, 20])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
@torch.no_grad()
def test_a_block_computes_what_the_graph_computes(name, options, weighted, width, graph):
    x, edge_index, weight = graph
    layer = make(name, options, width)
    of_all = {"edge_weight": weight} if weighted else {}
    whole = layer(x, edge_index, **of_all)
    statistic = layer.neighborhood_statistic(x, edge_index, **of_all)
    assert_same(layer(x, edge_index, **of_all, statistic=statistic), whole, "handed back on the whole graph", 0.0)

    nodes, inner_edges, inside = block_of(edge_index, 10)
    of_block = {"edge_weight": weight[inside]} if weighted else {}
    from_block = layer.neighborhood_statistic(x[nodes], inner_edges, **of_block)
    assert_same(from_block[:10], statistic[:10], "statistic of the targets of a block", 1e-6)
    out = layer(x[nodes], inner_edges, **of_block, statistic=statistic[nodes])
    assert_same(out[:10], whole[:10], "output of the targets of a block", 1e-6)
    without = layer(x[nodes], inner_edges, **of_block)
    assert not torch.allclose(without[:10], whole[:10], atol=1e-4), "this graph needs the statistic"


@pytest.mark.parametrize(("name", "options"), CASES)
@torch.no_grad()
def test_with_hooks_that_look_at_messages(name, options, graph):
    x, edge_index, _ = graph
    layer = make(name, options)
    whole = layer(x, edge_index)
    statistic = layer.neighborhood_statistic(x, edge_index)
    layer.register_message_forward_hook(lambda *_: None)
    assert_same(layer.neighborhood_statistic(x, edge_index), statistic, "statistic", 1e-6)
    assert_same(layer(x, edge_index, statistic=statistic), whole, "output", 1e-6)


def test_numbers_of_gcn(graph):
    x, edge_index, weight = graph
    degree = torch.zeros(NODES).index_add(0, edge_index[1], torch.ones(150))
    without_loops = make("GCNConv", {"add_self_loops": False}).neighborhood_statistic(x, edge_index)
    assert_same(without_loops, torch.where(degree > 0, degree.pow(-0.5), 0.0), "degrees", 1e-6)
    proper = edge_index[0] != edge_index[1]
    degree = torch.ones(NODES).index_add(0, edge_index[1, proper], torch.ones(int(proper.sum())))
    assert_same(make("GCNConv", {}).neighborhood_statistic(x, edge_index), degree.pow(-0.5), "with loops", 1e-6)
    total = torch.zeros(NODES).index_add(0, edge_index[1], weight)
    weighted = make("GCNConv", {"add_self_loops": False}).neighborhood_statistic(x, edge_index, weight)
    assert_same(weighted, torch.where(total > 0, total.pow(-0.5), 0.0), "weights", 1e-6)
    half = make("GCNConv", {}).bfloat16().neighborhood_statistic(x.bfloat16(), edge_index)
    assert half.dtype == torch.float32


@torch.no_grad()
def test_numbers_of_lcat(graph):
    x, edge_index, _ = graph
    proper = edge_index[:, edge_index[0] != edge_index[1]]
    matrix = torch.zeros(NODES, NODES).index_put((proper[1], proper[0]), torch.tensor(1.0), accumulate=True)
    layer = make("LCATv2Conv", {"lambda2": 0.3}, width=20)  # averages of x, which is narrower than keys and queries
    averages = (x + 0.3 * matrix @ x) / (1.0 + 0.3 * matrix.sum(dim=1, keepdim=True))
    assert_same(layer.neighborhood_statistic(x, edge_index), averages, "v2", 1e-6)
    layer = make("CATConv", {})
    h = layer.lin(x).unflatten(-1, (2, 4))
    scalars = torch.cat([(h * layer.att_src).sum(-1), (h * layer.att_dst).sum(-1)], dim=-1)
    averages = (scalars + matrix @ scalars) / (1.0 + matrix.sum(dim=1, keepdim=True))
    assert_same(layer.neighborhood_statistic(x, edge_index), averages, "v1", 1e-5)


def test_who_needs_what(graph):
    x, edge_index, _ = graph
    for name in ("GATConv", "GATv2Conv"):
        layer = make(name, {})
        assert layer.statistic_depends_on is None
        assert not isinstance(layer, NeighborhoodStatistic)
    for name, options in (
        ("GCNConv", {"normalize": False}),
        ("LCATConv", {"lambda2": 0.0}),
        ("LCATv2Conv", {"lambda2": 0.0}),
    ):
        layer = make(name, options)
        assert layer.statistic_depends_on is None
        assert layer.neighborhood_statistic(x, edge_index) is None
        with pytest.raises(ValueError, match=f"'statistic' was passed to a {name} that needs none"):
            layer(x, edge_index, statistic=torch.ones(NODES, 4))
    for name, options in CASES:
        layer = make(name, options)
        assert isinstance(layer, NeighborhoodStatistic)
        assert layer.statistic_depends_on == ("edges" if name == "GCNConv" else "features")


@pytest.mark.parametrize("name", ["CATConv", "LCATv2Conv"])
def test_sources_of_bipartite_graphs_are_not_averaged(name, graph):
    x, edge_index, _ = graph
    torch.manual_seed(1)
    layer = getattr(lcat.nn, name)((8, 8), 4)
    assert layer.neighborhood_statistic((x, x.clone()), edge_index) is None
    with pytest.raises(ValueError, match="needs none"):
        layer((x, x.clone()), edge_index, statistic=torch.ones(NODES, 2))


@pytest.mark.parametrize(("name", "options"), [("GCNConv", {}), ("CATConv", {}), ("LCATv2Conv", {})])
def test_bad_statistics(name, options, graph):
    x, edge_index, _ = graph
    layer = make(name, options)
    with pytest.raises(ValueError, match=rf"'statistic' of {name} has shape \[7, 4\], but 'x' has 30 nodes"):
        layer(x, edge_index, statistic=torch.ones(7, 4))
    with pytest.raises(TypeError, match=rf"'statistic' of {name} is of type list"):
        layer(x, edge_index, statistic=[1.0])


def test_a_cached_normalization_takes_none(graph):
    x, edge_index, _ = graph
    layer = make("GCNConv", {"cached": True})
    with pytest.raises(ValueError, match="needs none"):
        layer(x, edge_index, statistic=torch.ones(NODES))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_static_graphs(name, options, graph):
    x, edge_index, _ = graph
    layer, both = make(name, options), torch.stack([x, -x])
    with torch.no_grad():
        statistic = layer.neighborhood_statistic(both, edge_index)
        assert statistic.shape[0] == NODES
        assert_same(layer(both, edge_index, statistic=statistic), layer(both, edge_index), "static graph", 0.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_gcn_takes_one_real_number_per_node_for_real_features(weighted):
    """A complex statistic lost its imaginary part, and a column made a number for every pair of edges."""
    conv, x, edges = lcat.nn.GCNConv(4, 3), torch.randn(5, 4), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    weight = torch.rand(4) if weighted else None
    statistic = conv.neighborhood_statistic(x, edges, weight)
    with pytest.raises(ValueError, match=r"'statistic' of GCNConv has dtype torch.complex64, 'x' has torch.float32"):
        conv(x, edges, weight, statistic=statistic * (1 + 1j))
    with pytest.raises(ValueError, match=r"'statistic' of GCNConv has shape \[5, 1\]; it takes one number per node"):
        conv(x, edges, weight, statistic=statistic[:, None])
    with pytest.raises(ValueError, match=r"'statistic' of GCNConv has dtype torch.int64"):
        conv(x, edges, weight, statistic=torch.ones(5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"'statistic' of GCNConv is on meta"):
        conv(x, edges, weight, statistic=statistic.to("meta"))
    assert torch.allclose(conv(x, edges, weight, statistic=statistic.double()), conv(x, edges, weight))


@pytest.mark.filterwarnings("ignore:Complex modules")
def test_gcn_takes_a_complex_statistic_for_complex_features():
    conv, x = lcat.nn.GCNConv(4, 3).to(torch.complex64), torch.randn(5, 4, dtype=torch.complex64)
    edges, weight = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), torch.rand(4) * (1 + 0.5j)
    statistic = conv.neighborhood_statistic(x, edges, weight)
    assert statistic.is_complex()
    assert torch.allclose(conv(x, edges, weight, statistic=statistic), conv(x, edges, weight))
