"""CAT and L-CAT against a node-by-node oracle, and the limits of the two scalars."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import lcat.nn
from lcat.nn import CATConv, CATv2Conv, GATConv, GATv2Conv, LCATConv, LCATv2Conv
from tests.support.compare import assert_same, assert_same_gradients, gradients
from tests.support.graphs import KINDS, random_edges, size_of
from tests.support.oracle import attention_layer

LCATS = [LCATConv, LCATv2Conv]
ATTENTION = [GATConv, GATv2Conv, CATConv, CATv2Conv, *LCATS]


def _options(layer, generator):
    def one_of(*choices):
        return choices[int(torch.randint(len(choices), (1,), generator=generator))]

    options = {
        "heads": one_of(1, 3),
        "concat": one_of(True, False),
        "add_self_loops": one_of(True, False),
        "residual": one_of(True, False),
        "bias": one_of(True, False),
    }
    if one_of(True, False):
        options |= {"edge_dim": 2, "fill_value": 0.3}
    if layer in LCATS:
        options |= {"lambda1": one_of(None, 0.0, 0.3, 1.0), "lambda2": one_of(None, 0.0, 0.6, 1.0)}
        options |= {"share_values": one_of(True, False), "share_weights": one_of(True, False)}
        options |= {"parametrization": one_of("published", "sigmoid"), "lambda1_init": 0.4, "lambda2_init": 0.7}
        if layer is LCATConv:
            options["score_bias"] = one_of(True, False)
    return options


def _randomize(layer):
    """Biases are born zero; a wrong one would not show."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "bias" in name:
                parameter.normal_()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ATTENTION, ids=lambda c: c.__name__)
def test_oracle(layer, kind):
    if kind == "no_nodes":
        pytest.skip("nothing to compute: test_capabilities has the shape")
    for seed in range(6):
        generator = torch.Generator().manual_seed(100 * KINDS.index(kind) + seed)
        torch.manual_seed(seed)
        options = _options(layer, generator)
        in_channels = (2, 9)[seed % 2]  # narrower and wider than the projection: v2 averages before or after it
        conv = layer(in_channels, 3, **options).double()
        _randomize(conv)
        num_nodes, num_edges = size_of(kind, seed)
        edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
        x = torch.randn(num_nodes, in_channels, dtype=torch.double, generator=generator)
        kwargs = {}
        if "edge_dim" in options:
            kwargs["edge_attr"] = torch.randn(edges.shape[1], 2, dtype=torch.double, generator=generator)
        if seed % 3 == 0:
            kwargs["edge_weight"] = torch.rand(edges.shape[1], dtype=torch.double, generator=generator)
        expected = attention_layer(conv, x, edges, **kwargs)
        assert_same(conv(x, edges, **kwargs), expected, f"{kind} {seed} {options}")
        conv.register_message_forward_hook(lambda *args: None)
        assert_same(conv(x, edges, **kwargs), expected, f"by messages: {kind} {seed} {options}")


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (5, 5)])
@pytest.mark.parametrize("layer", ATTENTION, ids=lambda c: c.__name__)
def test_oracle_bipartite(layer, sizes):
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        options = _options(layer, generator) | {"edge_dim": None}
        options.pop("share_weights", None)
        channels = (5, 2) if layer.__name__.startswith("L") or seed % 2 else (4, 4)
        conv = layer(channels, 3, **options).double()
        _randomize(conv)
        edges = random_edges(("plain", "duplicates", "isolated")[seed % 3], *sizes, 14, generator)
        x = tuple(
            torch.randn(n, c, dtype=torch.double, generator=generator) for n, c in zip(sizes, channels, strict=True)
        )
        expected = attention_layer(conv, x, edges)
        assert_same(conv(x, edges), expected, f"{sizes} {seed} {options}")
        conv.register_message_forward_hook(lambda *args: None)
        assert_same(conv(x, edges), expected, f"by messages: {sizes} {seed} {options}")


def test_hand_computed_average():
    """Three nodes in a line, one feature, identity weights: the numbers are small enough to do by hand."""
    conv = CATConv(1, 1, bias=False, add_self_loops=False)
    with torch.no_grad():
        conv.lin.weight.fill_(1.0)
        conv.att_src.fill_(1.0)
        conv.att_dst.fill_(0.0)
    # 0 -> 1, 2 -> 1, 1 -> 0; averages: node 0 (1 + 2) / 2, node 1 (2 + 1 + 4) / 3, node 2 keeps its 4
    x, edges = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0, 2, 1], [1, 1, 0]])
    a, b = math.exp(1.5), math.exp(4.0)
    expected = torch.tensor([[2.0], [(a * 1.0 + b * 4.0) / (a + b)], [0.0]])
    assert_same(conv(x, edges), expected, "CAT by hand", 1e-6)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_limits(version):
    gat_class, lcat_class = (GATConv, LCATConv) if version == "v1" else (GATv2Conv, LCATv2Conv)
    cat_class = CATConv if version == "v1" else CATv2Conv
    torch.manual_seed(0)
    x, edges = torch.randn(7, 5, dtype=torch.double), random_edges("loops", 7, 7, 15, torch.Generator().manual_seed(1))
    gat = gat_class(5, 3, heads=2).double()

    as_gat = lcat_class(5, 3, heads=2, lambda1=1.0, lambda2=0.0).double()
    as_gat.load_state_dict(gat.state_dict())  # a fixed scalar is no parameter
    assert torch.equal(as_gat(x, edges), gat(x, edges))

    cat = cat_class(5, 3, heads=2).double()
    cat.load_state_dict(gat.state_dict())
    as_cat = lcat_class(5, 3, heads=2, lambda1=1.0, lambda2=1.0).double()
    as_cat.load_state_dict(gat.state_dict())
    assert torch.equal(as_cat(x, edges), cat(x, edges))
    assert not torch.allclose(cat(x, edges), gat(x, edges))

    mean = lcat_class(5, 3, heads=2, lambda1=0.0, lambda2=0.7).double()
    mean.load_state_dict(gat.state_dict())
    _, (_, alpha) = mean(x, edges, return_attention_weights=True)
    edge_index, _ = mean(x, edges, return_attention_weights=True)[1]
    degree = torch.bincount(edge_index[1], minlength=7)
    assert_same(alpha, (1.0 / degree[edge_index[1]].double()).view(-1, 1).expand(-1, 2), "uniform attention")


@pytest.mark.parametrize("layer", LCATS, ids=lambda c: c.__name__)
def test_learned_scalars_are_continuous_between_the_limits(layer):
    torch.manual_seed(0)
    x, edges = torch.randn(6, 4, dtype=torch.double), random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0))
    base = layer(4, 3, lambda1=1.0, lambda2=1.0).double()
    for first, second in [(0.003, 0.003), (0.5, 0.5), (0.999999, 0.999999)]:
        learned = layer(4, 3, lambda1_init=first, lambda2_init=second).double()
        fixed = layer(4, 3, lambda1=first, lambda2=second).double()
        learned.load_state_dict(base.state_dict(), strict=False)
        fixed.load_state_dict(base.state_dict())
        assert_same(learned.lambda1, torch.tensor(first, dtype=torch.double), "lambda1", 1e-6)
        assert_same(learned.lambda2, torch.tensor(second, dtype=torch.double), "lambda2", 1e-6)
        assert_same(learned(x, edges), fixed(x, edges), f"{first} {second}", 1e-5)


@pytest.mark.parametrize("layer", LCATS, ids=lambda c: c.__name__)
def test_scalars_receive_gradients_and_stay_in_range(layer):
    torch.manual_seed(0)
    x, edges = torch.randn(9, 4), random_edges("plain", 9, 9, 30, torch.Generator().manual_seed(0))
    conv = layer(4, 3)
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        conv(x, edges).square().sum().backward()
        assert conv.raw_lambda1.grad is not None
        assert conv.raw_lambda2.grad is not None
        optimizer.step()
        assert 0.0 <= float(conv.lambda1.detach()) <= 1.0
        assert 0.0 <= float(conv.lambda2.detach()) <= 1.0
    assert abs(float(conv.lambda1.detach()) - 0.5) > 1e-3


def test_published_parametrization_by_its_formula():
    conv = LCATConv(2, 2)
    assert float(conv.raw_lambda1.detach()) == pytest.approx(math.log10(6))
    assert float(conv.raw_lambda2.detach()) == pytest.approx(2.2 - math.log10(6))
    with torch.no_grad():
        conv.raw_lambda1.fill_(0.9)
        conv.raw_lambda2.fill_(1.3)
    assert float(conv.lambda1.detach()) == pytest.approx(1 / (1 + math.exp(6 - 10**0.9)), rel=1e-6)
    assert float(conv.lambda2.detach()) == pytest.approx(1 / (1 + math.exp(6 - 10**0.9)), rel=1e-5)
    conv = LCATConv(2, 2, parametrization="sigmoid", lambda1_init=0.25)
    assert float(conv.raw_lambda1.detach()) == pytest.approx(math.log(0.25 / 0.75))


def test_repr_tells_what_is_learned():
    assert repr(GATConv(8, 32, heads=2)) == "GATConv(8, 32, heads=2)"
    assert repr(LCATConv(8, 4, lambda2=0.25)) == "LCATConv(8, 4, heads=1, lambda1=learned(0.500), lambda2=0.25)"
    assert repr(CATv2Conv((8, 3), 4)) == "CATv2Conv((8, 3), 4, heads=1, lambda1=1, lambda2=1)"
    assert repr(LCATConv(8, 4).to("meta")) == "LCATConv(8, 4, heads=1, lambda1=learned, lambda2=learned)"


@pytest.mark.parametrize("layer", ATTENTION, ids=lambda c: c.__name__)
def test_edge_weight_multiplies_after_the_softmax(layer):
    torch.manual_seed(0)
    x, edges = torch.randn(5, 4, dtype=torch.double), random_edges("plain", 5, 5, 12, torch.Generator().manual_seed(0))
    conv = layer(4, 3, add_self_loops=False, bias=False).double()
    weight = torch.full((edges.shape[1],), 2.5, dtype=torch.double)
    assert_same(conv(x, edges, edge_weight=weight), 2.5 * conv(x, edges), "scaled")
    zero = torch.zeros_like(weight)
    assert_same(conv(x, edges, edge_weight=zero), torch.zeros(5, 3, dtype=torch.double), "zero")


@pytest.mark.parametrize("layer", ATTENTION, ids=lambda c: c.__name__)
def test_returned_attention_is_what_was_used(layer):
    torch.manual_seed(0)
    edges = random_edges("loops", 6, 6, 13, torch.Generator().manual_seed(0))
    x = torch.randn(6, 4, dtype=torch.double)
    weight = torch.rand(edges.shape[1], dtype=torch.double)
    conv = layer(4, 3, heads=2, dropout=0.5, bias=False).double()
    out, (edge_index, alpha) = conv(x, edges, edge_weight=weight, return_attention_weights=True)
    linear = getattr(conv, "lin", None) or conv.lin_l
    values = linear(x).view(-1, 2, 3)
    rebuilt = torch.zeros(6, 2, 3, dtype=torch.double).index_add(
        0, edge_index[1], alpha.unsqueeze(-1) * values[edge_index[0]]
    )
    assert_same(out, rebuilt.flatten(1), "rebuilt from the attention")
    assert torch.equal(edge_index[:, -6:], torch.arange(6).repeat(2, 1))


@pytest.mark.parametrize("layer", [CATConv, CATv2Conv, *LCATS], ids=lambda c: c.__name__)
def test_pair_of_one_tensor_is_the_ordinary_layer(layer):
    torch.manual_seed(0)
    x, edges = torch.randn(6, 4), random_edges("plain", 6, 6, 13, torch.Generator().manual_seed(0))
    conv = layer(4, 3, heads=2)
    assert torch.equal(conv((x, x), edges), conv(x, edges))


@pytest.mark.parametrize("layer", [CATConv, CATv2Conv], ids=lambda c: c.__name__)
def test_flow_is_followed_by_the_average(layer):
    torch.manual_seed(0)
    x, edges = torch.randn(6, 4), random_edges("plain", 6, 6, 13, torch.Generator().manual_seed(0))
    forward, backward = layer(4, 3), layer(4, 3, flow="target_to_source")
    backward.load_state_dict(forward.state_dict())
    assert_same(backward(x, edges.flip(0)), forward(x, edges), "reversed edges, reversed flow", 1e-6)


@pytest.mark.parametrize("layer", [lcat.nn.GCNConv, *ATTENTION], ids=lambda c: c.__name__)
def test_static_graph_is_a_batch_of_calls(layer):
    torch.manual_seed(0)
    x, edges = (
        torch.randn(3, 6, 4, dtype=torch.double),
        random_edges("loops", 6, 6, 13, torch.Generator().manual_seed(0)),
    )
    options = {} if layer is lcat.nn.GCNConv else {"heads": 2, "edge_dim": 2, "residual": True}
    conv = layer(4, 3, **options).double()
    kwargs = {} if layer is lcat.nn.GCNConv else {"edge_attr": torch.randn(edges.shape[1], 2, dtype=torch.double)}
    single = torch.stack([conv(one, edges, **kwargs) for one in x])
    assert_same(conv(x, edges, **kwargs), single, "batched")
    if layer is not lcat.nn.GCNConv:
        out, (_, alpha) = conv(x, edges, return_attention_weights=True, **kwargs)
        assert_same(out, single, "with attention")
        for one, alpha_one in zip(x, alpha, strict=True):
            assert_same(conv(one, edges, return_attention_weights=True, **kwargs)[1][1], alpha_one, "attention")


@pytest.mark.parametrize("layer", [lcat.nn.GCNConv, *ATTENTION], ids=lambda c: c.__name__)
def test_node_permutation_equivariance(layer):
    for seed in range(4):
        torch.manual_seed(seed)
        edges = random_edges("loops", 8, 8, 20, torch.Generator().manual_seed(seed))
        x, conv = torch.randn(8, 4, dtype=torch.double), layer(4, 3).double()
        nodes, order = torch.randperm(8), torch.randperm(edges.shape[1])
        renamed = torch.argsort(nodes)[edges][:, order]  # node i of the new graph is nodes[i] of the old
        assert_same(conv(x[nodes], renamed), conv(x, edges)[nodes], "renamed nodes, shuffled edges")


@pytest.mark.parametrize("layer", LCATS, ids=lambda c: c.__name__)
def test_copies_do_not_share_and_do_not_drift(layer):
    torch.manual_seed(0)
    x, edges = torch.randn(6, 4, dtype=torch.double), random_edges("plain", 6, 6, 13, torch.Generator().manual_seed(0))
    conv = layer(4, 3).double()
    twin = copy.deepcopy(conv)
    assert_same_gradients(
        gradients(conv(x, edges), dict(conv.named_parameters())),
        gradients(twin(x, edges), dict(twin.named_parameters())),
        0.0,
    )
    with torch.no_grad():
        conv.raw_lambda1.add_(0.1)
    assert float(twin.lambda1.detach()) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("layer", "options", "products"),
    [
        ("LCATv2Conv", {}, 3),  # values, and the keys and queries of averages
        ("LCATv2Conv", {"share_weights": True}, 2),
        ("LCATv2Conv", {"share_values": False}, 3),
        ("LCATv2Conv", {"separate_self": True}, 4),  # with the map of own features
        ("LCATv2Conv", {"lambda2": 0.0}, 2),
        ("CATv2Conv", {}, 3),
        ("LCATConv", {"cache_neighbor_sum": True}, 3),  # values, and two folded matrices
        ("GATv2Conv", {}, 2),
    ],
)
def test_nothing_is_projected_that_nobody_needs(layer, options, products):
    """Where averages are taken of ``x``, which is narrow here, no score is computed from the projection of ``x``."""
    module = getattr(lcat.nn, layer)(4, 4, 2, **options)
    x, edge_index = torch.randn(5, 4), torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        module(x, edge_index)
    assert sum(row.count for row in profiler.key_averages() if row.key == "aten::linear") == products
