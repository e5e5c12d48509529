"""PyG's explainers on our layers, with self-loops in the graph: what fails or misleads with others."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.explain import (
    AttentionExplainer,
    CaptumExplainer,
    Explainer,
    GNNExplainer,
    GraphMaskExplainer,
    ModelConfig,
    PGExplainer,
)
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import Sequential

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS, TWO_HOPS

# One self-loop (as in most data), and one for every node (which PyG's explain_message takes for none).
ONE_LOOP = torch.tensor([[0, 1, 2, 3, 3, 4, 5], [1, 0, 3, 3, 2, 0, 1]])
ALL_LOOPS = torch.tensor([[0, 0, 1, 2, 1, 2, 3, 3, 4, 5, 5], [0, 1, 1, 2, 0, 3, 3, 2, 4, 5, 1]])


def _model(name):
    torch.manual_seed(0)
    layer = getattr(lcat.nn, name)
    return Sequential(
        "x, edge_index", [(layer(8, 5), "x, edge_index -> x"), torch.nn.ReLU(), (layer(5, 3), "x, edge_index -> x")]
    )


def _config():
    return ModelConfig(mode="multiclass_classification", task_level="node", return_type="raw")


@pytest.mark.parametrize("edges", [ONE_LOOP, ALL_LOOPS], ids=["one_loop", "all_loops"])
@pytest.mark.parametrize("name", LAYERS)
def test_gnn_explainer(name, edges):
    x, model = torch.randn(6, 8), _model(name)
    plain = model(x, edges)
    explainer = Explainer(
        model, GNNExplainer(epochs=5), explanation_type="model", model_config=_config(),
        node_mask_type="attributes", edge_mask_type="object",
    )  # fmt: skip
    mask = explainer(x, edges, index=1).edge_mask
    assert mask.shape == (edges.shape[1],)
    assert float(mask[(edges[0] != edges[1]) & (edges[1] == 1)].min()) > 0.0, "edges into the node are explained"
    everything = torch.ones(edges.shape[1])
    assert_same(explainer.get_masked_prediction(x, edges, edge_mask=everything), plain, "mask of ones", 1e-6)
    assert_same(model(x, edges), plain, "after explaining", 1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_captum_explainer(name):
    x, model = torch.randn(6, 8), _model(name).eval()
    plain = model(x, ONE_LOOP)
    explainer = Explainer(
        model, CaptumExplainer("IntegratedGradients", n_steps=5), explanation_type="model",
        model_config=_config(), node_mask_type="attributes", edge_mask_type="object",
    )  # fmt: skip
    explanation = explainer(x, ONE_LOOP, index=1)
    assert explanation.edge_mask.shape == (7,)
    assert explanation.node_mask.shape == (6, 8)
    assert_same(explanation.prediction, plain, "prediction", 1e-6)
    assert_same(model(x, ONE_LOOP), plain, "after explaining", 1e-6)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # PyG's own float(loss)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # PyG's own step
@pytest.mark.parametrize("name", LAYERS)
def test_pg_explainer(name):
    x = torch.randn(6, 8)
    model = _model(name)
    explainer = Explainer(
        model, PGExplainer(epochs=2), explanation_type="phenomenon", model_config=_config(), edge_mask_type="object"
    )
    target = model(x, ONE_LOOP).argmax(dim=-1)
    for epoch in range(2):
        explainer.algorithm.train(epoch, model, x, ONE_LOOP, target=target, index=1)
    plain = model(x, ONE_LOOP)
    assert explainer(x, ONE_LOOP, target=target, index=1).edge_mask.shape == (7,)
    assert_same(model(x, ONE_LOOP), plain, "after explaining", 1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_graph_mask_explainer(name):
    x, model = torch.randn(6, 8), _model(name)
    plain = model(x, ONE_LOOP)
    explainer = Explainer(
        model, GraphMaskExplainer(2, epochs=2, log=False), explanation_type="model", model_config=_config(),
        node_mask_type="attributes", edge_mask_type="object",
    )  # fmt: skip
    explanation = explainer(x, ONE_LOOP, index=1)
    assert explanation.edge_mask.shape == (7,)
    assert explanation.edge_mask.isfinite().all()
    clear_masks(model)  # this explainer does not
    assert_same(model(x, ONE_LOOP), plain, "after explaining", 1e-6)


@pytest.mark.parametrize("edges", [ONE_LOOP, ALL_LOOPS], ids=["one_loop", "all_loops"])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_explainer_names_the_right_edges(name, edges):
    """Row e of the explanation is the attention on edge e of the input, also where the graph has self-loops."""
    torch.manual_seed(0)
    x, conv = torch.randn(6, 8), getattr(lcat.nn, name)(8, 3, heads=2)
    explainer = Explainer(
        conv, AttentionExplainer(), explanation_type="model",
        model_config=ModelConfig(mode="regression", task_level="graph"), edge_mask_type="object",
    )  # fmt: skip
    mask = explainer(x, edges).edge_mask
    _, (used, alpha) = conv(x, edges, return_attention_weights=True)
    by_edge = {tuple(edge): float(a) for edge, a in zip(used.t().tolist(), alpha.max(dim=1).values, strict=True)}
    assert_same(mask, torch.tensor([by_edge[tuple(edge)] for edge in edges.t().tolist()]), "attention", 1e-6)


@pytest.mark.parametrize("edges", [ONE_LOOP, ALL_LOOPS], ids=["one_loop", "all_loops"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_masked_edge_sends_nothing(name, edges):
    """A mask of ones changes nothing; a zero at an edge takes that edge's message, and no other, away."""
    torch.manual_seed(0)
    x, conv = torch.randn(6, 8), getattr(lcat.nn, name)(8, 3)
    plain = conv(x, edges)
    ones = torch.ones(edges.shape[1])
    set_masks(conv, ones, edges, apply_sigmoid=False)
    assert_same(conv(x, edges), plain, "mask of ones", 1e-6)
    edge = (edges.t() == torch.tensor([2, 3])).all(dim=1).nonzero().item()
    mask = ones.clone()
    mask[edge] = 0.0
    set_masks(conv, mask, edges, apply_sigmoid=False)
    masked = conv(x, edges)
    clear_masks(conv)
    assert_same(conv(x, edges), plain, "after clearing", 1e-6)
    assert not torch.allclose(masked[3], plain[3])
    # Averages of node 3 lose the message too, and node 3 sends its score to 2: nobody else may change.
    reached = {2, 3} if name in TWO_HOPS else {3}
    for node in set(range(6)) - reached:
        assert_same(masked[node], plain[node], f"node {node}", 1e-6)


@pytest.mark.parametrize("name", ["CATConv", "LCATConv", "CATv2Conv", "LCATv2Conv"])
def test_masks_reach_the_averages(name):
    """The gradient of an edge mask has a part from the average: two hops away, where no message of the edge goes."""
    torch.manual_seed(0)
    x, conv = torch.randn(4, 8), getattr(lcat.nn, name)(8, 3, add_self_loops=False)
    edges = torch.tensor([[0, 1, 3], [1, 2, 2]])
    mask = torch.ones(3, requires_grad=True)
    set_masks(conv, mask, edges, apply_sigmoid=False)
    conv(x, edges)[2].square().sum().backward()
    clear_masks(conv)
    assert float(mask.grad[0].abs()) > 0.0


@pytest.mark.parametrize("share_weights", [False, True])
@pytest.mark.parametrize("name", ["CATv2Conv", "LCATv2Conv"])
def test_masks_do_not_depend_on_the_width_of_the_features(name, share_weights):
    """Features and weights padded with zeros are the same function, also under a mask, whose weights sum to less."""
    torch.manual_seed(0)
    make = getattr(lcat.nn, name)
    options = {"heads": 2, "add_self_loops": False, "share_weights": share_weights}
    narrow, wide = make(2, 2, **options).double(), make(12, 2, **options).double()
    with torch.no_grad():
        for key, value in narrow.named_parameters():
            if "bias" in key:
                value.uniform_(-1, 1)
    state = narrow.state_dict()
    for key, value in state.items():
        if value.dim() == 2:
            state[key] = torch.cat([value, value.new_zeros(value.shape[0], 10)], dim=1)
    wide.load_state_dict(state)
    x, edges = torch.randn(3, 2, dtype=torch.double), torch.tensor([[0, 1, 2, 1], [2, 2, 0, 0]])
    padded = torch.cat([x, x.new_zeros(3, 10)], dim=1)
    for mask in (torch.ones(4), torch.tensor([1.0, 0.2, 1.0, 1.0])):
        for conv in (narrow, wide):
            set_masks(conv, mask.double(), edges, apply_sigmoid=False)
        assert_same(narrow(x, edges), wide(padded, edges), str(mask.tolist()), 1e-10)


def test_masks_reach_a_layer_whose_base_class_was_used_before():
    """PyG generates code for a class when it is first used, and a class inherits that of its bases."""

    class Base(lcat.nn.GATConv):
        pass

    class Derived(Base):
        pass

    class Later(Base):
        pass

    edges = torch.tensor([[0], [1]])
    Base(8, 3)
    for layer in (Derived, Later):
        conv = layer(8, 3, add_self_loops=False, bias=False)
        x = torch.randn(2, 8)
        set_masks(conv, torch.zeros(1), edges, apply_sigmoid=False)
        assert not conv(x, edges).any()
        clear_masks(conv)
        assert conv(x, edges)[1].any()


def test_missing_mask_is_an_error_that_says_so():
    conv = lcat.nn.GATConv(4, 2)
    conv.explain = True
    with pytest.raises(ValueError, match="no edge mask is set"):
        conv(torch.randn(3, 4), torch.tensor([[0, 1], [1, 2]]))
