"""The layers in GraphGym's own models."""

from __future__ import annotations

import math

import pytest
import torch
from torch_geometric.data import Batch, Data

pytest.importorskip("yacs")

from torch_geometric.graphgym import register
from torch_geometric.graphgym.config import cfg, set_cfg
from torch_geometric.graphgym.loader import create_loader
from torch_geometric.graphgym.model_builder import create_model
from torch_geometric.graphgym.models.gnn import GNN
from torch_geometric.graphgym.models.layer import LayerConfig

from lcat.nn import LCATPNAConv
from lcat.nn.graphgym import register_graphgym
from tests.support.layers import FAMILIES

NAMES = register_graphgym()
OF_FAMILIES = [f"lcat_{name.lower()}" for name in FAMILIES]
INITIAL_RESIDUAL = [name for name in OF_FAMILIES if "gcn2" in name]
PNA = [name for name in OF_FAMILIES if "pna" in name]
DEGREES = torch.tensor([0, 8])


@pytest.fixture
def batch():
    torch.manual_seed(0)
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    graph = Data(x=torch.randn(4, 5), edge_index=edge_index, y=torch.zeros(4, dtype=torch.long))
    return Batch.from_data_list([graph, graph])


@pytest.fixture
def configured():
    layers, stages = dict(register.layer_dict), dict(register.stage_dict)
    set_cfg(cfg)
    cfg.gnn.head = cfg.dataset.task = "node"
    cfg.gnn.dim_inner = 8
    cfg.gnn.layers_mp = 2
    yield cfg
    set_cfg(cfg)
    for registered, before in ((register.layer_dict, layers), (register.stage_dict, stages)):
        registered.clear()
        registered.update(before)


def configure(configured, name):
    """The configuration of a model of this layer."""
    configured.gnn.layer_type = name
    if name in INITIAL_RESIDUAL:
        configured.gnn.stage_type = "lcat_stack"
        configured.gnn.layers_pre_mp = 1


def test_all_layers_are_registered():
    assert set(OF_FAMILIES) < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_models_of_graphgym_train_every_layer(name, batch, configured):
    register_graphgym(heads=2, deg=DEGREES)
    configure(configured, name)
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


CONFIGURATION = """
dataset: {format: PyG, name: Karate, task: node, task_type: classification}
train: {batch_size: 1, sampler: full_batch}
model: {type: gnn, loss_fun: cross_entropy}
gnn: {layers_pre_mp: 1, layers_mp: 3, layers_post_mp: 1, dim_inner: 8, layer_type: NAME, stage_type: STAGE}
optim: {optimizer: adam, base_lr: 0.02}
"""


@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
@pytest.mark.parametrize("name", ["lcat_lcatconv", *OF_FAMILIES])
def test_a_configuration_of_a_file(name, configured, tmp_path):
    """As GraphGym's own main.py does it, on a data set that PyG has without a download."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIGURATION.replace("NAME", name).replace("STAGE", "lcat_stack"))
    configured.merge_from_file(str(path))
    torch.manual_seed(0)
    loaders = create_loader()
    register_graphgym(heads=2, deg=LCATPNAConv.get_degree_histogram(loaders[0]))
    model = create_model(to_device=False)
    (optimizer,), _ = model.configure_optimizers()
    losses = []
    for _ in range(20):
        (batch,) = loaders[0]
        loss = model.training_step(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", INITIAL_RESIDUAL)
def test_layers_of_gcnii_get_the_first_features_and_their_numbers(name, batch, configured):
    register_graphgym(alpha=0.3, theta=0.7)
    configure(configured, name)
    configured.gnn.batchnorm = configured.gnn.l2norm = False
    stage = register.stage_dict["lcat_stack"](8, 8, 3)
    batch.edge_weight = torch.rand(batch.num_edges)
    first = batch.x = torch.randn(8, 8)
    layers = [layer.layer.model for layer in stage.children()]
    assert [layer.beta for layer in layers] == pytest.approx([math.log(0.7 / number + 1) for number in (1, 2, 3)])
    expected = first
    for layer in layers:
        expected = layer(expected, first, batch.edge_index, edge_weight=batch.edge_weight).relu()
    out = stage(batch)
    torch.testing.assert_close(out.x, expected)
    assert "features_of_the_first_layer" not in out
    assert layers[0].alpha == 0.3


def test_the_stage_is_graphgyms_stack_for_other_layers(batch, configured):
    models = []
    for stage in ("stack", "lcat_stack"):
        configured.gnn.stage_type = stage
        configured.gnn.layer_type = "gcnconv"
        torch.manual_seed(0)
        models.append(GNN(5, 3))
    first, second = models
    assert list(first.state_dict()) == list(second.state_dict())
    (expected, _), (out, _) = first(batch.clone()), second(batch.clone())
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("name", PNA)
def test_layers_of_pna_have_the_options(name, batch, configured):
    register_graphgym(heads=2, deg=DEGREES, aggregators=["sum", "max"], scalers=["identity", "linear"])
    layer = register.layer_dict[name](LayerConfig(dim_in=5, dim_out=6, has_bias=True))
    conv = layer.model
    assert (conv.heads, conv.out_channels, conv.width) == (2, 3, 6)
    assert conv.aggr_module.scaler == ["identity", "linear"]
    x = batch.x
    torch.testing.assert_close(layer(batch).x, conv(x, batch.edge_index))


def test_what_a_family_lacks_is_named(configured):
    register_graphgym()
    config = LayerConfig(dim_in=8, dim_out=8, has_bias=True)
    for name in INITIAL_RESIDUAL:
        with pytest.raises(ValueError, match=r"set 'gnn.stage_type' to 'lcat_stack'"):
            register.layer_dict[name](config)
        configure(configured, name)
        with pytest.raises(ValueError, match=r"dim_in=5 and dim_out=8: set 'gnn.layers_pre_mp'"):
            register.stage_dict["lcat_stack"](5, 8, 2)
    for name in PNA:
        with pytest.raises(ValueError, match=r"get_degree_histogram\(loaders\[0\]\)\) after GraphGym's create_loader"):
            register.layer_dict[name](config)


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
