"""Layer by layer equals the whole graph at once, for every layer."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch_geometric.data import Data
from torch_geometric.nn import GraphNorm, MessagePassing
from torch_geometric.nn import models as pyg_models
from torch_geometric.nn.models import GraphSAGE
from torch_geometric.utils import degree

from lcat.data import CSCGraph
from lcat.nn import CATConv, GATConv, GCNConv, LCATConv
from lcat.nn.models import CAT, GAT, GCN, LCAT, CATv2, GATv2, LCATv2
from lcat.train import LayerStep, layerwise_inference
from lcat.train.inference import _blocks


def random_graph(nodes=150, edges=900, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, nodes, (2, edges), generator=generator)
    edge_index[:, :40] = edge_index[:, 40:80]  # parallel edges
    edge_index[1, 100:140] = edge_index[0, 100:140]  # self-loops
    edge_index[1, 200:400] = 7  # a hub
    edge_index[1][edge_index[1] > nodes - 20] = 3  # nodes without in-edges
    return Data(x=torch.randn(nodes, 12, generator=generator), edge_index=edge_index)


ALL = [
    (GCN, {}),
    (GCN, {"improved": True}),
    (GCN, {"normalize": False}),
    (GAT, {"heads": 2}),
    (GAT, {"heads": 2, "add_self_loops": False, "residual": True}),
    (GATv2, {"heads": 2, "share_weights": True}),
    (CAT, {"heads": 2}),
    (CATv2, {"heads": 2}),
    (LCAT, {"heads": 2}),
    (LCAT, {"heads": 2, "share_values": False, "score_bias": True, "add_self_loops": False}),
    (LCAT, {"heads": 2, "neighbor_aggr": "mean"}),
    (LCAT, {"heads": 2, "cache_neighbor_sum": True}),
    (LCATv2, {"heads": 2, "cache_neighbor_sum": True}),
    (LCAT, {"heads": 2, "lambda2": 0.0}),
    (LCATv2, {"heads": 2}),
    (LCATv2, {"heads": 8, "share_weights": True, "residual": True}),
    (LCATv2, {"heads": 2, "neighbor_aggr": "mean", "share_values": False}),
    (GraphSAGE, {}),
]


@pytest.mark.parametrize(("model_class", "options"), ALL, ids=lambda value: getattr(value, "__name__", str(value)))
def test_equals_the_whole_graph_at_once(model_class, options):
    data = random_graph(nodes=60, edges=360)
    model = model_class(12, 16, num_layers=3, out_channels=5, dropout=0.5, norm="batch_norm", **options)
    model(data.x, data.edge_index)  # running statistics of their own
    with torch.no_grad():
        whole = model.eval()(data.x, data.edge_index)
        model.train()
        for rows, edges in ((1000, 10_000), (20, 10_000), (60, 30), (1, 1)):
            blockwise = layerwise_inference(model, data.x, data.edge_index, rows=rows, edges=edges)
            torch.testing.assert_close(blockwise, whole, atol=1e-5, rtol=1e-5)
    assert model.training, "the mode is put back"


@pytest.mark.parametrize("model_class", [GCN, GAT, LCATv2])
@pytest.mark.parametrize(
    "options",
    [
        {"jk": "cat"},
        {"jk": "max", "act": "elu", "act_first": True},
        {"jk": "last", "out_channels": 3},
        {"norm": "layer_norm", "norm_kwargs": {"mode": "node"}},
        {"norm": "layer_norm"},
        {"norm": GraphNorm(16)},
        {"act": None},
        {"num_layers": 1},
    ],
    ids=str,
)
def test_all_that_a_model_may_have(model_class, options):
    data = random_graph()
    options = {"num_layers": 3, "out_channels": 4, **options}
    model = model_class(12, 16, **options).eval()
    with torch.no_grad():
        whole = model(data.x, data.edge_index)
    torch.testing.assert_close(
        layerwise_inference(model, data.x, data.edge_index, rows=37), whole, atol=1e-5, rtol=1e-5
    )


def test_edge_features_and_weights():
    data = random_graph()
    attr, weight = torch.randn(900, 6), torch.rand(900)
    for model in (LCAT(12, 16, 2, 4, heads=2, edge_dim=6).eval(), LCATv2(12, 16, 2, 4, heads=2, edge_dim=6).eval()):
        with torch.no_grad():
            whole = model(data.x, data.edge_index, edge_attr=attr)
        blockwise = layerwise_inference(model, data.x, data.edge_index, edge_attr=attr, rows=31)
        torch.testing.assert_close(blockwise, whole, atol=1e-5, rtol=1e-5)
    model = GCN(12, 16, 2, 4).eval()
    with torch.no_grad():
        whole = model(data.x, data.edge_index, edge_weight=weight)
    blockwise = layerwise_inference(model, data.x, data.edge_index, edge_weight=weight, rows=31)
    torch.testing.assert_close(blockwise, whole, atol=1e-5, rtol=1e-5)


def test_from_files(tmp_path):
    data = random_graph()
    np.save(tmp_path / "x.npy", data.x.half().numpy())
    x = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    CSCGraph.from_edges(data.edge_index, 150).save(tmp_path / "graph")
    model = CATv2(12, 16, 3, 4, heads=2).eval()
    with torch.no_grad():
        whole = model(data.x.half().float(), data.edge_index)
    blockwise = layerwise_inference(model, x, CSCGraph.open(tmp_path / "graph"), rows=40, folder=tmp_path / "layers")
    torch.testing.assert_close(blockwise, whole, atol=1e-5, rtol=1e-5)
    assert list((tmp_path / "layers").iterdir()) == [], "the files have no names any more"


class Residual(nn.Module):
    """A custom model: any layers, with what comes between them."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([GCNConv(12, 12), LCATConv(12, 6, heads=2), GATConv(12, 3)])

    def layer_steps(self):
        first, second, third = self.convs
        return [
            LayerStep(first, then=lambda out, x: F.relu(out) + x),
            LayerStep(second, then=lambda out, x: F.elu(out) + x),
            LayerStep(third),
        ]

    def forward(self, x, edge_index):
        for step in self.layer_steps():
            x = step.then(step.conv(x, edge_index), x)
        return x


def test_a_custom_model():
    data = random_graph()
    model = Residual().eval()
    with torch.no_grad():
        whole = model(data.x, data.edge_index)
    torch.testing.assert_close(layerwise_inference(model, data.x, data.edge_index, rows=9), whole, atol=1e-5, rtol=1e-5)


class Prepared(Residual):
    """What a model does before its layers, to rows and to all of them, and after the last one with those of all."""

    def __init__(self):
        super().__init__()
        self.narrow, self.norm, self.last = nn.Linear(30, 12), nn.LayerNorm(12), nn.Linear(12 + 12 + 3, 2)

    def layer_steps(self):
        first, second, third = self.convs
        return [
            LayerStep(first, lambda out, x: out + self.narrow(x), before=lambda x: self.norm(self.narrow(x))),
            LayerStep(second, lambda out, x: out + x, before_on_all=lambda x: x - x.mean(dim=0)),
            LayerStep(third, lambda out, x: out - x[:, :3], lambda out: out / out.norm(), before=torch.tanh),
        ]

    def layer_head(self, layers):
        return self.last(torch.cat(layers, dim=1))

    def forward(self, x, edge_index):
        outputs = []
        for step in self.layer_steps():
            ready = next((make(x) for make in (step.before, step.before_on_all) if make is not None), x)
            x = step.then(step.conv(ready, edge_index), x)
            x = x if step.on_all is None else step.on_all(x)
            outputs.append(x)
        return self.layer_head(outputs)


@torch.no_grad()
def test_what_a_model_does_before_its_layers_and_after_all_of_them():
    data, model = random_graph(), Prepared().eval()
    x = torch.randn(data.x.shape[0], 30)
    whole = model(x, data.edge_index)
    assert whole.shape[1] == 2
    torch.testing.assert_close(layerwise_inference(model, x, data.edge_index, rows=9), whole, atol=1e-5, rtol=1e-5)


def test_steps_and_heads_that_do_not_fit():
    with pytest.raises(ValueError, match="expected 'before' or 'before_on_all' of a LayerStep, got both"):
        LayerStep(GCNConv(2, 2), before=torch.tanh, before_on_all=torch.tanh)
    data, model = random_graph(), Prepared().eval()
    x = torch.randn(data.x.shape[0], 30)
    model.layer_head = lambda layers: layers[0].sum(dim=0)
    with pytest.raises(ValueError, match="what Prepared does after its last layer returned shape"):
        layerwise_inference(model, x, data.edge_index)
    for name in ("before", "before_on_all"):
        step = LayerStep(GCNConv(30, 2), **{name: lambda x: x[:1]})
        model.layer_steps = lambda step=step: [step]
        with pytest.raises(ValueError, match=rf"'{name}' of the LayerStep of GCNConv returned shape \[1, 30\]"):
            layerwise_inference(model, x, data.edge_index)


def test_a_forward_of_ones_own_is_not_passed_over():
    """Layers of PyG's models say what they compute; what a subclass does instead, they do not say."""

    class Scaled(GCN):
        def forward(self, x, edge_index):
            return 2 * super().forward(x, edge_index)

    class Other(GCN):
        def init_conv(self, *args, **kwargs):
            return super().init_conv(*args, **kwargs)

    data = random_graph()
    with pytest.raises(TypeError, match=r"Scaled has a forward of its own \(in .*\), so its layers alone do not say"):
        layerwise_inference(Scaled(12, 8, 2), data.x, data.edge_index)
    model = Other(12, 8, 2).eval()
    with torch.no_grad():
        whole = model(data.x, data.edge_index)
    torch.testing.assert_close(layerwise_inference(model, data.x, data.edge_index), whole, atol=1e-5, rtol=1e-5)


class Surprise(MessagePassing):
    """A custom layer that weighs a source by how far it is from its own in-neighbors' sum."""

    statistic_depends_on = "features"

    def neighborhood_statistic(self, x, edge_index, edge_weight=None):
        weight = 1.0 if edge_weight is None else edge_weight.view(-1, 1)
        sums = torch.zeros_like(x).index_add(0, edge_index[1], weight * x[edge_index[0]])
        return (x - sums).norm(dim=1, keepdim=True) / 10

    def forward(self, x, edge_index, edge_weight=None, statistic=None):
        if statistic is None:
            statistic = self.neighborhood_statistic(x, edge_index, edge_weight)
        return self.propagate(edge_index, x=(x * statistic).tanh())


class Discounted(Surprise):
    """A custom layer whose statistic needs the edges alone: it gets no features."""

    statistic_depends_on = "edges"

    def neighborhood_statistic(self, x, edge_index, edge_weight=None):
        return 1 / (1 + degree(edge_index[1], x.shape[0]).view(-1, 1))


class OneHop(MessagePassing):
    statistic_depends_on = None

    def forward(self, x, edge_index, edge_weight=None):
        return self.propagate(edge_index, x=x).tanh()


class Custom(nn.Module):
    def __init__(self, *convs):
        super().__init__()
        self.convs, self.scale = nn.ModuleList(convs), nn.Parameter(torch.tensor(0.5))

    def layer_steps(self):
        return [LayerStep(conv, then=lambda out, x: self.scale * out + x) for conv in self.convs]

    def forward(self, x, edge_index, **per_edge):
        for step in self.layer_steps():
            x = step.then(step.conv(x, edge_index, **per_edge), x)
        return x


@pytest.mark.parametrize("layer", [Surprise, Discounted, OneHop])
@pytest.mark.parametrize("weighted", [False, True])
@torch.no_grad()
def test_custom_layers_declare_what_they_need(layer, weighted):
    data, model = random_graph(), Custom(layer(), layer(), layer())
    per_edge = {"edge_weight": torch.rand(900)} if weighted else {}
    whole = model(data.x, data.edge_index, **per_edge)
    blocks = layerwise_inference(model, data.x, data.edge_index, rows=13, **per_edge)
    torch.testing.assert_close(blocks, whole, atol=1e-5, rtol=1e-5)


def test_a_statistic_of_edges_sees_no_features():
    class Watching(Discounted):
        def neighborhood_statistic(self, x, edge_index, edge_weight=None):
            assert x.shape[1] == 12
            assert not x.any()
            return super().neighborhood_statistic(x, edge_index)

    data = random_graph()
    layerwise_inference(Custom(Watching()), data.x, data.edge_index, rows=40)


def test_custom_layers_that_do_not_keep_to_what_they_declare():
    class Incomplete(OneHop):
        statistic_depends_on = "features"

    class Rowless(Surprise):
        def neighborhood_statistic(self, x, edge_index, edge_weight=None):
            return x[:1]

    class Empty(Surprise):
        def neighborhood_statistic(self, x, edge_index, edge_weight=None):
            return None

    data = random_graph()
    with pytest.raises(TypeError, match=r"not known how far a .*Incomplete looks.*NeighborhoodStatistic"):
        layerwise_inference(Custom(Incomplete()), data.x, data.edge_index)
    with pytest.raises(ValueError, match=r"of Rowless returned shape \[1, 12\] for a block of 150 nodes"):
        layerwise_inference(Custom(Rowless()), data.x, data.edge_index)
    with pytest.raises(ValueError, match=r"of Empty returned None for a block"):
        layerwise_inference(Custom(Empty()), data.x, data.edge_index)


@pytest.mark.parametrize(
    ("member", "returned", "error", "message"),
    [
        (
            "neighborhood_statistic",
            [1.0],
            TypeError,
            "'neighborhood_statistic' of Wrong returned an object of type list",
        ),
        ("neighborhood_statistic", np.ones((150, 1)), TypeError, "returned an object of type ndarray"),
        ("neighborhood_statistic", torch.tensor(1.0), ValueError, r"of Wrong returned shape \[\] for a block of 150"),
        ("forward", (torch.ones(150, 12), None), TypeError, "the layer Wrong returned an object of type tuple"),
        ("forward", None, TypeError, "the layer Wrong returned an object of type NoneType"),
        ("forward", torch.ones(12), ValueError, r"the layer Wrong returned shape \[12\] for a block of 150 nodes"),
        (
            "then",
            (torch.ones(150, 12),),
            TypeError,
            "'then' of the LayerStep of Wrong returned an object of type tuple",
        ),
    ],
)
def test_custom_layers_that_return_something_else(member, returned, error, message):
    class Wrong(Surprise):
        pass

    def answer(*args, **kwargs):
        return returned

    model = Custom(Wrong())
    if member == "then":
        step = LayerStep(Wrong(), answer)
        model.layer_steps = lambda: [step]
    else:
        setattr(Wrong, member, answer)
    data = random_graph()
    with pytest.raises(error, match=message):
        layerwise_inference(model, data.x, data.edge_index)


def test_declarations_of_another_type():
    data, model = random_graph(), Custom(Surprise())
    model.layer_steps = lambda: None
    with pytest.raises(TypeError, match="'layer_steps' of Custom returned NoneType; expected a list of LayerSteps"):
        layerwise_inference(model, data.x, data.edge_index)
    model.layer_steps = lambda: [Surprise()]
    with pytest.raises(
        TypeError, match="'layer_steps' of Custom returned Surprise at position 0; expected a LayerStep"
    ):
        layerwise_inference(model, data.x, data.edge_index)

    class Misspelt(Surprise):
        statistic_depends_on = "feature"

    with pytest.raises(ValueError, match="'statistic_depends_on' of Misspelt is 'feature'; it takes None or one of"):
        layerwise_inference(Custom(Misspelt()), data.x, data.edge_index)


@torch.no_grad()
def test_weights_that_hooks_compute_are_up_to_date():
    """Pruning computes a layer's weights in a hook before its forward; the statistic must not see older ones."""
    data, conv = random_graph(), CATConv(12, 6, heads=2)
    prune.random_unstructured(conv, "att_src", amount=0.3)
    conv.att_src_orig.mul_(2.0)  # as an optimizer does
    model = Custom(conv)
    blocks = layerwise_inference(model, data.x, data.edge_index, rows=9)
    torch.testing.assert_close(blocks, model.eval()(data.x, data.edge_index), atol=1e-5, rtol=1e-5)


def test_double_precision_to_rounding():
    data = random_graph()
    model = LCATv2(12, 16, 3, 4, heads=2).eval().double()
    with torch.no_grad():
        whole = model(data.x.double(), data.edge_index)
    blockwise = layerwise_inference(model, data.x.double(), data.edge_index, rows=9)
    torch.testing.assert_close(blockwise, whole, atol=1e-13, rtol=1e-12)


def test_blocks_keep_to_both_limits():
    data = random_graph()
    graph = CSCGraph.from_edges(data.edge_index, 150)
    blocks = _blocks(graph, 20, 100)
    assert [begin for begin, _ in blocks] == [0, *(end for _, end in blocks[:-1])]
    assert blocks[-1][1] == 150
    for begin, end in blocks:
        held = int(graph.indptr[end] - graph.indptr[begin])
        assert end - begin <= 20
        assert held <= 100 or end - begin == 1
    assert any(end - begin == 1 for begin, end in blocks), "the hub is a block of its own"


@pytest.mark.parametrize("edges", [torch.empty(2, 0).long(), torch.zeros(2, 5).long()])
def test_small_graphs(edges):
    model = LCAT(12, 16, 2, 4).eval()
    x = torch.randn(4, 12)
    with torch.no_grad():
        whole = model(x, edges)
    torch.testing.assert_close(layerwise_inference(model, x, edges, rows=2), whole, atol=1e-5, rtol=1e-5)


def test_refusals():
    data = random_graph()
    with pytest.raises(TypeError, match=r"takes a BasicGNN, as the models of lcat.nn.models are .*got Linear"):
        layerwise_inference(nn.Linear(12, 3), data.x, data.edge_index)
    with pytest.raises(TypeError, match=r"not known how far a torch_geometric.*GCNConv looks"):
        layerwise_inference(pyg_models.GCN(12, 8, 2), data.x, data.edge_index)
    with pytest.raises(ValueError, match="cached=True"):
        layerwise_inference(GCN(12, 8, 2, cached=True), data.x, data.edge_index)
    with pytest.raises(ValueError, match="x has 150 rows and the graph"):
        layerwise_inference(GCN(12, 8, 2), data.x, CSCGraph.from_edges(data.edge_index[:, :0], 3))
    for name, value in (("rows", 0), ("rows", "5"), ("edges", 1.5)):
        with pytest.raises(ValueError, match=f"{name} must be a whole number, at least 1; got {value!r}"):
            layerwise_inference(GCN(12, 8, 2), data.x, data.edge_index, **{name: value})
    for x in (data.x.numpy(), data.x.tolist()):
        with pytest.raises(TypeError, match=r"as x, got (ndarray|list): use torch.as_tensor\(x\)"):
            layerwise_inference(GCN(12, 8, 2), x, data.edge_index)


def test_folder_that_is_a_file(tmp_path):
    x, edge_index = torch.randn(3, 12), torch.tensor([[0, 1], [1, 2]])
    path = tmp_path / "layers"
    path.write_text("mine")
    with pytest.raises(ValueError, match="expected a folder as 'folder', got the file"):
        layerwise_inference(GCN(12, 8, 2), x, edge_index, folder=path)
    assert path.read_text() == "mine"


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_bounded(tmp_path):
    """With layers in files, blocks of 4096 rows on 200 000 nodes need a fraction of the 100 MB that one layer has."""
    code = """
import sys, resource, torch
from lcat.data import CSCGraph
from lcat.nn.models import LCAT
from lcat.train import layerwise_inference
torch.set_num_threads(1)
nodes, folder = 200_000, sys.argv[1]
source = torch.arange(nodes).repeat_interleave(2)
graph = CSCGraph(torch.arange(nodes + 1) * 2, ((source + torch.tensor([1, 7]).repeat(nodes)) % nodes).int())
model = LCAT(8, 128, 2, 4, heads=4)
x = torch.randn(nodes, 8)
layerwise_inference(model, x[:64], CSCGraph(torch.zeros(65).long(), torch.empty(0).int()), folder=folder)
open('/proc/self/clear_refs', 'w').write('5')
def anonymous():
    fields = dict(line.split(':') for line in open('/proc/self/status') if ':' in line)
    return int(fields['RssAnon'].split()[0]) / 1e3
before, most = anonymous(), 0.0
real = torch.unique
def watched(*a, **k):
    global most
    most = max(most, anonymous())
    return real(*a, **k)
torch.unique = watched
layerwise_inference(model, x, graph, rows=4096, folder=folder)
print(most - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=200
    )
    assert float(done.stdout) < 40


def test_a_layer_without_parameters():
    class _Sum(MessagePassing):
        statistic_depends_on = None

        def forward(self, x, edge_index):
            return self.propagate(edge_index, x=x)

    class _Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = _Sum()

        def layer_steps(self):
            return [LayerStep(self.conv)]

    x, edge_index = torch.randn(20, 3, dtype=torch.float64), torch.randint(0, 20, (2, 60))
    out = layerwise_inference(_Model(), x, edge_index, rows=6)
    torch.testing.assert_close(out, _Sum()(x, edge_index))


@pytest.mark.parametrize("rows", [3, 1000])
@pytest.mark.parametrize("name", ["edge_attr", "edge_weight"])
def test_values_of_another_number_of_edges_are_refused(name, rows):
    """With more rows than edges it computed with the first ones."""
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    values = torch.rand(rows) if name == "edge_weight" else torch.rand(rows, 2)
    model = GAT(3, 4, num_layers=2, out_channels=2, edge_dim=2)
    with pytest.raises(ValueError, match=f"expected {name} with one row per edge, 4, got {rows} rows"):
        layerwise_inference(model, torch.randn(4, 3), edge_index, **{name: values})


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:The PyTorch API of nested")
def test_features_of_another_kind_are_named():
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    model, x = GCN(3, 4, num_layers=2, out_channels=2), torch.randn(4, 3)
    for wrong, match in (
        (x.to_sparse(), "expected dense features as x, got a sparse_coo tensor"),
        (x.to_sparse_csr(), "expected dense features as x, got a sparse_csr tensor"),
        (torch.nested.nested_tensor([x, x]), "expected dense features as x, got a nested tensor"),
        (x[None], r"expected features \[nodes, F\] as x, got the shape \[1, 4, 3\]"),
        (x[:, 0], r"expected features \[nodes, F\] as x, got the shape \[4\]"),
    ):
        with pytest.raises(ValueError, match=match):
            layerwise_inference(model, wrong, edge_index)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"conv": "relu"}, "expected a layer, a torch.nn.Module, as 'conv' of a LayerStep, got 'relu'"),
        ({"then": "relu"}, "expected a function as 'then' of a LayerStep, got 'relu'"),
        ({"then": None}, "expected a function as 'then' of a LayerStep, got None"),
        ({"before": 3}, "expected a function as 'before' of a LayerStep, got 3"),
        ({"on_all": "norm"}, "expected a function as 'on_all' of a LayerStep, got 'norm'"),
    ],
)
def test_parts_of_a_layer_step(arguments, words):
    with pytest.raises(TypeError, match=words):
        LayerStep(**{"conv": torch.nn.Identity(), **arguments})
