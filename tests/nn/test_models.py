"""Models on BasicGNN: PyG's numbers where PyG has the model, and every option of BasicGNN on each."""

from __future__ import annotations

import pytest
import torch
import torch_geometric.nn.models as pyg

import lcat.nn.models as models
from tests.support.compare import assert_same

NAMES = models.__all__
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


@pytest.mark.parametrize("name", NAMES)
def test_compiled_model(name, x):
    torch._dynamo.reset()
    model = getattr(models, name)(8, 16, 2, out_channels=5).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert_same(compiled(x, EDGES), model(x, EDGES), "compiled", 1e-6)
