"""Attention at the edges of the input, and of all layers of a model."""

from __future__ import annotations

import pytest
import torch
import torch_geometric.nn as pyg

import lcat.nn
import lcat.nn.models as models
from lcat.nn import GATConv, attention_of_edges
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, FAMILY_MODELS, MODELS
from tests.support.long import quick_or_long

# A self-loop at 1, two at 3, a pair of parallel edges; the loops stand between other edges.
EDGES = torch.tensor([[0, 1, 1, 3, 2, 3, 0, 0], [1, 1, 2, 3, 0, 3, 2, 2]])
PNA = {"aggregators": ["mean", "max"], "scalers": ["identity"], "deg": torch.tensor([1, 3, 2])}
WITH_ATTENTION = [name for name in MODELS if getattr(models, name).supports_edge_attr] + FAMILY_MODELS


def make(name, **options):
    torch.manual_seed(0)
    options = {**PNA, **options} if name.endswith("PNA") else options
    return getattr(models, name)(8, 16, 3, out_channels=5, heads=2, **options).eval()


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("layer", [*(getattr(lcat.nn, name) for name in ATTENTION), pyg.GATConv, pyg.GATv2Conv])
def test_every_edge_has_its_own_weight(layer, loops, flow):
    torch.manual_seed(0)
    conv, x = layer(8, 4, heads=2, add_self_loops=loops, flow=flow), torch.randn(4, 8)
    _, (edges, alpha) = conv(x, EDGES, return_attention_weights=True)
    weights = attention_of_edges(EDGES, (edges, alpha))
    assert weights.shape == (8, 2)
    for edge, weight in zip(EDGES.t().tolist(), weights, strict=True):
        rows = (edges.t() == torch.tensor(edge)).all(dim=1).nonzero().flatten()
        assert all(torch.equal(alpha[row], weight) for row in rows), edge
    sums = torch.zeros(4, 2).index_add(0, edges[1 if flow == "source_to_target" else 0], alpha)
    assert_same(sums[sums > 0], torch.ones_like(sums[sums > 0]), "attention of a node", 1e-6)


def test_static_and_bipartite_graphs():
    torch.manual_seed(0)
    conv, x = lcat.nn.GATConv(8, 4, heads=2), torch.randn(3, 4, 8)
    several = attention_of_edges(EDGES, conv(x, EDGES, return_attention_weights=True)[1])
    one = attention_of_edges(EDGES, conv(x[2], EDGES, return_attention_weights=True)[1])
    assert_same(several[2], one, "feature sets", 1e-6)
    edges = torch.tensor([[0, 1, 3], [1, 1, 0]])
    _, (used, alpha) = conv((x[0], x[1, :2]), edges, return_attention_weights=True)
    assert used.tolist() == [[0, 3, 0, 1], [1, 0, 0, 1]]
    assert torch.equal(attention_of_edges(edges, (used, alpha)), alpha[[0, 3, 1]])


@pytest.mark.parametrize(
    ("edges", "attention", "error", "match"),
    [
        (EDGES.tolist(), (EDGES, torch.ones(8, 1)), TypeError, "'edge_index' is of type list"),
        (EDGES, torch.ones(8, 1), TypeError, "'attention' is no pair"),
        (EDGES, (EDGES, torch.ones(7, 1)), ValueError, r"edges of shape \[2, 8\] and alpha of shape \[7, 1\]"),
        (EDGES, (EDGES.flip(0), torch.ones(8, 1)), ValueError, "not those of 'edge_index'"),
        (EDGES[:, :3], (EDGES, torch.ones(8, 1)), ValueError, "8 edges that are not those of 'edge_index', 3 edges"),
        (EDGES, (EDGES[:, :2], torch.ones(2, 1)), ValueError, "2 edges that are not those of 'edge_index', 8 edges"),
    ],
)
def test_other_edges_are_refused(edges, attention, error, match):
    with pytest.raises(error, match=match):
        attention_of_edges(edges, attention)


@pytest.mark.parametrize("name", WITH_ATTENTION)
def test_attention_of_a_whole_model(name):
    model, x = make(name), torch.randn(4, 8)
    hooked = []
    handles = [conv.register_message_forward_hook(lambda *args: hooked.append(args[1][0])) for conv in model.convs]
    plain = model(x, EDGES)
    for handle in handles:
        handle.remove()
    before = dict(model.named_modules())
    out, attention = model(x, EDGES, return_attention_weights=True)
    assert_same(out, plain, "output", 1e-5)
    assert len(attention) == len(hooked) == 3
    for edges, alpha in attention:
        assert alpha.shape == (edges.shape[1], 2)
        assert attention_of_edges(EDGES, (edges, alpha)).shape == (8, 2)
    # The first layer alone, on what it got.
    loops = not name.endswith("PNA")
    assert attention[0][0].shape[1] == (5 + 4 if loops else 8)
    assert {path: id(module) for path, module in model.named_modules()} == {k: id(v) for k, v in before.items()}
    assert torch.equal(model(x, EDGES, return_attention_weights=False), model(x, EDGES))
    with pytest.raises(ValueError, match=r"'return_attention_weights' of .* is 'yes'"):
        model(x, EDGES, return_attention_weights="yes")


@pytest.mark.parametrize("jk", [None, "cat"])
def test_attention_of_a_model_is_that_of_its_layers(jk):
    model, x = make("LCAT", jk=jk, norm="LayerNorm", act="elu"), torch.randn(4, 8)
    out, attention = model(x, EDGES, return_attention_weights=True)
    assert_same(out, model(x, EDGES), "output", 1e-6)
    h = x
    for conv, norm, (edges, alpha) in zip(model.convs, model.norms, attention, strict=True):
        h, (used, expected) = conv(h, EDGES, return_attention_weights=True)
        assert torch.equal(edges, used)
        assert_same(alpha, expected, "attention", 1e-6)
        h = model.act(norm(h))
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", quick_or_long(WITH_ATTENTION, ["LCATv2"]))
def test_attention_of_a_compiled_model(name):
    torch._dynamo.reset()
    model, x = make(name), torch.randn(4, 8)
    expected, attention = model(x, EDGES, return_attention_weights=True)
    compiled = torch.compile(model, backend="eager")
    out, compiled_attention = compiled(x, EDGES, return_attention_weights=True)
    assert_same(out, expected, "output", 1e-6)
    assert len(compiled_attention) == len(attention) == 3
    for (edges, alpha), (expected_edges, expected_alpha) in zip(compiled_attention, attention, strict=True):
        assert torch.equal(edges, expected_edges)
        assert_same(alpha, expected_alpha, "attention", 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.bool])
def test_node_numbers_are_integers(dtype):
    edges, alpha = GATConv(8, 4)(torch.randn(4, 8), EDGES, return_attention_weights=True)[1]
    with pytest.raises(TypeError, match=r"'edge_index' is of dtype .*; node numbers are integers: .*\.long\(\)"):
        attention_of_edges(EDGES.to(dtype), (edges, alpha))
    with pytest.raises(TypeError, match=r"'attention' has edges of dtype .*; node numbers are integers"):
        attention_of_edges(EDGES, (edges.to(dtype), alpha))


@pytest.mark.parametrize(("shape", "words"), [((5, 2), r"takes \[2, E\]: transpose"), ((3, 4), r"takes \[2, E\]$")])
def test_edges_have_two_rows(shape, words):
    with pytest.raises(ValueError, match=words):
        attention_of_edges(torch.zeros(shape, dtype=torch.long), (EDGES, torch.ones(EDGES.shape[1], 1)))
