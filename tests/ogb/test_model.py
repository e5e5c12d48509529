"""The model computes what its description says, trimmed and layer by layer as well as at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lcat.data import neighbor_loader
from lcat.ogb.model import LAYERS, NodeModel, exact_when_trimmed
from lcat.train.inference import layerwise_inference
from tests.ogb.ogb_support import random_graph


def make(layer="gat", **options):
    torch.manual_seed(1)
    defaults = {
        "num_layers": 3,
        "hidden_channels": 12,
        "heads": 3,
        "norm": "layer",
        "residual": "identity",
        "dropout": 0.4,
    }
    model = NodeModel(8, 5, layer=layer, **{**defaults, **options}).eval()
    for parameter in model.parameters():  # biases and norms that start at zero and one could hide a mistake
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_activation_first_by_hand():
    graph, model = random_graph(), make()
    h = model.norms[0](F.relu(model.convs[0](graph.x, graph.edge_index)))
    h = model.norms[1](F.relu(model.convs[1](h, graph.edge_index)) + h)
    assert model(graph.x, graph.edge_index).equal(model.convs[2](h, graph.edge_index))
    assert (model.convs[2].heads, model.convs[1].heads) == (1, 3)


def test_linear_residuals_by_hand():
    graph = random_graph()
    model = make(norm="none", residual="linear", activation="elu", activation_first=False, num_layers=2)
    h = F.elu(model.convs[0](graph.x, graph.edge_index) + model.skips[0](graph.x))
    expected = model.convs[1](h, graph.edge_index) + model.skips[1](h)
    assert model(graph.x, graph.edge_index).equal(expected)


def test_linear_ends_by_hand():
    graph = random_graph(edge_dim=4)
    model = make(norm="batch", activation_first=False, num_layers=2, linear_ends=True, edge_dim=4)
    h = F.relu(model.first(graph.x))
    for number in range(2):
        h = F.relu(model.norms[number](model.convs[number](h, graph.edge_index, graph.edge_attr) + h))
    assert model(graph.x, graph.edge_index, graph.edge_attr).equal(model.last(h))


def test_gcn_weighs_edges_by_their_mean_feature():
    graph, model = random_graph(edge_dim=4), make("gcn", num_layers=1, edge_dim=4)
    expected = model.convs[0](graph.x, graph.edge_index, graph.edge_attr.mean(dim=1))
    assert model(graph.x, graph.edge_index, graph.edge_attr).equal(expected)


@pytest.mark.parametrize("layer", LAYERS)
def test_recomputing_changes_nothing_but_memory(layer):
    graph, runs = random_graph(edge_dim=4), []
    for recompute in (False, True):
        model = make(layer, edge_dim=4, norm="batch", attention_dropout=0.3, recompute=recompute).train()
        num_saved = [0]

        def pack(tensor, num_saved=num_saved):
            num_saved[0] += tensor.numel()
            return tensor

        torch.manual_seed(4)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = model(graph.x, graph.edge_index, graph.edge_attr)
        out.square().sum().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        runs.append((out.detach(), gradients, [norm.running_mean for norm in model.norms], num_saved[0]))
    for one, two in zip(runs[0][1], runs[1][1], strict=True):
        assert torch.allclose(one, two, atol=1e-5)
    assert torch.allclose(runs[0][0], runs[1][0], atol=1e-6)
    assert all(one.equal(two) for one, two in zip(runs[0][2], runs[1][2], strict=True))
    assert runs[1][3] < runs[0][3]


def test_dropout_in_training_only():
    graph, model = random_graph(), make(input_dropout=0.3)
    assert model(graph.x, graph.edge_index).equal(model(graph.x, graph.edge_index))
    model.train()
    assert not model(graph.x, graph.edge_index).equal(model(graph.x, graph.edge_index))


@pytest.mark.parametrize("layer", LAYERS)
def test_parameters_and_gradients(layer):
    graph, model = random_graph(edge_dim=4), make(layer, edge_dim=4, linear_ends=True)
    model(graph.x, graph.edge_index, graph.edge_attr).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    # v2 with shared weights has as many parameters as v1, but for one attention vector in place of two.
    assert all(getattr(conv, "share_weights", True) for conv in model.convs)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_layer_by_layer_is_the_whole_graph(layer, ends):
    graph = random_graph(edge_dim=4)
    model = make(layer, edge_dim=4, linear_ends=ends, norm="batch", residual="linear")
    with torch.no_grad():
        expected = model(graph.x, graph.edge_index, graph.edge_attr)
        output = layerwise_inference(
            model,
            model.enter_in_blocks(graph.x, rows=7),
            graph.edge_index,
            rows=11,
            **model.edge_inputs(graph.edge_attr),
        )
    assert torch.allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if exact_when_trimmed(layer)])
def test_trimming_changes_nothing(layer):
    graph, model = random_graph(edge_dim=4), make(layer, edge_dim=4)
    whole = model(graph.x, graph.edge_index, graph.edge_attr)
    for batch in neighbor_loader(graph, [-1, -1, -1], batch_size=6):
        inputs = (batch.x, batch.edge_index, batch.edge_attr)
        trimmed = model(*inputs, batch.num_sampled_nodes, batch.num_sampled_edges)
        assert trimmed.size(0) < batch.num_nodes
        assert torch.allclose(trimmed[: batch.batch_size], whole[batch.n_id[: batch.batch_size]], atol=1e-5)


def test_which_layers_may_be_trimmed_is_not_guessed():
    """Where it says no, trimming does change results."""
    graph = random_graph()
    for layer in LAYERS:
        model = make(layer)
        whole = model(graph.x, graph.edge_index)
        batch = next(iter(neighbor_loader(graph, [-1, -1, -1], batch_size=6)))
        out = model(batch.x, batch.edge_index, None, batch.num_sampled_nodes, batch.num_sampled_edges)
        same = torch.allclose(out[:6], whole[batch.n_id[:6]], atol=1e-5)
        assert same == exact_when_trimmed(layer)
