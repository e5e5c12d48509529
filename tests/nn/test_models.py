"""Models on BasicGNN: PyG's numbers where PyG has the model, and every option of BasicGNN on each."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch_geometric.nn.models as pyg
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import to_hetero
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

import lcat.nn.models as models
from tests.support.compare import assert_same
from tests.support.layers import MODELS as NAMES
from tests.support.long import quick_or_long

ATTENTION = [name for name in NAMES if getattr(models, name).supports_edge_attr]
EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1], [1, 0, 3, 3, 2, 0, 1, 4]])


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(6, 8)


@pytest.mark.parametrize(("name", "options"), [("GCN", {}), ("GAT", {"heads": 2}), ("GAT", {"heads": 2, "v2": True})])
def test_pyg_checkpoints_load_and_predict_the_same(name, options, x):
    theirs = getattr(pyg, name)(8, 16, 3, out_channels=5, dropout=0.5, norm="BatchNorm", jk="cat", **options)
    ours = getattr(models, name)(8, 16, 3, out_channels=5, dropout=0.5, norm="BatchNorm", jk="cat", **options)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_same(ours.eval()(x, EDGES), theirs.eval()(x, EDGES), "prediction", 1e-6)


@pytest.mark.parametrize("jk", [None, "last", "cat", "max", "lstm"])
@pytest.mark.parametrize("name", NAMES)
def test_options(name, jk, x):
    options = {"heads": 2, "residual": True} if name in ATTENTION else {}
    model = getattr(models, name)(8, 16, 3, out_channels=5, act="elu", norm="LayerNorm", jk=jk, dropout=0.1, **options)
    out = model(x, EDGES)
    assert out.shape == (6, 5)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert str(model) == f"{name}(8, 5, num_layers=3)"
    model.reset_parameters()


@pytest.mark.parametrize("name", NAMES)
def test_edge_weight_and_edge_attr(name, x):
    weight = torch.rand(EDGES.shape[1])
    model = getattr(models, name)(8, 16, 2, out_channels=5).eval()
    assert not torch.allclose(model(x, EDGES, edge_weight=weight), model(x, EDGES))
    if name in ATTENTION:
        model = getattr(models, name)(8, 16, 2, out_channels=5, heads=2, edge_dim=3).eval()
        attr = torch.randn(EDGES.shape[1], 3)
        assert not torch.allclose(model(x, EDGES, edge_attr=attr), model(x, EDGES, edge_attr=2 * attr))


@pytest.mark.parametrize("name", NAMES)
def test_trim_to_layer(name):
    """Trimmed mini-batches give the seeds what full ones give them."""
    torch.manual_seed(0)
    # two seeds, their sampled neighbors 2..5, and those of these 6..9; edges come by hop, as samplers give them
    first = torch.tensor([[2, 3, 4, 5], [0, 0, 1, 1]])
    second = torch.tensor([[6, 7, 8, 9], [2, 3, 4, 5]])
    edges, x = torch.cat([first, second], dim=1), torch.randn(10, 8)
    options = {"heads": 2} if name in ATTENTION else {}
    options["add_self_loops"] = False
    if name == "GCN":
        options["normalize"] = False
    if "CAT" in name:
        options["lambda2"] = 0.0  # averages see one hop further than trimming keeps
    model = getattr(models, name)(8, 16, 2, out_channels=5, **options).eval()
    full = model(x, edges)[:2]
    trimmed = model(x, edges, num_sampled_nodes_per_hop=[2, 4, 4], num_sampled_edges_per_hop=[4, 4])[:2]
    assert_same(trimmed, full, "seeds", 1e-6)


def test_lambdas_of_a_model():
    model = models.LCAT(8, 16, 2, out_channels=5, heads=2, lambda1=None, lambda2=0.25)
    assert [float(conv.lambda2) for conv in model.convs] == [0.25, 0.25]
    assert [name for name, _ in model.named_parameters() if "lambda" in name] == [
        "convs.0.raw_lambda1",
        "convs.1.raw_lambda1",
    ]


@pytest.mark.parametrize("name", quick_or_long(NAMES, ["GCN", "LCATv2"]))
def test_compiled_model(name, x):
    torch._dynamo.reset()
    model = getattr(models, name)(8, 16, 2, out_channels=5).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert_same(compiled(x, EDGES), model(x, EDGES), "compiled", 1e-6)


@pytest.mark.parametrize("name", ["GCN", "LCAT"])
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"act": 5}, "'act' of {} is 5; it takes a name, a callable such as a module, or None"),
        ({"act": torch.nn.ReLU}, r"'act' of {} is .*: pass an instance, ReLU\(\.\.\.\)"),
        ({"norm": torch.nn.BatchNorm1d}, r"'norm' of {} is .*: pass an instance, BatchNorm1d\(\.\.\.\)"),
        ({"norm": 1}, "'norm' of {} is 1; it takes"),
        ({"act_kwargs": [1]}, r"'act_kwargs' of {} is \[1\]; it takes a dict"),
        ({"norm": "layer", "norm_kwargs": "mode"}, "'norm_kwargs' of {} is 'mode'; it takes a dict"),
        ({"act": "leaky_relu", "act_kwargs": {"slope": 0.1}}, "'act_kwargs' of {} is .*'leaky_relu' does not .*slope"),
        ({"norm": "layer", "norm_kwargs": {"epsilon": 1}}, "'norm_kwargs' of {} is .*'layer' does not take: .*epsilon"),
    ],
)
def test_activations_and_norms_that_are_none(name, options, match):
    with pytest.raises(TypeError, match=match.format(name)):
        getattr(models, name)(8, 16, 2, out_channels=5, **options)


@pytest.mark.parametrize("norm", ["PairNorm", "DiffGroupNorm", "graph_norm", torch.nn.BatchNorm1d(16)])
@pytest.mark.parametrize("act", ["prelu", torch.tanh, None, torch.nn.ELU()])
def test_activations_and_norms_of_all_kinds(norm, act, x):
    options = {"norm_kwargs": {"groups": 2}} if norm == "DiffGroupNorm" else {}
    torch.manual_seed(1)
    ours = models.GCN(8, 16, 2, out_channels=5, norm=norm, act=act, **options)
    torch.manual_seed(1)
    theirs = pyg.GCN(8, 16, 2, out_channels=5, norm=norm, act=act, **options)
    assert_same(ours(x, EDGES), theirs(x, EDGES), "prediction", 1e-5)


@pytest.mark.parametrize("name", ["GCN", "LCAT"])
@pytest.mark.parametrize(
    ("nodes", "edges", "error", "match"),
    [
        ([6], [8], ValueError, "'num_sampled_nodes_per_hop' of {} has 1 entries, but its 2 layers need at least 3"),
        ([2, 4], [8], ValueError, "'num_sampled_nodes_per_hop' of {} has 2 entries"),
        (
            [2, 2, 2],
            [8],
            ValueError,
            "'num_sampled_edges_per_hop' of {} has 1 entries, but its 2 layers need at least 2",
        ),
        ([2, 2, 2], None, ValueError, "'num_sampled_edges_per_hop' needs to be given"),
        (None, [4, 4], None, None),
    ],
)
def test_trimming_needs_one_hop_per_layer(name, nodes, edges, error, match, x):
    """PyG cuts off the seeds where there are fewer, and returns no row, without an error."""
    model = getattr(models, name)(8, 16, 2, out_channels=5)
    with nullcontext() if error is None else pytest.raises(error, match=match.format(name)):
        model(x, EDGES, num_sampled_nodes_per_hop=nodes, num_sampled_edges_per_hop=edges)
    one = getattr(models, name)(8, 16, 1, out_channels=5)  # one layer trims nothing
    assert one(x, EDGES, num_sampled_nodes_per_hop=[6], num_sampled_edges_per_hop=[8]).shape == (6, 5)


@pytest.mark.filterwarnings("ignore:Using 'NeighborSampler' without a 'pyg-lib'")
def test_inference_over_a_loader(x):
    data = Data(x=x, edge_index=EDGES)
    loader = NeighborLoader(data, num_neighbors=[-1], batch_size=4)
    model = models.LCAT(8, 16, 2, out_channels=5).eval()
    if WITH_PYG_LIB or WITH_TORCH_SPARSE:  # which sample for PyG's loader
        assert_same(model.inference(loader), model(x, EDGES), "prediction", 1e-5)
    with pytest.raises(TypeError, match=r"'loader' of LCAT.inference is of type list; it takes .*NeighborLoader"):
        model.inference([data])
    with pytest.raises(ValueError, match="samples 2 hops for 6 of 6 nodes; it takes one hop"):
        model.inference(NeighborLoader(data, num_neighbors=[-1, -1]))
    with pytest.raises(ValueError, match="samples 1 hops for 2 of 6 nodes"):
        model.inference(NeighborLoader(data, num_neighbors=[-1], input_nodes=torch.tensor([0, 1])))
    with pytest.raises(ValueError, match=r"LCAT.inference is for a model in evaluation mode: call model.eval\(\)"):
        model.train().inference(loader)
    with pytest.raises(ValueError, match="works with jk=None or 'last', got jk='cat'"):
        models.LCAT(8, 16, 2, jk="cat").eval().inference(loader)


@pytest.mark.parametrize("name", ATTENTION)
def test_models_for_heterogeneous_graphs(name, x):
    """The module that trims is called there in each call, with pairs of nothing."""
    types = ["author", "paper"], [("author", "writes", "paper"), ("paper", "cites", "paper"), ("paper", "by", "author")]
    model = to_hetero(getattr(models, name)(-1, 8, 2, out_channels=3, add_self_loops=False), types)
    edges = torch.tensor([[0, 1, 3], [3, 3, 0]])
    out = model({"author": x[:5], "paper": x[:4]}, dict.fromkeys(types[1], edges))
    assert {node_type: tuple(rows.shape) for node_type, rows in out.items()} == {"author": (5, 3), "paper": (4, 3)}
