"""The layers in GraphGym's own models."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch, Data

pytest.importorskip("yacs")

from torch_geometric.graphgym import register
from torch_geometric.graphgym.config import cfg, set_cfg
from torch_geometric.graphgym.models.gnn import GNN
from torch_geometric.graphgym.models.layer import LayerConfig

from lcat.nn.graphgym import register_graphgym

NAMES = register_graphgym()


@pytest.fixture
def batch():
    torch.manual_seed(0)
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    graph = Data(x=torch.randn(4, 5), edge_index=edge_index, y=torch.zeros(4, dtype=torch.long))
    return Batch.from_data_list([graph, graph])


@pytest.fixture
def configured():
    before = dict(register.layer_dict)
    set_cfg(cfg)
    cfg.gnn.head = cfg.dataset.task = "node"
    cfg.gnn.dim_inner = 8
    cfg.gnn.layers_mp = 2
    yield cfg
    set_cfg(cfg)
    register.layer_dict.clear()
    register.layer_dict.update(before)


@pytest.mark.parametrize("name", NAMES)
def test_models_of_graphgym_train_every_layer(name, batch, configured):
    register_graphgym(heads=2)
    configured.gnn.layer_type = name
    model = GNN(5, 3)
    layers = [type(module).__module__ for module in model.modules()]
    assert sum(module.startswith("lcat.nn.") and not module.endswith("graphgym") for module in layers) >= 2
    before = batch.x.clone()
    prediction, _ = model(batch)
    assert prediction.shape == (8, 3)
    prediction.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not torch.equal(batch.x, before)


def test_a_layer_computes_what_it_computes_alone(batch, configured):
    batch.edge_weight = torch.rand(batch.num_edges)
    config = type("Config", (), {"dim_in": 5, "dim_out": 8, "has_bias": True})
    x = batch.x
    for name in ("gcnconv", "graphconv", "lcatconv"):
        wrapped = register.layer_dict[f"lcat_{name}"](config)
        expected = wrapped.model(x, batch.edge_index, edge_weight=batch.edge_weight)
        batch.x = x
        torch.testing.assert_close(wrapped(batch).x, expected)
        assert not torch.equal(wrapped.model(x, batch.edge_index), expected)


@pytest.mark.parametrize("name", ["transformerconv", "sageconv", "ginconv"])
def test_weights_that_a_layer_does_not_take_are_left_out(name, batch, configured):
    """As GraphGym's own layers of these names leave them out."""
    batch.edge_weight = torch.rand(batch.num_edges)
    config = type("Config", (), {"dim_in": 5, "dim_out": 8, "has_bias": True})
    wrapped = register.layer_dict[f"lcat_{name}"](config)
    expected = wrapped.model(batch.x, batch.edge_index)
    torch.testing.assert_close(wrapped(batch).x, expected)


@pytest.mark.parametrize("name", ["sageconv", "ginconv"])
def test_graphgyms_own_layers_have_the_same_numbers(name, batch, configured):
    config = LayerConfig(dim_in=5, dim_out=8, has_bias=True)
    ours, theirs = (register.layer_dict[prefix + name](config) for prefix in ("lcat_", ""))
    ours.load_state_dict(theirs.state_dict())
    x = batch.x
    expected = theirs(batch).x
    batch.x = x
    torch.testing.assert_close(ours(batch).x, expected)


def test_errors(configured):
    with pytest.raises(TypeError, match="expected 'prefix' as a string"):
        register_graphgym(prefix=3)
    with pytest.raises(ValueError, match="not of lcat: use another 'prefix'"):
        register_graphgym(prefix="")
    with pytest.raises(ValueError, match="'heads'"):
        register_graphgym(heads=0)
    register_graphgym(heads=3)
    config = type("Config", (), {"dim_in": 5, "dim_out": 8, "has_bias": True})
    with pytest.raises(ValueError, match="dim_out=8 of a GraphGym layer is no multiple of heads=3"):
        register.layer_dict["lcat_gatconv"](config)
